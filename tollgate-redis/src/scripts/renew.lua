-- ARGV: length of the leases, ids. Returns 1 for each id whose lease is live and was renewed, else 0.
expire()
local renewed = {}
for i = 2, #ARGV do
    renewed[i - 1] = 0
    if redis.call('ZSCORE', leases, ARGV[i]) then
        redis.call('ZADD', leases, now + ARGV[1], ARGV[i])
        renewed[i - 1] = 1
    end
end
return renewed
