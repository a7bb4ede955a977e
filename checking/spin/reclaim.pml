/* Reclaiming a permit: a task that blocked gets its permit back before a queued task gets one, and then the queued tasks run.
 *
 * Two tasks block and reclaim their permits, ROUNDS times each, beside two queued tasks and two workers. The limit is raised from 0
 * to LIMIT at any time. In the end all have ended. If the limit is above 1, one of the two keeps its permit until then. The queue is a count: queue_lock.pml has its lock.
 * Steps as in src/worker/blocking.rs, src/job/gate.rs and src/base/parking.rs, named in comments.
 *
 * CHECK -DLIMIT=1
 * CHECK -DLIMIT=2
 * CHECK -DLIMIT=2 -DROUNDS=2
 */
#define TASKS 2
#define BLOCKED 2
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef LIMIT
#define LIMIT 1
#endif

byte limit, running, ready, in_deque, queued = TASKS, ended, returned;
bool returning;
bool locked, entered[BLOCKED], given[BLOCKED];

#define may_return (running < limit)
#define room (!returning && running + ready < limit)

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

inline look() {
    if
    :: queued > 0 && room -> d_step { if :: queued > 0 && room -> queued--; ready++; in_deque++ :: else fi }
    :: else
    fi
}

inline wake_one() {
    lock();
    if
    :: entered[0] -> entered[0] = false; unlock(); given[0] = true
    :: entered[1] -> entered[1] = false; unlock(); given[1] = true
    :: else -> unlock()
    fi
}

/* Releases a permit. */
inline release() {
#if FAULT == 1 /* a thread that releases a permit wakes no waiter */
    running--;
#else
    d_step { running--; seen = returning }; /* [gate release-1] */
    if
    :: seen -> wake_one()
    :: else
    fi;
#endif
    look(); /* [gate release-3] */
    seen = false
}

active [BLOCKED] proctype blocked() {
    byte me = _pid, rounds;
    bool seen, others, took;
    do
    :: rounds == ROUNDS -> break
    :: else ->
        took = false;
        do
        :: took -> break
        :: else ->
            d_step { if :: may_return -> running++; took = true :: else fi }; /* [blocking wait-4] */
            if
            :: took
            :: else ->
                lock(); /* [park-1] */
#if FAULT == 2 /* the flag is set only after the look */
                seen = may_return;
                returning = true;
#else
                returning = true; /* [park-2] */
                seen = may_return;
#endif
                if
                :: seen -> unlock()
                :: else ->
                    entered[me] = true; /* [park-3] */
                    unlock();
                    given[me]; /* [park-4] */
                    given[me] = false
                fi;
                seen = false
            fi
        od;
        /* [blocking wait-5] */
        lock();
        d_step {
            others = entered[1 - me];
#if FAULT != 3 /* the flag is not cleared */
            if :: !others -> returning = false :: else fi;
#endif
            locked = false
        };
        if
#if FAULT == 4 /* a wake-up is not passed on */
        :: others
#else
        :: others -> if :: may_return -> wake_one() :: else fi
#endif
        :: else
        fi;
        others = false;
#if FAULT != 5 /* the flag is cleared, and what waited behind it is not looked for */
        look();
#endif
        assert(running <= LIMIT);
        if
        :: LIMIT > 1 && me == 0 -> returned == BLOCKED - 1 && ended == TASKS /* it stays: no later step of its own may help */
        :: else
        fi;
        release();
        rounds++
    od;
    returned++
}

active [2] proctype worker() {
    bool seen;
end:
    do
    :: atomic { in_deque > 0 -> in_deque-- };
        if
        :: atomic { !returning && running < limit -> ready--; running++ };
            assert(running <= LIMIT);
            release();
            ended++
        :: atomic { returning || running >= limit -> queued++ }; /* refused: back into the queue, then the reservation goes */
            ready--;
            look()
        fi
    od
}

active proctype raiser() {
    d_step { limit = LIMIT };
    if
    :: returning -> wake_one()
    :: else
    fi;
    look()
}

ltl join_is_safe { <> (returned == BLOCKED && ended == TASKS) }
