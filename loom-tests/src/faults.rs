//! The seeded faults: each one's name in the library's source, whose mistake it is, and the models that are to
//! catch it.

/// A deliberate mistake.
#[derive(Debug)]
pub struct Fault {
    /// As in `fault("name")`.
    pub name: &'static str,
    /// What is done wrong.
    pub mistake: &'static str,
    /// The models that are asked, as `suite::model`; one must fail. None if only scenarios notice it.
    pub models: &'static [&'static str],
}

const fn fault(
    name: &'static str,
    mistake: &'static str,
    models: &'static [&'static str],
) -> Fault {
    Fault { name, mistake, models }
}

/// All of them.
pub const FAULTS: &[Fault] = &[
    fault(
        "class-without-its-flag",
        "a job with a class is made, and the workers go on with one injector",
        &["classes::higher_classes_go_first"],
    ),
    fault(
        "class-injected-in-silence",
        "a task is put into the injector of its class, and no worker is woken",
        &["classes::limit_is_used_when_the_first_task_of_a_class_meets_a_worker_going_to_sleep"],
    ),
    fault(
        "class-unseen-by-the-last-look",
        "a worker checks one injector of three before it parks",
        &["classes::limit_is_used_when_the_first_task_of_a_class_meets_a_worker_going_to_sleep"],
    ),
    fault(
        "passed-over-in-its-class-in-silence",
        "a worker takes a task out of the injector of a class for a moment, puts it back, and wakes no worker",
        &["classes::limit_is_used_by_tasks_of_a_class_that_were_passed_over"],
    ),
    fault(
        "normal-never-due",
        "a task of the class Normal waits while there are tasks of the class High",
        &["classes::shares_hold_for_the_class_normal"],
    ),
    fault(
        "low-never-due",
        "a task of the class Low waits while there are tasks of higher classes",
        &["classes::shares_hold_for_the_class_low"],
    ),
    fault(
        "turn-ends-before-its-share",
        "a turn has as many tasks as a usual one, whatever the job's share",
        &["classes::shares_hold_beside_another_job"],
    ),
    fault(
        "siblings-turn-ends-before-its-share",
        "the same for the turns that siblings take under a parent",
        &["classes::shares_hold_among_siblings"],
    ),
    fault(
        "stream-keeps-its-siblings-waiting",
        "a puller gives its worker up only for tasks in the deque and the injector",
        &[],
    ),
    fault(
        "turn-time-read-seldom",
        "the time of a turn is checked after as many tasks as a usual turn has",
        &["classes::shares_hold_by_the_time_of_a_turn"],
    ),
    fault(
        "turn-outlives-its-turn-time",
        "the time of a turn passes, and the turn goes on beside waiting tasks",
        &["classes::shares_hold_by_the_time_of_a_turn"],
    ),
    fault(
        "limit-load-then-add",
        "a permit is taken by a load and an addition",
        &["permits::limit_holds_for_ready_tasks"],
    ),
    fault(
        "relaxed-release",
        "a permit goes back without publishing what was done under it",
        &["permits::limit_1_orders_its_tasks"],
    ),
    fault(
        "start-in-a-paused-job",
        "a ready task starts although its job has been paused",
        &["chain::limit_holds_while_the_parent_is_paused", "admission::limit_holds_after_a_pause"],
    ),
    fault(
        "relaxed-push",
        "a cell is linked without publishing what it holds",
        &["backlog::what_the_pusher_wrote_the_consumer_reads"],
    ),
    fault(
        "consumer-ignores-word",
        "who holds the consumer right goes without a look for those who left word",
        &["backlog::nothing_lost_between_a_pusher_and_the_consumer"],
    ),
    fault(
        "look-through-to-the-gap",
        "who looks through a line takes the half-done push for its end",
        &["backlog::limit_is_used_by_those_who_look_through_a_line"],
    ),
    fault(
        "cut-without-exchange",
        "the last task is taken out of a line whatever was pushed behind it",
        &["backlog::nothing_lost_when_one_is_taken_out_beside_a_pusher"],
    ),
    fault(
        "push-without-fence",
        "a pusher looks at the permits before its push is visible",
        &["admission::limit_is_used_when_a_spawn_meets_a_finish"],
    ),
    fault(
        "pusher-never-promotes",
        "a pusher relies on whoever runs the job",
        &["admission::limit_is_used_when_a_spawn_meets_a_finish"],
    ),
    fault(
        "look-before-release",
        "waiters are looked for before the permit is back",
        &["admission::limit_is_used_when_a_spawn_meets_a_finish"],
    ),
    fault(
        "release-without-fence",
        "the look for waiters may be older than the permit's return",
        &["admission::limit_is_used_when_a_spawn_meets_a_finish"],
    ),
    fault(
        "raise-without-look",
        "a raised limit does not start what waits",
        &["admission::limit_is_used_after_a_raise_from_0"],
    ),
    fault(
        "refuse-without-look",
        "a refused task goes to the backlog while room is made there",
        &["admission::limit_is_used_when_a_refusal_meets_a_raise"],
    ),
    fault(
        "guess-hides-the-backlog",
        "a hold that takes the top of its deque for its job's does not look at the backlog",
        &["admission::limit_is_used_whatever_a_worker_takes_its_deque_to_hold"],
    ),
    fault(
        "room-bit-cleared-for-all",
        "who finds room forgets that others wait for some",
        &["capacity::limit_is_used_when_two_pushers_wait_for_room"],
    ),
    fault(
        "close-wakes-nobody",
        "a job is closed and those who wait for room in it are not told",
        &["capacity::refusal_is_loud_when_a_close_meets_a_pusher_who_waits_for_room"],
    ),
    fault(
        "cleared-uncounted",
        "tasks that a clear has taken out of the queue count as busy after the unlock only",
        &["clear::nothing_lost_when_a_clear_meets_a_waiter_of_a_held_job"],
    ),
    fault(
        "clear-stops-at-a-gap",
        "a clear takes an unfinished push for the end of the queue",
        &["clear::nothing_lost_when_a_clear_meets_an_unfinished_push"],
    ),
    fault(
        "clear-unlocks-in-silence",
        "a clear unlocks the queue without a look for the threads that failed to get the lock",
        &["clear::limit_is_used_when_a_push_meets_a_clear_and_a_release"],
    ),
    fault(
        "cleared-delegate-stays-marked",
        "a child is taken to have a task in its parent's queue after a clear",
        &["clear::limit_is_used_by_a_child_whose_task_left_its_parents_queue"],
    ),
    fault(
        "cleared-by-no-sweep",
        "no worker drops the tasks that a clear has taken out",
        &[
            "clear::nothing_lost_when_a_clear_meets_an_unfinished_push",
            "clear::nothing_lost_when_a_clear_meets_a_hand_over",
        ],
    ),
    fault(
        "stay-before-a-gap-unsaid",
        "the consumer does not tell that a task stayed, because the push behind that task has ended meanwhile",
        &["clear::nothing_lost_when_a_clear_meets_an_unfinished_push"],
    ),
    fault(
        "accepts-read-before-its-flight",
        "a thread that acquires checks for a drain before it begins its flight, and gets a permit after the drain",
        &["shutdown::nothing_lost_when_a_drain_meets_a_try_acquire"],
    ),
    fault(
        "handed-after-its-flight",
        "a task that is handed over is pushed after its flight has ended, and a drain does not see it",
        &["capacity::nothing_lost_when_a_drain_meets_a_hand_over"],
    ),
    fault(
        "handed-in-a-cancelled-job",
        "a task that was handed over starts although its job was cancelled",
        &["capacity::nothing_lost_when_a_cancel_meets_a_task_that_is_handed_over"],
    ),
    fault(
        "handed-in-a-held-job",
        "a task that was handed over starts although its job was paused",
        &["capacity::limit_holds_for_a_task_that_is_handed_over_before_a_pause"],
    ),
    fault(
        "handed-released-before-its-return",
        "the permits of a refused task are back before the task is in the queue",
        &["capacity::limit_is_used_when_a_refused_hand_over_meets_a_resume"],
    ),
    fault(
        "handing-pusher-not-listed",
        "a pusher waits for the permits of its task, and no close finds it",
        &["capacity::refusal_is_loud_when_a_held_permit_stays_and_a_close_meets_a_pusher"],
    ),
    fault(
        "pusher-counted-twice",
        "a pusher that gives its wait up counts as cancelled beside its task",
        &["capacity::refusal_is_loud_when_a_held_permit_stays_and_a_close_meets_a_pusher"],
    ),
    fault(
        "excess-ends-quietly",
        "a permit above the limit goes back, and nobody looks who waits for that",
        &["admission::limit_holds_once_it_has_settled"],
    ),
    fault(
        "limit-read-once",
        "a worker keeps the limit it has read when it began",
        &["admission::limit_holds_after_a_pause"],
    ),
    fault(
        "relaxed-epoch",
        "a worker sees that something changed, and then an older word",
        &["admission::limit_holds_after_a_pause"],
    ),
    fault(
        "epoch-read-after-the-word",
        "a worker takes an epoch for seen that is newer than the word it has checked",
        &["turns::limit_holds_when_a_pause_follows_a_change_of_another_job"],
    ),
    fault(
        "join-noted-before-its-mark",
        "a join is noted before the joined task is marked as waited for",
        &["circle::join_is_safe_when_two_joins_close_a_circle_together"],
    ),
    fault(
        "circle-looked-for-before-its-note",
        "a join checks for a circle before it is noted",
        &["circle::join_is_safe_when_two_joins_close_a_circle_together"],
    ),
    fault(
        "circle-found-twice",
        "a join that has found a circle stays noted until it unwinds",
        &["circle::join_is_safe_when_two_joins_close_a_circle_together"],
    ),
    fault(
        "permit-lost-on-panic",
        "a task that unwinds does not give its permit back",
        &["admission::nothing_lost_when_a_task_panics"],
    ),
    fault(
        "cancel-without-sweep",
        "cancelling leaves the backlog to whoever ends a task next",
        &["cancel::nothing_lost_when_a_held_job_is_cancelled"],
    ),
    fault(
        "drain-leaves-the-held",
        "a drain takes the held jobs off their list and does not cancel them",
        &["shutdown::nothing_lost_when_a_pause_meets_a_drain"],
    ),
    fault(
        "held-beside-a-drain",
        "a job that is paused beside a drain is only listed, and the drain has emptied the list",
        &["shutdown::nothing_lost_when_a_pause_meets_a_drain"],
    ),
    fault(
        "push-left-to-the-sweep",
        "who pushes into a job that has been cancelled leaves its task to the sweep, which is over",
        &[
            "cancel::nothing_lost_when_a_held_job_is_cancelled",
            "cancel::nothing_lost_when_cancel_meets_a_spawn",
        ],
    ),
    fault(
        "end-without-last-look",
        "a puller that meets the end of an input leaves, although the last batch may have ended meanwhile",
        &["chunks::nothing_lost_at_the_end_of_an_input"],
    ),
    fault(
        "scoped-task-not-counted",
        "a scope does not count a task before the task is in a queue",
        &["scopes::nothing_lost_when_the_end_of_a_task_meets_the_wait_of_its_scope"],
    ),
    fault(
        "scope-ends-in-silence",
        "the last task of a scope does not wake the waiter",
        &["scopes::nothing_lost_when_the_end_of_a_task_meets_the_wait_of_its_scope"],
    ),
    fault(
        "scope-waits-unmarked",
        "the waiter of a scope does not mark itself as waiting",
        &["scopes::nothing_lost_when_the_end_of_a_task_meets_the_wait_of_its_scope"],
    ),
    fault(
        "relaxed-last-handle",
        "a job's record is freed by a handle whose thread has not seen what other threads did there",
        &["admission::idle_is_free_when_the_last_handle_meets_the_last_finish"],
    ),
    fault(
        "relaxed-last-share",
        "a task's cell is freed by a side that has not seen what the other side did there",
        &["handles::nothing_lost_when_complete_meets_drop"],
    ),
    fault(
        "handles-alone-free",
        "a job's record goes with its last handle, whatever still runs",
        &["admission::idle_is_free_when_the_last_handle_meets_the_last_finish"],
    ),
    fault(
        "hand-on-at-own-gate-only",
        "a permit of the parent goes back without a look at the parent's line",
        &["chain::limit_is_used_by_the_other_child"],
    ),
    fault(
        "delegate-leaves-gate-blocked",
        "a child whose task got through stays out of the line",
        &["chain::limit_is_used_by_each_child_in_turn"],
    ),
    fault(
        "turn-outlives-its-tasks",
        "a child keeps its parent's permit after the tasks of a turn, although a sibling waits",
        &["chain::fair_by_the_tasks_of_a_turn"],
    ),
    fault(
        "turn-outlives-its-time",
        "a child keeps its parent's permit after the time of a turn, although a sibling waits",
        &["chain::fair_by_the_time_of_a_turn"],
    ),
    fault(
        "wake-without-fence",
        "a pusher looks for sleepers before its task is visible",
        &["sleep::limit_is_used_when_a_push_meets_a_worker_going_to_sleep"],
    ),
    fault(
        "sleep-without-fence",
        "a worker's last look may be older than its sleep",
        &["sleep::limit_is_used_when_a_push_meets_a_worker_going_to_sleep"],
    ),
    fault(
        "no-last-look",
        "a worker sleeps without a last look",
        &["sleep::limit_is_used_when_a_push_meets_a_worker_going_to_sleep"],
    ),
    fault(
        "wake-not-passed-on",
        "the last searcher finds a task and wakes nobody for the next",
        &["sleep::limit_is_used_by_both_of_two_sleepers"],
    ),
    fault(
        "end-noted-after-the-release",
        "a permit is released before its end counts for the job's rates",
        &["clock::rate_holds_when_a_permit_is_given_back_beside_an_acquire"],
    ),
    fault(
        "held-word-read-before-the-lock",
        "a thread lists a job as held by a word that it read before the list's lock",
        &["shutdown::nothing_lost_when_a_pause_meets_a_resume_before_a_drain"],
    ),
    fault(
        "sample-outlives-its-future",
        "the sample of a cancelled future stays in the list of pending futures",
        &["adaptive::nothing_is_left_of_the_sample_of_a_future_that_is_cancelled"],
    ),
    fault(
        "pending-start-by-a-store",
        "the start of a pending future is a plain store, and overwrites a cancel",
        &["wakers::nothing_lost_when_a_cancel_meets_the_start_of_a_future_without_a_handle"],
    ),
    fault(
        "end-told-in-two-steps",
        "the last worker asks for waiters of the end before it says that the end has come",
        &["shutdown::nothing_lost_when_the_last_worker_leaves_as_a_future_waits_for_the_end"],
    ),
    fault(
        "rest-refused-in-silence",
        "a permit whose weight does not fit gives its first part back, and wakes no task that waits to take its permits back",
        &["weights::join_is_safe_beside_permits_that_are_acquired_in_part"],
    ),
    fault(
        "longest-read-first",
        "a histogram's longest time is read before its counts",
        &["timed::the_figures_of_a_histogram_agree_while_tasks_end"],
    ),
    fault(
        "unstart-in-silence",
        "a start that a gate outside refuses wakes no task that waits to take its permits back",
        &["weights::join_is_safe_beside_a_task_that_the_parent_refuses"],
    ),
    fault(
        "all-entries-of-a-key-leave",
        "a pusher that has its slot takes the other pushers off the list, too",
        &["capacity::refusal_is_loud_when_a_close_meets_two_pushers_of_which_one_has_its_slot"],
    ),
    fault(
        "batch-taken-in-silence",
        "a worker takes several tasks into its deque, out of sight for a moment, and tells nobody",
        &["pool::limit_is_used_by_a_batch_on_its_way_to_a_deque"],
    ),
    fault(
        "passed-over-in-silence",
        "a worker takes a task out of the injector for a moment, puts it back, and tells nobody",
        &["moving::limit_is_used_by_tasks_that_were_passed_over"],
    ),
    fault(
        "put-back-in-silence",
        "a worker takes a task off its deque for a moment, puts it back, and tells nobody",
        &["moving::limit_is_used_by_a_task_that_was_put_back_on_its_deque"],
    ),
    fault(
        "leftovers-moved-in-silence",
        "a worker moves what is left of a batch into its deque, and tells nobody",
        &["moving::limit_is_used_by_what_is_left_of_a_batch"],
    ),
    fault(
        "batch-returned-in-silence",
        "what a turn leaves of its batch goes back to the queue, and pushers still rely on the batch",
        &[],
    ),
    fault(
        "unpark-before-the-mark",
        "a sleeper is unparked before it is told what for",
        &["sleep::limit_is_used_when_a_push_meets_a_worker_going_to_sleep"],
    ),
    fault(
        "drain-without-last-look",
        "the last worker ends the drain without a look behind the flag",
        &["sleep::nothing_lost_when_a_push_meets_the_end_of_a_drain"],
    ),
    fault(
        "sweeper-drops-nothing",
        "a worker drops the sweep, and none of the tasks in the cancelled job's queue",
        &["cancel::nothing_lost_when_a_held_job_is_cancelled"],
    ),
    fault(
        "idle-before-the-count",
        "who takes cancelled tasks out of a held line lets the job look idle before they are counted",
        &["cancel::nothing_lost_in_the_figures_of_a_held_job_that_two_ask_for"],
    ),
    fault(
        "sweep-not-put-back",
        "a worker whose drop waits does not inject its sweep again",
        &["cancel::join_is_safe_in_a_drop_of_what_stood_in_front"],
    ),
    fault(
        "drain-ends-beside-a-cancel",
        "the workers leave while a thread is about to request a sweep",
        &[
            "shutdown::nothing_lost_when_a_cancel_comes_as_the_last_worker_leaves",
            "shutdown::nothing_lost_when_a_pause_meets_a_drain",
        ],
    ),
    fault(
        "drain-decides-on-an-old-count",
        "a drain reads the count of outstanding calls before it sets its flag, and not together with it",
        &["clock::nothing_lost_when_a_drain_meets_the_time"],
    ),
    fault(
        "fires-beside-a-drain",
        "a thread that fires a timer's entry is not counted as outstanding",
        &["clock::nothing_lost_when_a_drain_meets_the_time"],
    ),
    fault(
        "held-off-beside-its-timer",
        "a hold-off was extended, and the timer is not armed again for the later time",
        &["clock::held_off_holds_when_it_is_extended_as_its_time_comes"],
    ),
    fault(
        "held-off-in-silence",
        "a job is held off, and the epoch stays: a worker goes on under its permit",
        &["clock::held_off_holds_for_a_worker_that_keeps_its_permit"],
    ),
    fault(
        "opened-before-its-time",
        "an entry of the timer opens a job that was held off for longer meanwhile",
        &["clock::held_off_holds_when_it_is_extended_as_its_time_comes"],
    ),
    fault(
        "opened-without-fence",
        "no fence between the end of a hold-off and the look at the queue",
        &["clock::held_off_holds_no_longer_than_its_time_beside_a_push"],
    ),
    fault(
        "opened-without-look",
        "the end of a hold-off admits no task",
        &["clock::held_off_holds_no_longer_than_its_time_beside_a_push"],
    ),
    fault(
        "rate-asked-job-by-job",
        "a start is counted at a child's rate before the parent's rate is asked, which refuses",
        &["clock::rate_holds_and_nothing_is_used_up_where_a_parent_refuses"],
    ),
    fault(
        "rate-not-counted",
        "a start is not counted at its rate",
        &["clock::rate_holds_for_two_workers"],
    ),
    fault(
        "rate-set-in-silence",
        "a rate is set, and the epoch stays: a worker goes on under its permit",
        &["clock::rate_holds_for_a_worker_that_keeps_its_permit"],
    ),
    fault(
        "rate-turn-unchecked",
        "a worker goes on in a turn at a rate without a look at the words of the job and of those above it",
        &["clock::limit_holds_after_a_pause_in_a_turn_at_a_rate"],
    ),
    fault(
        "rate-turn-without-token",
        "a worker goes on in a turn at a rate without a token of the rate",
        &["clock::rate_holds_for_a_turn"],
    ),
    fault(
        "rate-unseen-by-the-lease",
        "a worker that keeps its permit over several tasks does not look for a rate",
        &["clock::rate_holds_for_a_worker_that_keeps_its_permit"],
    ),
    fault(
        "rate-unseen-by-the-start",
        "a ready task of a job with a rate starts without a token",
        &["clock::rate_holds_for_two_workers"],
    ),
    fault(
        "delayed-key-replaced",
        "a thread delays the wake-ups of two keys, and forgets the first key",
        &["wakers::nothing_lost_when_a_thread_delays_the_wake_ups_of_two_keys"],
    ),
    fault(
        "rest-noted-in-silence",
        "a waiter sees the job at rest, and does not wake the other waiters",
        &["idle::a_waiter_learns_of_a_rest_that_another_waiter_has_seen"],
    ),
    fault(
        "rest-unseen-after-the-entry",
        "a future enters the parking lot, and does not check for a rest that was noted before",
        &["idle::a_waiter_learns_of_a_rest_that_another_waiter_has_seen"],
    ),
    fault(
        "refused-outside-in-silence",
        "a refused task cancels its reservation at a gate outside, and the queue there is not checked",
        &["chain::limit_is_used_beside_a_task_that_its_own_job_refuses"],
    ),
    fault(
        "paced-task-goes-last",
        "a task that finds no token in a turn at a rate goes to the end of its queue",
        &["clock::serial_in_order_for_a_task_that_finds_no_token_in_a_turn"],
    ),
    fault(
        "first-task-unweighed",
        "a thread that serves the queue of a gate that counts weights admits a first task that does not fit",
        &["weights::a_first_task_that_does_not_fit_is_not_admitted"],
    ),
    fault(
        "weight-unasked-at-the-start",
        "a heavy task starts if one permit is free",
        &[
            "weights::a_first_task_that_does_not_fit_is_not_admitted",
            "weights::limit_is_used_by_waiters_of_both_weights",
        ],
    ),
    fault(
        "weight-rest-kept",
        "the end of a heavy task releases one permit only",
        &["weights::limit_is_used_when_a_light_push_meets_the_end_of_a_heavy_task"],
    ),
    fault(
        "weight-rest-released-late",
        "the end of a heavy task checks the queue before it releases the rest of its permits",
        &["weights::a_first_task_that_does_not_fit_is_not_admitted"],
    ),
    fault(
        "heavy-never-alone",
        "a task that weighs more than the limit does not start when nothing runs",
        &["weights::limit_is_used_by_a_weight_above_it"],
    ),
    fault(
        "rest-acquired-unasked",
        "a permit of a heavy job takes the rest of its weight whether or not it fits",
        &["weights::weights_hold_for_permits_of_both_weights"],
    ),
    fault(
        "one-reclaimer-woken",
        "a release wakes one task that waits for its permits, which may need more than are free",
        &[],
    ),
    fault(
        "cancelled-weight-reserves",
        "the cancel of a heavy job does not check the queue of its parent, where its task is first",
        &["weights::nothing_lost_when_a_first_task_that_is_heavy_is_cancelled"],
    ),
    fault(
        "gone-weight-put-back",
        "a heavy task that its handle has cancelled goes back to the queue, where it is admitted again",
        &[
            "weights::limit_is_used_when_a_permit_comes_back_beside_a_heavy_task_that_its_handle_cancels",
        ],
    ),
    fault(
        "relaxed-done",
        "a task's end does not publish its outcome",
        &["handles::nothing_lost_when_complete_meets_join"],
    ),
    fault(
        "done-load-then-store",
        "a task's end overwrites what its handle wrote meanwhile",
        &["handles::nothing_lost_when_complete_meets_join"],
    ),
    fault(
        "claim-load-then-store",
        "a worker and a handle both take the closure",
        &["handles::nothing_lost_when_complete_meets_cancel"],
    ),
    fault(
        "room-looks-before-it-enters",
        "who waits looks first and enters the room afterwards, in two steps",
        &["handles::nothing_lost_when_complete_meets_join"],
    ),
    fault(
        "returning-not-cleared",
        "who has its permit back leaves the others locked out",
        &["waiting::join_is_safe_while_the_backlog_waits_for_the_permit"],
    ),
    fault(
        "magazine-given-and-kept",
        "a magazine goes to the depot and stays with its thread",
        &["cells::no_cell_is_in_two_hands"],
    ),
    fault(
        "parked-though-woken",
        "a future that was woken during its poll is left to be woken again",
        &["wakers::nothing_lost_when_a_wake_meets_the_first_poll"],
    ),
    fault(
        "listed-without-look",
        "a future whose job was cancelled during its first poll stays pending",
        &["wakers::nothing_lost_when_a_job_s_cancel_meets_the_first_poll"],
    ),
    fault(
        "pending-left-by-a-cancel",
        "a job's cancel drops what its queue holds, and leaves the pending futures",
        &["wakers::nothing_lost_when_a_job_s_cancel_meets_the_first_poll"],
    ),
    fault(
        "wake-seen-and-not-written",
        "a waker that finds the future scheduled does not publish what it did before",
        &["futures::nothing_lost_when_two_wake_by_reference"],
    ),
    fault(
        "awaits-with-its-permit",
        "a future keeps its permit while it awaits a task of its own job",
        &["wakers::join_is_safe_when_a_future_awaits_a_task_of_its_own_job"],
    ),
    fault(
        "reference-given-up-relaxed",
        "a future's cell is freed by a thread that has not seen what other threads did there",
        &["futures::nothing_lost_when_the_last_waker_meets_the_end"],
    ),
    fault(
        "running-taken-for-searching",
        "a notifier takes a worker that runs a task for one that searches",
        &["sleep::limit_is_used_by_both_of_two_sleepers"],
    ),
    fault(
        "late-push-not-refused",
        "a notifier does not check under the lock whether the drain has ended",
        &["sleep::nothing_lost_when_a_push_meets_the_end_of_a_drain"],
    ),
    fault(
        "listed-after-the-look",
        "a worker enters the list of parked workers after its last check of the queues",
        &["sleep::limit_is_used_when_a_push_meets_a_worker_going_to_sleep"],
    ),
    fault(
        "drain-ignores-the-outstanding",
        "a drain ends although a task runs on a thread without a seat",
        &["sleep::a_drain_waits_for_those_who_are_away"],
    ),
    fault(
        "notify-before-the-push",
        "a thread wakes a worker before its task is in the injector",
        &["pool::everything_holds_for_1_worker_1_job_2_tasks"],
    ),
    fault(
        "has-ready-skips-batches",
        "a worker's last check looks into no batch",
        &["pool::limit_is_used_by_a_batch_beside_a_worker_that_goes_to_sleep"],
    ),
    fault(
        "one-spare-for-two-seats",
        "two seats are lent to one idle spare",
        &["spares::join_is_safe_for_two_waits_beside_one_idle_spare"],
    ),
    fault(
        "seat-offered-in-silence",
        "a seat is lent to an idle spare, which is not woken",
        &["spares::join_is_safe_for_two_seats_lent_to_two_spares"],
    ),
    fault(
        "kept-permit-released",
        "a task that waits gives its permit back at a gate that keeps it",
        &["waiting::begun_holds_while_a_task_waits_for_another_job"],
    ),
    fault(
        "kept-permit-taken-twice",
        "a task that has waited acquires a permit at a gate that has kept its permit",
        &["waiting::begun_holds_while_a_task_waits_for_another_job"],
    ),
    fault(
        "seat-left-in-silence",
        "a seat is left, and a spare that has come idle is not woken",
        &["spares::join_is_safe_for_a_seat_that_is_left_as_a_spare_comes_idle"],
    ),
    fault(
        "seat-given-up-for-good",
        "the thread of a new spare does not start, and its seat is not offered again",
        &["spares::join_is_safe_for_a_seat_whose_spare_cannot_start"],
    ),
    fault(
        "seat-given-up-in-silence",
        "a seat is offered again, and a spare that has come idle meanwhile is not woken",
        &["spares::join_is_safe_for_a_seat_whose_spare_cannot_start"],
    ),
    fault(
        "last-seat-left",
        "a thread leaves its seat although all other threads are blocked",
        &["spares::join_is_safe_for_the_last_of_two_that_leave_their_seats"],
    ),
    fault(
        "job-used-unpinned",
        "a join uses the job of the task that it joins, which may be freed meanwhile",
        &["inline::join_is_safe_for_the_last_task_of_another_job"],
    ),
    fault(
        "pin-overlooked",
        "a worker runs a task whose job a join uses, and leaves the join no busy count",
        &["inline::join_is_safe_for_the_last_task_of_another_job"],
    ),
    fault(
        "inline-counted-late",
        "a join acquires the permits of a task that runs inline before it counts that task as busy",
        &["inline::join_is_safe_for_the_last_task_of_another_job"],
    ),
    fault(
        "inline-past-a-ready-task",
        "a joined task of a serial job runs inline although a task before it is ready",
        &["inline::serial_in_order_for_a_joined_task_behind_another"],
    ),
    fault(
        "epoch-kept-through-a-wait",
        "a worker whose task has waited inside does not check the job's word before its next task",
        &["inline::serial_in_order_after_a_task_that_waits_inside"],
    ),
    fault(
        "popped-past-a-ready-task",
        "a worker of a serial job pops a task although an earlier one is ready",
        &[
            "inline::serial_in_order_after_a_task_that_waits_inside",
            "returning::serial_in_order_beside_a_ready_task_that_is_put_back",
        ],
    ),
    fault(
        "popped-past-a-ready-task-at-a-rate",
        "a worker of a serial job with weights pops a task although an earlier one is ready",
        &["inline::serial_in_order_after_a_task_that_waits_inside_in_a_job_with_weights"],
    ),
    fault(
        "unreserved-before-its-return",
        "a ready task that is refused gives up its reservation before it is back in the queue",
        &["returning::serial_in_order_beside_a_ready_task_that_is_put_back"],
    ),
    fault(
        "late-join-keeps-its-permit",
        "a join has acquired permits, finds the task claimed, and keeps them",
        &["inline::join_is_safe_for_the_last_task_of_another_job"],
    ),
    fault(
        "permit-kept-beside-an-inline-task",
        "a task keeps its permit while the task that it joins runs inline",
        &["inline::join_is_safe_for_a_task_that_needs_the_permit_of_the_joining_one"],
    ),
    fault(
        "inline-without-fence",
        "a join acquires the permits of a task that runs inline, and executes no fence before it checks the job above both",
        &["inline::limit_holds_for_a_joined_task_whose_parent_is_paused"],
    ),
    fault(
        "inline-ends-in-silence",
        "the permits of an inline task are released, and the queue is not checked",
        &["inline::limit_is_used_when_a_task_that_ran_inline_gives_its_permit_back"],
    ),
    fault(
        "seat-kept-behind-an-inline-task",
        "a task waits for its permit after the inline run of the task that it joined, and keeps its seat",
        &[],
    ),
    fault(
        "inline-past-a-ready-task-of-the-parent",
        "a joined task runs inline under a permit of its job that the joining task lends, although a task before it is ready",
        &[],
    ),
    fault(
        "lent-permit-kept-in-a-wait",
        "a task waits for its permit after the inline run of the task that it joined, and keeps the permits that it has lent",
        &[],
    ),
    fault(
        "last-wait-keeps-its-seat",
        "the end of a scope on the pool's last thread starts no further spare, and waits with its seat",
        &["spares::join_is_safe_at_the_end_of_a_scope_on_the_last_thread"],
    ),
    fault(
        "left-seat-not-taken",
        "a thread whose task has ended becomes an idle spare although a seat was left",
        &["spares::join_is_safe_for_the_last_of_two_that_leave_their_seats"],
    ),
    fault(
        "close-wakes-one-spare",
        "at the end of the pool only one idle spare is woken",
        &["spares::idle_is_free_when_a_seat_is_lent_as_the_pool_ends"],
    ),
    fault(
        "seat-kept-while-it-waits",
        "a thread that waits inside a task keeps its seat",
        &["waiting::join_is_safe_for_a_task_of_another_job"],
    ),
    fault(
        "permit-kept-while-it-waits",
        "a task that waits keeps its permits",
        &["waiting::join_is_safe_for_a_task_of_another_job"],
    ),
    fault(
        "parks-without-a-look",
        "a thread parks without a check under the lock",
        &["handles::nothing_lost_when_complete_meets_join"],
    ),
    fault(
        "returning-unseen-by-the-lease",
        "a task waits for its permit, and a worker that runs on under its lease is not told",
        &["returning::join_is_safe_beside_a_worker_that_keeps_the_permit"],
    ),
    fault(
        "returner-passes-nothing-on",
        "a task has its permit back, and does not wake the next that may",
        &[],
    ),
    fault(
        "returned-without-a-look",
        "a task has its permit back, and does not check the queue that was held up",
        &["returning::limit_is_used_beside_a_joiner_that_has_returned"],
    ),
    fault(
        "outer-gate-not-taken-back",
        "a task that waited takes back its own job's permit, and not the parent's",
        &["returning::limit_holds_at_the_parent_of_a_joiner_that_has_returned"],
    ),
    fault(
        "uncovered-without-a-look",
        "a worker clears Covered, and does not check the queue again",
        &["pool::limit_is_used_beside_the_last_task_of_a_batch"],
    ),
    fault(
        "epoch-ignored-in-a-batch",
        "a worker starts the tasks of its batch although their job was paused",
        &["turns::limit_holds_for_a_batch_whose_first_task_pauses_the_job"],
    ),
    fault(
        "popped-after-a-pause",
        "a worker does not check the epoch again after it has popped a task",
        &["turns::limit_holds_for_a_task_that_is_pushed_after_a_pause"],
    ),
    fault(
        "reservation-kept-by-who-runs-on",
        "a worker that runs a ready task under its permit keeps the task's reservation",
        &["turns::nothing_is_left_of_the_reservation_of_a_task_that_runs_on"],
    ),
    fault(
        "pusher-not-listed",
        "a blocked pusher is not in the list that a close wakes",
        &["capacity::refusal_is_loud_when_a_close_meets_a_pusher_who_waits_for_room"],
    ),
    fault(
        "pusher-parks-beside-a-free-slot",
        "a pusher parks without a check for a free slot",
        &["capacity::limit_is_used_when_a_pusher_waits_for_room"],
    ),
    fault(
        "end-awaited-unmarked",
        "a future that waits for the end of a pool does not note that it waits, so the last worker wakes no future",
        &["shutdown::nothing_lost_when_the_last_worker_leaves_as_a_future_waits_for_the_end"],
    ),
    fault(
        "end-wakes-no-future",
        "the last worker does not wake the futures that wait for the end",
        &["shutdown::nothing_lost_when_the_last_worker_leaves_as_a_future_waits_for_the_end"],
    ),
    fault(
        "entry-of-a-dropped-wait-stays",
        "a future that gives up its wait for a slot leaves its entry, which then gets a wake-up",
        &["capacity::limit_is_used_when_a_wait_for_room_is_given_up"],
    ),
    fault(
        "wake-up-of-a-dropped-wait-lost",
        "a future that is woken and dropped does not wake the next pusher",
        &["capacity::limit_is_used_when_a_wait_for_room_is_given_up"],
    ),
    fault(
        "closed-after-the-wake",
        "a job is closed after its blocked pushers were woken",
        &["capacity::refusal_is_loud_when_a_close_meets_a_pusher_who_waits_for_room"],
    ),
    fault(
        "slot-read-then-released",
        "the bit of blocked pushers is read before the slot is released",
        &["capacity::limit_is_used_when_a_pusher_waits_for_room"],
    ),
    fault(
        "wake-up-kept-by-who-waits-for-a-permit",
        "a task woken for a slot does not pass that on while it waits for its permit",
        &[],
    ),
    fault(
        "one-waiter-of-many-woken",
        "of all waiters of a key only the first is woken",
        &["room::one_that_leaves_takes_its_own_entry_along"],
    ),
    fault(
        "entry-left-by-who-does-not-park",
        "a thread enters the parking lot and does not park there",
        &[
            "capacity::limit_is_used_when_a_pusher_waits_for_room",
            "handles::nothing_lost_when_complete_meets_join",
        ],
    ),
    fault(
        "key-leaves-with-one-entry",
        "a waiter that leaves takes all entries of its key along",
        &["room::one_that_leaves_takes_its_own_entry_along"],
    ),
    fault(
        "settling-set-after-the-look",
        "a future checks whether the job has settled before it sets the flag",
        &["wakers::limit_holds_once_a_future_says_that_it_has_settled"],
    ),
    fault(
        "idle-leaves-no-seat",
        "a wait that is given up leaves its waker in the parking lot",
        &["wakers::nothing_is_left_of_a_wait_as_a_future_that_is_given_up"],
    ),
    fault("idle-after-one-pass", "a wait for a parent ends after one pass over its children", &[]),
    fault(
        "head-not-put-back",
        "a pop that meets a half-done push does not put the head back",
        &["backlog::nothing_lost_between_a_pusher_and_the_consumer"],
    ),
    fault(
        "relaxed-unlock",
        "the queue lock is released without publishing the head",
        &["backlog::nothing_lost_among_those_who_were_refused"],
    ),
    fault(
        "magazine-lost-with-its-thread",
        "a thread that ends loses one of its magazines",
        &["cells::no_cell_is_in_two_hands"],
    ),
    fault(
        "untidy",
        "cells go back to slabs after a burst, and the reserve is kept",
        &["cells::idle_is_free_after_a_burst"],
    ),
    fault(
        "pushed-inside-in-silence",
        "a task pushes into its worker's deque and wakes no worker",
        &[],
    ),
    fault(
        "puller-leaves-at-once",
        "a puller that finds the input taken leaves without a second try",
        &["streams::limit_is_used_by_an_item_beside_one_that_stays"],
    ),
    fault(
        "puller-counts-until-it-has-looked",
        "a puller counts as one until it has tried for the input again",
        &["streams::limit_is_used_by_an_item_beside_one_that_stays"],
    ),
    fault(
        "set-wakes-nobody",
        "the end of a task of a set does not wake the set's owner",
        &["sets::sets_lose_nothing_when_an_end_meets_the_owners_wait"],
    ),
    fault(
        "set-mark-taken-before-the-number",
        "the end of a task of a set looks for its owner before it adds its number",
        &["sets::sets_lose_nothing_when_an_end_meets_the_owners_wait"],
    ),
    fault(
        "set-marked-after-the-look",
        "the owner of a set says that it waits after it has looked for a task that has ended",
        &["sets::sets_lose_nothing_when_an_end_meets_an_await"],
    ),
    fault(
        "waiter-left-unseen",
        "the outcome of a waiter is decided by a load and a store: that the waiter leaves meanwhile is missed",
        &["acquire::nothing_lost_when_a_release_meets_a_waiter_that_leaves"],
    ),
    fault(
        "waiter-left-asleep",
        "a waiter that has its permit is not woken",
        &["acquire::limit_is_used_when_an_acquire_meets_a_release"],
    ),
    fault(
        "waker-changed-unannounced",
        "a waiter changes its waker while the thread that grants the permit may take it",
        &["acquire::limit_is_used_by_a_waiter_that_changes_its_waker"],
    ),
    fault(
        "outcome-missed-by-a-swap",
        "a waiter that has changed its waker does not look whether its permit came meanwhile",
        &["acquire::limit_is_used_by_a_waiter_that_changes_its_waker"],
    ),
    fault(
        "permit-lost-with-its-waiter",
        "a waiter leaves by a load and a store, and loses the permit that comes meanwhile",
        &["acquire::nothing_lost_when_a_release_meets_a_waiter_that_leaves"],
    ),
    fault(
        "permit-without-token",
        "a permit of a job with a rate is acquired without a token of the rate",
        &["clock::rate_holds_for_a_permit_beside_a_task"],
    ),
    fault(
        "waiter-granted-without-look",
        "a waiter that is granted its permit was counted as ready, and a task that found no room for that is left behind",
        &["clock::limit_is_used_beside_a_waiter_that_is_granted_at_a_rate"],
    ),
    fault(
        "waiter-popped-after-a-pause",
        "a thread that gives a permit back does not read the words again after it has popped a waiter",
        &["acquire::limit_holds_for_a_waiter_that_comes_after_a_pause"],
    ),
    fault(
        "granted-relaxed",
        "a permit is handed over without publishing what was done under it",
        &["acquire::limit_1_orders_a_waiter_that_is_polled_before_it_is_woken"],
    ),
    fault(
        "handed-over-in-a-held-job",
        "a permit that is given back goes to the next waiter although the job is held or above its limit",
        &[
            "acquire::limit_holds_for_permits_given_back_in_a_paused_job",
            "acquire::limit_holds_for_permits_given_back_above_a_lowered_limit",
        ],
    ),
    fault(
        "woken-under-the-queue-lock",
        "a waiter is woken by a thread that holds the lock of its queue: a waker that waits for the job never ends",
        &[],
    ),
    fault(
        "busy-read-before-the-lock",
        "a job is taken for idle although its last task was admitted since its busy count was read",
        &["idle::a_job_is_not_idle_while_a_resume_admits_its_task"],
    ),
    fault(
        "cancel-counted-after-its-wake",
        "a waiter that the cancel of a task has woken sees the old number, parks again, and stays",
        &["idle::a_wait_for_a_child_of_a_held_parent_learns_of_a_cancel"],
    ),
    fault(
        "delay-not-noted",
        "a cancel of the job does not find a delayed task",
        &["delays::nothing_lost_when_a_jobs_cancel_meets_a_delay"],
    ),
    fault(
        "delay-without-look",
        "a task is put into the timer while its job is cancelled, and stays there",
        &["delays::nothing_lost_when_a_jobs_cancel_meets_a_delay"],
    ),
    fault(
        "delay-dropped-by-no-thread",
        "a task that is delayed after the workers have ended is not dropped",
        &[],
    ),
    fault(
        "delay-seen-before-its-entry",
        "a task counts as delayed before it is in the timer: a clear, or the time, does not find it",
        &[
            "delays::nothing_lost_when_a_clear_meets_a_delay",
            "delays::deadlines_hold_when_the_time_meets_a_delay",
            "retries::nothing_lost_when_a_clear_meets_the_end_of_an_attempt",
        ],
    ),
    fault(
        "delay-without-fence",
        "the thread that cancels a job does not see the first key of the job, whose thread does not see the flag",
        &["delays::nothing_lost_when_a_jobs_cancel_meets_a_delay"],
    ),
    fault(
        "delay-token-given-first",
        "a job is idle while its delayed task is between the timer and the queue",
        &["delays::nothing_lost_when_a_wait_meets_the_time"],
    ),
    fault(
        "delay-cancelled-though-taken",
        "a handle's cancel ends a task that the thread that fires has taken from the timer",
        &["delays::nothing_lost_when_a_handles_cancel_meets_the_time"],
    ),
    fault(
        "delay-cancelled-in-silence",
        "a drain is not told that the task that it waited for is cancelled",
        &["delays::nothing_lost_when_a_drain_meets_a_handles_cancel"],
    ),
    fault(
        "deadline-entry-kept",
        "a task that has started leaves its deadline in the timer",
        &["deadlines::deadlines_leave_nothing_behind_when_a_cancel_meets_a_start"],
    ),
    fault(
        "deadline-unseen-by-the-start",
        "a worker that comes before the timer starts a task after its deadline",
        &["deadlines::deadlines_hold_for_a_worker_that_comes_before_the_timer"],
    ),
    fault(
        "deadline-expires-unclaimed",
        "a task is dropped at its deadline although it has started",
        &["deadlines::deadlines_hold_when_a_start_meets_the_time"],
    ),
    fault(
        "deadline-in-silence",
        "the waiters of a held job are not told that its last task has expired",
        &["deadlines::nothing_lost_when_a_wait_meets_the_deadline"],
    ),
    fault(
        "retry-request-overlooked",
        "a further attempt follows although the handle has asked the task to end",
        &["retries::nothing_lost_when_a_handles_cancel_meets_the_end_of_an_attempt"],
    ),
    fault(
        "retry-armed-without-look",
        "a task that was cancelled before it was in the timer stays there",
        &["retries::nothing_lost_when_a_handles_cancel_meets_the_end_of_an_attempt"],
    ),
    fault(
        "retry-stopped-beside-its-attempt",
        "a request to end comes after the attempt that was to see it",
        &["retries::nothing_lost_when_a_handles_cancel_meets_the_end_of_an_attempt"],
    ),
    fault(
        "retry-stopped-with-its-entry",
        "a task that its handle has cancelled between two attempts leaves its entry in the timer",
        &["retries::nothing_lost_when_a_handles_cancel_meets_the_end_of_an_attempt"],
    ),
    fault(
        "keyed-handle-after-unlock",
        "a look-up adds its handle when another thread may have dropped the key",
        &["keyed::keys_are_free_and_stay_while_there_is_a_handle"],
    ),
    fault(
        "keyed-handles-unseen",
        "a key is dropped although a thread has a handle of its job",
        &["keyed::keys_are_free_and_stay_while_there_is_a_handle"],
    ),
    fault(
        "keyed-tasks-unseen",
        "a key is dropped although a task of it runs or a permit is held",
        &["keyed::keys_are_free_and_stay_while_a_permit_is_held"],
    ),
    fault(
        "keyed-state-before-count",
        "the state of a key's job is read before the count of its handles",
        &["keyed::keys_are_free_and_a_change_of_their_limit_stays"],
    ),
    fault(
        "keyed-made-twice",
        "a thread that has made a key's job does not look the key up again",
        &["keyed::keys_are_free_and_made_once"],
    ),
    fault(
        "adaptive-interval-kept",
        "the samples of an interval that is over count in the next one, too",
        &["adaptive::adaptive_stays_in_range_with_one_update_of_each_interval"],
    ),
    fault(
        "adaptive-updates-beside-each-other",
        "an interval ends while another thread updates the limit",
        &["adaptive::adaptive_stays_in_range_with_one_update_of_each_interval"],
    ),
    fault(
        "adaptive-set-over-a-call",
        "an update sets its limit although a call has set another one meanwhile",
        &["adaptive::adaptive_stays_in_range_and_keeps_what_a_call_sets"],
    ),
    fault(
        "adaptive-raised-in-silence",
        "an update raises the limit, and does not look at the queue",
        &["adaptive::limit_is_used_after_an_update_in_a_turn"],
    ),
    fault(
        "adaptive-note-kept",
        "a thread that has updated the limit does not take its note off",
        &["adaptive::adaptive_stays_in_range_with_one_update_of_each_interval"],
    ),
    fault(
        "sample-kept-after-the-poll",
        "the sample of a pending future is kept when another thread may poll the future",
        &[
            "adaptive::adaptive_stays_in_range_with_one_sample_of_a_future_that_is_woken_as_it_parks",
        ],
    ),
    fault(
        "pushed-past-the-queue",
        "a pusher that finds room passes the tasks that wait",
        &["admission::serial_in_order_beside_a_task_that_ends"],
    ),
    fault(
        "loose-refused-as-ready",
        "a task of a batch is refused, and a reservation that it never had is given back",
        &["admission::limit_is_used_by_a_stolen_batch_that_is_refused"],
    ),
    fault(
        "puller-without-fence",
        "no fence between the end of a puller's count and its second try for the input",
        &["streams::limit_is_used_by_an_item_beside_one_that_stays"],
    ),
    fault(
        "sender-looks-before-it-unlocks",
        "a puller checks whether a puller is missing before it unlocks the input",
        &["streams::limit_is_used_by_an_item_beside_one_that_stays"],
    ),
    fault(
        "sender-without-fence",
        "no fence between the unlock of the input and the check whether a puller is missing",
        &["streams::limit_is_used_by_an_item_beside_one_that_stays"],
    ),
    fault(
        "sender-never-looks",
        "a puller that has an item sends no other puller",
        &["streams::limit_is_used_by_an_item_beside_one_that_stays"],
    ),
    fault(
        "result-put-in-silence",
        "a result is there, and the iterator that waits for it is not woken before the puller ends",
        &["streams::a_result_comes_while_the_next_item_is_slow"],
    ),
    fault(
        "mark-taken-by-a-later-result",
        "a result that the iterator does not wait for clears the mark that it waits",
        &["streams::a_result_comes_although_a_later_one_was_ready_first"],
    ),
    fault(
        "room-left-without-a-look",
        "a puller that finds no room for results leaves without a second look",
        &["streams::limit_is_used_by_an_item_when_a_result_has_made_room"],
    ),
    fault(
        "reader-noted-after-the-look",
        "a stream of futures stores the waker of its poller after it has polled the futures",
        &["streams::nothing_lost_when_futures_over_input_end_while_they_are_looked_at"],
    ),
    fault(
        "polled-unmarked",
        "a future that is being polled is not marked: a waker queues it",
        &["wakers::nothing_lost_when_a_wake_meets_the_first_poll"],
    ),
    fault(
        "scheduled-cleared-after-the-poll",
        "the mark of a wake-up is cleared after the poll, and not before",
        &["wakers::nothing_lost_when_a_wake_meets_the_first_poll"],
    ),
    fault(
        "pending-cancelled-before-the-flag",
        "a job's cancel cancels the pending futures before it sets the flag",
        &["wakers::nothing_lost_when_a_job_s_cancel_meets_the_first_poll"],
    ),
    fault(
        "pending-listed-after-the-look",
        "a future looks for a cancel before it is in the list of pending futures",
        &["wakers::nothing_lost_when_a_job_s_cancel_meets_the_first_poll"],
    ),
    fault(
        "permit-kept-by-an-await",
        "a future waits without a permit, and its worker does not give the permit back",
        &["wakers::join_is_safe_when_a_future_awaits_a_task_of_its_own_job"],
    ),
    fault(
        "woken-without-look",
        "a future without a permit is woken into its job's queue, and no task is admitted",
        &["wakers::limit_is_used_by_a_future_that_has_awaited_a_task_of_another_job"],
    ),
    fault(
        "woken-to-the-end",
        "a future without a permit is woken into the end of its job's queue",
        &["wakers::serial_in_order_for_a_future_that_comes_back_beside_a_push"],
    ),
    fault(
        "unpublished-scoped-task",
        "the end of a scoped task does not publish what the task did",
        &["scopes::nothing_lost_of_a_task_that_the_scope_has_no_reference_to"],
    ),
    fault(
        "unacquired-scope-end",
        "a scope ends without having seen what its tasks did",
        &["scopes::nothing_lost_of_a_task_that_the_scope_has_no_reference_to"],
    ),
    fault(
        "spare-ends-without-a-look",
        "an idle spare whose time is over ends although a seat was lent to it just then",
        &["spares::join_is_safe_when_a_seat_is_lent_as_the_spare_ends"],
    ),
    fault(
        "timer-ends-without-a-look",
        "the timer's thread ends although an entry was armed just then",
        &["timer::nothing_lost_when_an_entry_is_armed_as_the_timers_thread_ends"],
    ),
    fault(
        "timer-taken-for-served",
        "the timer's thread has ended, and entries that are armed later start no other",
        &["timer::nothing_lost_when_an_entry_is_armed_as_the_timers_thread_ends"],
    ),
    fault(
        "entry-armed-in-silence",
        "the timer's thread is not told of an entry that comes before all others",
        &["timer::nothing_lost_when_an_entry_is_armed_as_the_timers_thread_waits"],
    ),
    fault(
        "timer-not-handed-over",
        "a destructor waits on the timer's thread, and no other thread serves the timer",
        &["timer::nothing_lost_when_the_timer_is_handed_over"],
    ),
    fault(
        "start-hook-in-silence",
        "a worker that runs its start hook was taken for a searching one, and wakes no other",
        &[],
    ),
    fault(
        "moving-task-in-no-figure",
        "the figures of a job leave out a task between the timer and the queue",
        &[],
    ),
    fault(
        "figures-without-a-child-that-goes",
        "the figures of a job and all below it leave out a child that is being freed",
        &["idle::figures_are_whole_while_a_child_goes"],
    ),
    fault(
        "held-handle-after-unlock",
        "a held job is listed, and the list's handle is added when another thread may have dropped it",
        &["idle::a_record_stays_while_a_pause_meets_a_resume_by_one_handle"],
    ),
    fault(
        "futures-cancelled-before-the-drop",
        "an abrupt end cancels the pending futures before it sets the flag",
        &["shutdown::nothing_lost_when_an_abrupt_end_meets_a_future_that_becomes_pending"],
    ),
    fault(
        "settling-cleared-after-the-wake",
        "the flag of a wait that has settled is cleared after the waiters were woken, and so that of a new wait",
        &["admission::limit_holds_once_it_has_settled_again"],
    ),
    fault(
        "ready-task-run-without-look",
        "a worker that runs a ready task under its permit does not check for a task that may have its room",
        &["admission::limit_is_used_beside_a_ready_task_that_runs_on_and_stays"],
    ),
    fault(
        "waker-left-by-a-handle-that-goes",
        "a handle takes its waker out of the parking lot after it has given up its reference",
        &[],
    ),
    fault(
        "puller-queued-after-the-end",
        "a puller that is queued as the input ends stays in the queue",
        &["streams::nothing_is_left_of_a_puller_that_is_sent_as_the_input_ends"],
    ),
    fault(
        "group-started-after-its-end",
        "a group of slabs was freed, and its next slab is started",
        &["cells::a_group_that_goes_back_is_not_started_again"],
    ),
    fault(
        "hook-unwinds-as-no-task",
        "a thread whose naming function has panicked does not know that it is in a task",
        &[],
    ),
    fault(
        "named-record-freed-in-the-list",
        "a record is freed that the list of named jobs still has",
        &["listing::a_job_is_listed_or_freed_when_its_last_handle_goes"],
    ),
    fault(
        "dying-job-listed",
        "a reader of the list takes a handle of a job that is about to be freed",
        &["listing::a_job_is_listed_or_freed_when_its_last_handle_goes"],
    ),
    fault(
        "named-job-freed-with-its-counts",
        "a worker frees a listed job whose word still has the worker's counts",
        &["listing::a_job_is_listed_or_freed_when_its_last_task_ends"],
    ),
];

/// The faults that models are to catch.
pub fn modelled() -> Vec<Fault> {
    let modelled = FAULTS.iter().filter(|fault| !fault.models.is_empty());
    modelled.map(|&Fault { name, mistake, models }| Fault { name, mistake, models }).collect()
}

/// The names of the seeded faults: those of the patches in `checking/faults`, and those that stand in the library's source.
pub fn seeded() -> std::collections::BTreeSet<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = std::collections::BTreeSet::new();
    for path in files(root.join("src"), "rs") {
        let text = std::fs::read_to_string(path).expect("source is text");
        let named = text.split("fault(\"").skip(1).filter_map(|rest| rest.split_once('"'));
        names.extend(named.map(|(name, _)| name.to_owned()));
    }
    let patches = files(root.join("checking/faults"), "patch");
    names.extend(patches.iter().filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())));
    names
}

/// The files below a folder whose names have this extension.
fn files(folder: std::path::PathBuf, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found
}
