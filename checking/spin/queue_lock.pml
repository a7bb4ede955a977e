/* The hand-over and the queue lock with its pending bit: a task that waits beside a free permit is admitted.
 *
 * Two pushers and two workers, for ever. A job's limit is raised from 0 once. A pusher pushes a task, waits until it has
 * ended, and pushes again or stops: later traffic must not be what helps a stranded task. The queue is a ring: `tail` is swapped first, and the cell is linked later.
 * Steps as in src/job/gate.rs and src/job/queue.rs, named in comments.
 *
 * CHECK -DLIMIT=1
 * CHECK -DLIMIT=2
 */
#define N 2
#ifndef LIMIT
#define LIMIT 1
#endif
#define FREE 0
#define HELD 1
#define PENDING 2

byte limit, running, ready;
byte head, tail, who[N], count; /* count = cells from head to tail */
bool linked[N];
byte queue_lock;
chan deque = [N] of { byte };
bool unfinished[N];

#define room (running + ready < limit)
#define empty (count == 0)

/* Admits tasks while there is room: `serve_queue`. A thread that does not get the lock sets the pending bit. */
inline serve() {
    /* [fn try_lock] */
    d_step {
        if
        :: queue_lock == FREE -> queue_lock = HELD; mine = true
        :: else -> queue_lock = PENDING; mine = false
        fi
    };
    do
    :: !mine -> break
    :: else ->
        if
        :: count > 0 && linked[head] && room ->
            d_step { if :: room -> ready++; got = true :: else -> got = false fi };
            if
            :: atomic { got && count > 0 && linked[head] ->
                deque ! who[head]; linked[head] = false; who[head] = 0; head = (head + 1) % N; count-- }
            :: got && !(count > 0 && linked[head]) -> ready--
            :: !got
            fi
        :: else ->
            /* [fn unlock] */
            d_step {
                if
                :: queue_lock == HELD -> queue_lock = FREE; mine = false
#if FAULT == 1 /* the owner unlocks although the pending bit is set */
                :: else -> queue_lock = FREE; mine = false
#else
                :: else -> queue_lock = HELD
#endif
                fi
            }
        fi
    od
}

inline look() {
    if
    :: !empty && room -> serve()
    :: else
    fi
}

active [N] proctype pusher() {
    byte me = _pid, slot;
    bool mine, got;
    do
    ::
        unfinished[me] = true;
        got = false;
        if
        :: empty -> atomic { if :: room -> ready++; deque ! me; got = true :: else fi } /* [gate push-1] */
        :: !empty
        fi;
        if
        :: got
        :: else ->
#if FAULT == 2 /* the look at the word is older than the push: no [gate push-3] */
            bool seen = room;
#endif
            d_step { slot = tail; tail = (tail + 1) % N; who[slot] = me; linked[slot] = false; count++ };
            linked[slot] = true; /* [gate push-2] */
#if FAULT == 2
            if :: seen -> serve() :: else fi
#elif FAULT == 3 /* the pusher does not look again */
#else
            look() /* [gate push-4] */
#endif
        fi;
        atomic { slot = 0; got = false };
        !unfinished[me];
        if
        :: true
        :: break
        fi
    od
}

active [N] proctype worker() {
    byte me;
    bool mine, got;
    do
    :: atomic { deque ? me -> ready--; running++ };
        assert(running <= LIMIT);
#if FAULT == 4 /* the look at the queue is older than the permit's return: no [gate release-2] */
        got = !empty;
        d_step { running--; unfinished[me] = false };
        if :: got && room -> serve() :: else fi
#else
        d_step { running--; unfinished[me] = false }; /* [gate release-1] */
        look(); /* [gate release-3] */
#endif
        atomic { me = 0; got = false }
    od
}

active proctype raiser() {
    bool mine, got;
    limit = LIMIT;
#if FAULT != 5 /* a raise does not look */
    look()
#endif
}

ltl limit_is_used { [] ((unfinished[0] -> <> !unfinished[0]) && (unfinished[1] -> <> !unfinished[1])) }
