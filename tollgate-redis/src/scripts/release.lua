-- ARGV: ids. Returns the number of leases that were live and are released.
local limit = expire()
local released = 0
for i = 1, #ARGV do
    if redis.call('ZREM', leases, ARGV[i]) == 1 then
        redis.call('HDEL', about, ARGV[i])
        released = released + 1
    end
end
if limit and released > 0 then wake(limit) end
return released
