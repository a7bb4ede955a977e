-- Returns {limit, revision, number of waiters, now, {id, end, what is known, id, end, ...}}, or {} if the gate does not exist.
local limit = expire()
if not limit then return {} end
redis.call('ZREMRANGEBYSCORE', waiters, '-inf', now - 3000000)
local rows = {}
local held = redis.call('ZRANGE', leases, 0, -1, 'WITHSCORES')
for i = 1, #held, 2 do
    rows[#rows + 1] = held[i]
    rows[#rows + 1] = tonumber(held[i + 1])
    rows[#rows + 1] = redis.call('HGET', about, held[i]) or ''
end
return {limit, tonumber(redis.call('HGET', gate, 'revision')), redis.call('ZCARD', waiters), now, rows}
