-- ARGV: version of the layout, limit (empty: the gate must exist). Makes the gate if it does not exist.
-- Returns {version, limit}, or {'', ''} if the gate does not exist and no limit is given.
if redis.call('EXISTS', gate) == 0 then
    if ARGV[2] == '' then return {'', ''} end
    redis.call('HSET', gate, 'version', ARGV[1], 'limit', ARGV[2], 'revision', 0, 'fence', 0)
end
return {redis.call('HGET', gate, 'version') or '?', redis.call('HGET', gate, 'limit') or '?'}
