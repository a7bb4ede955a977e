-- ARGV: new limit, revision that the caller has read. Returns 1 if the limit is set, 0 if the revision has changed,
-- or -1 if the gate does not exist. So a request that arrives late cannot undo a later one.
local limit = expire()
if not limit then return -1 end
if redis.call('HGET', gate, 'revision') ~= ARGV[2] then return 0 end
redis.call('HINCRBY', gate, 'revision', 1)
redis.call('HSET', gate, 'limit', ARGV[1])
wake(tonumber(ARGV[1]))
return 1
