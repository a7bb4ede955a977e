/* Sleep: no task stays in a queue while a worker is parked and none searches.
 *
 * Two workers and two pushers, for ever. A pusher pushes a task and waits until it has ended. A task stays: it ends
 * only when no task is queued, so a wake-up that was not passed on leaves a task queued for ever.
 * Steps as in src/base/sleep.rs, named in comments.
 *
 * CHECK
 */
#define N 2 /* workers and pushers: a task that stays must not take the last worker from a queued one */

bool queued[N], runs[N]; /* the task of this pusher is in a queue, or runs */
byte searching = N, parked = 0;
bool locked, listed[N], woken[N];

#define any_queued (queued[0] || queued[1])

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

/* The worker at the end of the list, as `pop` takes it. */
inline wake_one() {
    lock(); /* [wake-4] */
    if
    :: searching > 0 -> unlock()
    :: else ->
        if
        :: listed[0] -> d_step { listed[0] = false; searching++; parked--; locked = false }; woken[0] = true
        :: listed[1] -> d_step { listed[1] = false; searching++; parked--; locked = false }; woken[1] = true
        :: else -> unlock()
        fi
    fi
}

inline notify_fenced() {
    if
    :: searching > 0 || parked == 0 /* [wake-3] */
    :: else -> wake_one()
    fi
}

active [N] proctype pusher() {
    byte me = _pid;
    do
    ::
#if FAULT == 1 /* the look for a sleeper is older than the push: no [wake-2] */
        if
        :: searching > 0 || parked == 0 -> queued[me] = true
        :: else -> queued[me] = true; wake_one()
        fi;
#else
        queued[me] = true; /* [wake-1] */
        notify_fenced();   /* [wake-2], the order of the two */
#endif
        !queued[me] && !runs[me]
    od
}

active [N] proctype worker() {
    byte me = _pid - N;
    bool last;
    byte task;
    do
    ::
        /* It searches. */
        if
        :: atomic { queued[0] -> queued[0] = false; runs[0] = true; task = 0 }
        :: atomic { queued[1] -> queued[1] = false; runs[1] = true; task = 1 }
        :: atomic { !any_queued -> task = N }
        fi;
        if
        :: task < N ->
            d_step { searching--; last = (searching == 0) };
#if FAULT != 2 /* the last searcher does not look again */
            if
            :: last && any_queued -> wake_one() /* [search-1] */
            :: else
            fi;
#endif
            atomic { !any_queued -> runs[task] = false }; /* the task stays until here */
            d_step { task = 0; last = false; searching++ }
        :: else ->
            lock(); /* [sleep-1] */
            woken[me] = false;
            d_step { listed[me] = true; searching--; parked++; locked = false };
#if FAULT != 3 /* no last look */
            /* [sleep-2], the order of the two */
            if
            :: any_queued -> notify_fenced() /* [sleep-3] */
            :: else
            fi;
#endif
            woken[me] /* [sleep-4] */
        fi
    od
}

ltl limit_is_used { [] ((queued[0] -> <> !queued[0]) && (queued[1] -> <> !queued[1])) }
