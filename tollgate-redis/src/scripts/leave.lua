-- ARGV: waiter. Removes a waiter that does not wait any more. If the waiter was woken, the wake-up goes to the next one.
local limit = expire()
redis.call('DEL', waiters .. ':' .. ARGV[1])
if redis.call('ZREM', waiters, ARGV[1]) == 0 and limit then wake(limit) end
return 1
