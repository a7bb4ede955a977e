/* The parking lot: a waiter whose condition holds goes on.
 *
 * Two waiters of one object and one waking thread, for ever: when all have gone on, the object is made anew.
 * Steps as in src/base/parking.rs, named in comments.
 *
 * CHECK
 */
#define N 2

bool waited, holds;      /* the object's word */
bool locked, entered[N], given[N], waiting[N];

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

active [N] proctype waiter() {
    byte me = _pid;
    bool hold;
    do
    ::
        !holds; /* the object is new */
        waiting[me] = true;
#if FAULT == 1 /* the bucket is locked only after the look */
        d_step { hold = holds; waited = true };
        lock();
#else
        lock();                                 /* [park-1] */
        d_step { hold = holds; waited = true }; /* [park-2], one read-modify-write */
#endif
        if
        :: hold -> unlock()
        :: else ->
            given[me] = false;
#if FAULT == 2 /* the entry is added after the lock was released */
            unlock();
            entered[me] = true;
#else
            entered[me] = true; /* [park-3] */
            unlock();
#endif
            given[me] /* [park-4] */
        fi;
        waiting[me] = false;
        holds
    od
}

active proctype waking() {
    bool seen;
    bool wake[N];
    do
    ::
#if FAULT == 3 /* the bit is read before the condition holds */
        seen = waited;
        holds = true;
#else
        d_step { seen = waited; holds = true }; /* [unpark-1] */
#endif
        if
        :: seen ->
            lock(); /* [unpark-2] */
            d_step { wake[0] = entered[0]; wake[1] = entered[1]; entered[0] = false; entered[1] = false };
            unlock();
            if :: wake[0] -> given[0] = true :: else fi;
            if :: wake[1] -> given[1] = true :: else fi
        :: else
        fi;
        atomic { !waiting[0] && !waiting[1] -> waited = false; holds = false }
    od
}

ltl no_wake_up_is_lost { [] ((waiting[0] -> <> !waiting[0]) && (waiting[1] -> <> !waiting[1])) }
