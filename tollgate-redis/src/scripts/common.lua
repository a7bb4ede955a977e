-- KEYS: the gate (a hash), its leases (a sorted set: id, end), what is known of each (a hash), its waiters (a sorted set).
-- All times are microseconds of the server's clock.
local gate, leases, about, waiters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- Drops the leases whose end has come. Returns the limit, or nil if the gate does not exist.
local function expire()
    local ended = redis.call('ZRANGEBYSCORE', leases, '-inf', now)
    for _, id in ipairs(ended) do
        redis.call('ZREM', leases, id)
        redis.call('HDEL', about, id)
    end
    return tonumber(redis.call('HGET', gate, 'limit'))
end

-- Wakes one waiter if the gate has room: the waiter that asked longest ago. A waiter that has not asked for 3 s is gone.
local function wake(limit)
    if redis.call('ZCARD', leases) >= limit then return end
    redis.call('ZREMRANGEBYSCORE', waiters, '-inf', now - 3000000)
    local first = redis.call('ZPOPMIN', waiters)[1]
    if first then
        local box = waiters .. ':' .. first
        redis.call('RPUSH', box, '1')
        redis.call('PEXPIRE', box, 3000)
    end
end
