-- ARGV: id, length of the lease, name of the holder, waiter (empty: does not wait).
-- Returns {1, fencing number}, or {0, time until the earliest lease ends}, or {-1, 0} if the gate does not exist.
local limit = expire()
if not limit then return {-1, 0} end
local id, length = ARGV[1], tonumber(ARGV[2])
if redis.call('ZSCORE', leases, id) then
    redis.call('ZADD', leases, now + length, id)
    if ARGV[4] ~= '' then redis.call('ZREM', waiters, ARGV[4]) end
    return {1, tonumber(string.match(redis.call('HGET', about, id), '^%d+'))}
end
if redis.call('ZCARD', leases) < limit then
    local fence = redis.call('HINCRBY', gate, 'fence', 1)
    redis.call('ZADD', leases, now + length, id)
    redis.call('HSET', about, id, string.format('%d %.0f %s', fence, now, ARGV[3]))
    if ARGV[4] ~= '' then redis.call('ZREM', waiters, ARGV[4]) end
    wake(limit)
    return {1, fence}
end
if ARGV[4] ~= '' then redis.call('ZADD', waiters, now, ARGV[4]) end
local first = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2]
return {0, first and first - now or 0}
