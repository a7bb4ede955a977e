/* The timer's thread: each entry is taken when its time has come, although a destructor may wait on that thread, and although
 * the thread ends when the timer has been empty for a while.
 *
 * Two users arm an entry each, for ever, and wait until it was fired. The act of entry 0 waits until entry 1 is fired, so the
 * thread that fires entry 0 must hand the timer over. Steps as in src/timer.rs, named in comments.
 *
 * Time: an entry that a thread sees is due. A thread that has seen none before it waits must be notified, unless it ends because
 * no entry is armed.
 *
 * CHECK
 */
#define N 2       /* users and entries */
#define THREADS 3 /* one that fires, one that ends, and one that serves */

bool armed[N], wanted[N]; /* the entries, and what users wait for */
bool locked, has_thread, notified, fired;
bool starts[THREADS], lives[THREADS];
byte serving = 0, first; /* the entry with the earlier time */

#define any_armed (armed[0] || armed[1])

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

inline start() {
    atomic {
        if
        :: !lives[0] -> lives[0] = true; starts[0] = true
        :: lives[0] && !lives[1] -> lives[1] = true; starts[1] = true
        :: lives[0] && lives[1] && !lives[2] -> lives[2] = true; starts[2] = true
        fi
    }
}

active [N] proctype user() {
    byte me = _pid;
    do
    ::
        lock(); /* [fn arm] */
        if
        :: !has_thread -> start(); has_thread = true
        :: else
        fi;
#if FAULT == 1 /* the entry is added after the lock was released, and behind the notification */
        unlock();
        notified = true;
        d_step { first = (armed[1 - me] -> 1 - me : me); armed[me] = true; wanted[me] = true };
#else
        d_step { first = (armed[1 - me] -> 1 - me : me); armed[me] = true; wanted[me] = true; locked = false };
#if FAULT != 2 /* the thread is not told of the entry */
        notified = true;
#endif
#endif
        !wanted[me]
    od
}

active [THREADS] proctype thread() {
    byte me = _pid - N;
    byte due = N;
begin:
    atomic { starts[me] -> starts[me] = false; serving++; assert(serving == 1) };
wait:
    lock(); /* [fn wait_until_due] */
look:
    if
    :: any_armed -> unlock()
    :: else ->
        d_step { notified = false; locked = false }; /* it waits without the lock */
        if
        :: notified -> lock(); goto look
        :: !any_armed -> /* it has waited long enough */
            lock();
#if FAULT != 3 /* the thread ends although an entry was added before it had the lock */
            if
            :: any_armed -> goto look
            :: else
            fi;
#endif
#if FAULT == 4 /* the thread ends, and users take the timer for served */
            d_step { serving--; locked = false };
#else
            d_step { serving--; has_thread = false; locked = false };
#endif
            goto end_of_thread
        fi
    fi;
    lock(); /* [fn take_due] */
    if
    :: any_armed -> d_step { due = first; armed[first] = false; first = 1 - first; locked = false }
    :: else -> unlock()
    fi;
    if
    :: due == 1 -> d_step { due = N; fired = true; wanted[1] = false }
    :: due == 0 ->
        d_step { due = N; fired = false };
#if FAULT != 5 /* the timer is not handed over */
        lock(); /* [fn change_thread] */
        if
        :: !any_armed ->
#if FAULT == 6 /* no entry is left, and users take the timer for served */
            serving--
#else
            d_step { serving--; has_thread = false }
#endif
        :: else ->
#if FAULT != 7 /* the thread goes on to serve beside the new one */
            serving--;
#endif
            start()
        fi;
        unlock();
#endif
        fired; /* the destructor waits */
        wanted[0] = false;
#if FAULT != 5
        goto end_of_thread
#endif
    :: else
    fi;
    goto wait;
end_of_thread:
    lives[me] = false;
    goto begin
}

ltl each_entry_is_taken { [] ((wanted[0] -> <> !wanted[0]) && (wanted[1] -> <> !wanted[1])) }
