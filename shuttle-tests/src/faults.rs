//! The seeded faults again, with the scenarios that are to catch them; and those that no scenario can.

use loom_tests::faults::{FAULTS, Fault};

/// What shuttle does not see, and why.
pub const UNSEEN: &[(&str, &str)] = &[
    ("relaxed-release", ORDER),
    ("relaxed-push", ORDER),
    ("relaxed-last-handle", ORDER),
    ("relaxed-last-share", ORDER),
    ("reference-given-up-relaxed", ORDER),
    ("wake-seen-and-not-written", ORDER),
    ("push-without-fence", ORDER),
    ("release-without-fence", ORDER),
    ("relaxed-epoch", ORDER),
    ("wake-without-fence", ORDER),
    ("sleep-without-fence", ORDER),
    ("relaxed-done", ORDER),
    ("guess-hides-the-backlog", "no scenario leads a worker to a wrong guess on purpose"),
    ("passed-over-in-silence", TORN),
    ("put-back-in-silence", TORN),
    ("slot-read-then-released", TORN),
    ("leftovers-moved-in-silence", TORN),
    ("magazine-given-and-kept", CELLS),
    ("uncovered-without-a-look", TORN),
    ("settling-set-after-the-look", TORN),
    ("relaxed-unlock", ORDER),
    ("magazine-lost-with-its-thread", CELLS),
    ("untidy", CELLS),
    ("opened-without-fence", ORDER),
    ("granted-relaxed", ORDER),
    ("waker-changed-unannounced", TORN),
    ("drain-decides-on-an-old-count", TORN),
    ("handed-over-in-a-held-job", TORN),
    ("rate-asked-job-by-job", TORN),
    ("rate-turn-unchecked", TORN),
    ("waiter-granted-without-look", TORN),
    (
        "deadline-entry-kept",
        "what is left in the timer is harmless, and only the pool's end sees it",
    ),
    ("deadline-unseen-by-the-start", TORN),
    ("retry-stopped-beside-its-attempt", TORN),
    ("puller-without-fence", ORDER),
    ("sender-without-fence", ORDER),
    ("sender-looks-before-it-unlocks", TORN),
    ("pending-listed-after-the-look", TORN),
    ("room-left-without-a-look", TORN),
    (
        "woken-to-the-end",
        "the order of a future and of tasks that were pushed while it waited is drawn by chance",
    ),
    ("unpublished-scoped-task", ORDER),
    ("unacquired-scope-end", ORDER),
    ("spare-ends-without-a-look", TIME),
    ("timer-ends-without-a-look", TIME),
    ("timer-taken-for-served", TIME),
    ("entry-armed-in-silence", TIME),
    ("timer-not-handed-over", TIME),
    ("settling-cleared-after-the-wake", TORN),
    ("ready-task-run-without-look", TORN),
    ("group-started-after-its-end", CELLS),
    ("wake-up-of-a-dropped-wait-lost", SELDOM),
    ("hand-on-at-own-gate-only", SELDOM),
    ("keyed-handles-unseen", SELDOM),
    ("pushed-past-the-queue", SELDOM),
];

const CELLS: &str = "cells are the allocator's here, and there are no magazines";
const TIME: &str =
    "a wait with a time-out does not time out in a scenario, and the timer has no thread";
const SELDOM: &str = "a thousand schedules of one seed may not have it; its model always does";
const TORN: &str = "a last look torn at the one right step is drawn too seldom";
const ORDER: &str = "all accesses are sequentially consistent here";

/// A fault's name, and the scenarios that are asked, as `suite::scenario`; one must fail.
const SEEN: &[(&str, &[&str])] = &[
    (
        "adaptive-interval-kept",
        &["adaptive::adaptive_stays_in_range_with_one_update_of_each_interval"],
    ),
    (
        "adaptive-updates-beside-each-other",
        &["adaptive::adaptive_stays_in_range_with_one_update_of_each_interval"],
    ),
    ("adaptive-set-over-a-call", &["adaptive::adaptive_stays_in_range_and_keeps_what_a_call_sets"]),
    ("adaptive-raised-in-silence", &["adaptive::limit_is_used_after_an_update_in_a_turn"]),
    ("adaptive-note-kept", &["adaptive::adaptive_stays_in_range_with_one_update_of_each_interval"]),
    (
        "sample-kept-after-the-poll",
        &[
            "adaptive::adaptive_stays_in_range_with_one_sample_of_a_future_that_is_woken_as_it_parks",
        ],
    ),
    ("limit-load-then-add", &["join_is_safe::join_is_safe_while_the_limit_holds"]),
    ("start-in-a-paused-job", &["limit_holds::limit_holds_after_a_pause"]),
    ("consumer-ignores-word", &["limit_is_used::limit_is_used_to_the_full"]),
    ("pusher-never-promotes", &["limit_is_used::limit_is_used_by_pushers_who_meet_sleepers"]),
    ("look-before-release", &["limit_is_used::limit_is_used_to_the_full"]),
    ("raise-without-look", &["limit_is_used::limit_is_used_after_a_raise"]),
    ("refuse-without-look", &["limit_is_used::limit_is_used_when_refusals_meet_raises"]),
    ("limit-read-once", &["limit_holds::limit_holds_for_who_has_a_permit_when_the_job_is_paused"]),
    (
        "look-through-to-the-gap",
        &["nothing_lost::nothing_lost_when_a_wait_meets_pushers_of_a_held_job"],
    ),
    (
        "cut-without-exchange",
        &["nothing_lost::nothing_lost_when_cancelled_tasks_leave_a_held_line_beside_pushers"],
    ),
    ("room-bit-cleared-for-all", &["handles::nothing_lost_when_pushers_wait_for_room"]),
    ("entry-of-a-dropped-wait-stays", &["handles::limit_is_used_when_waits_for_room_are_given_up"]),
    ("end-awaited-unmarked", &["shutdown::nothing_lost_when_futures_wait_for_the_end"]),
    ("end-wakes-no-future", &["shutdown::nothing_lost_when_futures_wait_for_the_end"]),
    ("close-wakes-nobody", &["handles::nothing_lost_when_a_close_meets_pushers_who_wait_for_room"]),
    ("excess-ends-quietly", &["limit_holds::limit_holds_while_it_moves"]),
    ("permit-lost-on-panic", &["limit_holds::limit_holds_when_tasks_panic"]),
    ("cancel-without-sweep", &["nothing_lost::nothing_lost_when_a_held_job_is_cancelled"]),
    (
        "held-beside-a-drain",
        &["shutdown::nothing_lost_when_a_pause_meets_a_drain_and_a_task_that_waits"],
    ),
    ("end-without-last-look", &["scope::nothing_lost_of_lazy_input"]),
    ("scoped-task-not-counted", &["scope::nothing_lost_in_a_scope"]),
    ("scope-ends-in-silence", &["scope::nothing_lost_in_a_scope"]),
    ("scope-waits-unmarked", &["scope::nothing_lost_in_a_scope"]),
    ("push-left-to-the-sweep", &["nothing_lost::nothing_lost_when_a_held_job_is_cancelled"]),
    ("handles-alone-free", &["nothing_lost::nothing_lost_when_the_last_handle_goes_early"]),
    ("delegate-leaves-gate-blocked", &["children::limit_is_used_by_each_child_in_turn"]),
    ("turn-outlives-its-tasks", &["children::fair_by_the_tasks_of_a_turn"]),
    ("turn-outlives-its-time", &["children::fair_by_the_time_of_a_turn"]),
    ("no-last-look", &["limit_is_used::limit_is_used_by_pushers_who_meet_sleepers"]),
    ("wake-not-passed-on", &["limit_is_used::limit_is_used_to_the_full"]),
    ("batch-taken-in-silence", &["limit_is_used::limit_is_used_by_a_batch_on_its_way_to_a_deque"]),
    (
        "batch-returned-in-silence",
        &["limit_is_used::limit_is_used_by_what_a_turn_leaves_of_its_batch"],
    ),
    ("unpark-before-the-mark", &["limit_is_used::limit_is_used_by_pushers_who_meet_sleepers"]),
    ("drain-without-last-look", &["shutdown::nothing_lost_when_tasks_push_on_in_a_drain"]),
    (
        "sweeper-drops-nothing",
        &["children::nothing_lost_when_a_parent_is_cancelled_while_a_child_is_made"],
    ),
    (
        "idle-before-the-count",
        &["nothing_lost::nothing_lost_in_the_figures_of_a_held_job_that_two_wait_for"],
    ),
    ("sweep-not-put-back", &["join_is_safe::join_is_safe_in_drops"]),
    (
        "drain-ends-beside-a-cancel",
        &[
            "join_is_safe::join_is_safe_in_drops_when_cancels_meet_two_drains",
            "join_is_safe::join_is_safe_in_drops_when_a_pause_meets_a_drain",
        ],
    ),
    ("done-load-then-store", &["handles::nothing_lost_when_an_end_meets_a_drop_or_a_cancel"]),
    ("claim-load-then-store", &["nothing_lost::nothing_lost_when_handles_cancel"]),
    ("room-looks-before-it-enters", &["limit_is_used::limit_is_used_by_pushers_who_meet_sleepers"]),
    ("returning-not-cleared", &["join_is_safe::join_is_safe_while_the_limit_holds"]),
    ("parked-though-woken", &["handles::nothing_lost_when_wakes_meet_first_polls"]),
    ("listed-without-look", &["handles::nothing_lost_when_cancels_meet_first_polls"]),
    ("pending-left-by-a-cancel", &["handles::nothing_lost_when_cancels_meet_first_polls"]),
    (
        "awaits-with-its-permit",
        &["handles::limit_is_used_when_futures_await_tasks_of_their_own_job"],
    ),
    ("running-taken-for-searching", &["stay::limit_is_used_by_what_a_task_pushes_and_stays_for"]),
    ("late-push-not-refused", &["shutdown::nothing_lost_when_a_drain_meets_pushes"]),
    ("listed-after-the-look", &["limit_is_used::limit_is_used_by_pushers_who_meet_sleepers"]),
    ("drain-ignores-the-outstanding", &["shutdown::nothing_lost_when_tasks_wait_in_a_drain"]),
    ("notify-before-the-push", &["limit_is_used::limit_is_used_by_pushers_who_meet_sleepers"]),
    ("has-ready-skips-batches", &["stay::limit_is_used_by_a_pair_that_lies_in_a_batch"]),
    ("one-spare-for-two-seats", &["stay::join_is_safe_for_two_waits_beside_one_idle_spare"]),
    ("seat-offered-in-silence", &["join_is_safe::join_is_safe_between_two_jobs_with_1_worker"]),
    ("close-wakes-one-spare", &["join_is_safe::join_is_safe_between_two_jobs_with_1_worker"]),
    ("seat-kept-while-it-waits", &["join_is_safe::join_is_safe_between_two_jobs_with_1_worker"]),
    ("permit-kept-while-it-waits", &["stay::join_is_safe_for_what_stays_until_the_permit_is_used"]),
    ("parks-without-a-look", &["limit_is_used::limit_is_used_by_pushers_who_meet_sleepers"]),
    ("returning-unseen-by-the-lease", &["stay::join_is_safe_beside_tasks_that_push_on"]),
    ("returner-passes-nothing-on", &["stay::join_is_safe_for_two_that_return_together"]),
    ("returned-without-a-look", &["stay::limit_is_used_beside_one_that_has_returned"]),
    ("outer-gate-not-taken-back", &["stay::join_is_safe_for_what_stays_until_the_permit_is_used"]),
    (
        "epoch-ignored-in-a-batch",
        &["limit_holds::limit_holds_for_who_has_a_batch_when_the_job_is_paused"],
    ),
    (
        "reservation-kept-by-who-runs-on",
        &["streams::nothing_lost_when_futures_over_input_end_while_they_are_looked_at"],
    ),
    ("pusher-not-listed", &["handles::nothing_lost_when_a_close_meets_pushers_who_wait_for_room"]),
    ("pusher-parks-beside-a-free-slot", &["handles::nothing_lost_when_pushers_wait_for_room"]),
    (
        "closed-after-the-wake",
        &["handles::nothing_lost_when_a_close_meets_pushers_who_wait_for_room"],
    ),
    (
        "all-entries-of-a-key-leave",
        &["handles::nothing_lost_when_a_close_meets_pushers_of_which_one_finds_room"],
    ),
    (
        "wake-up-kept-by-who-waits-for-a-permit",
        &["stay::limit_is_used_by_a_pusher_beside_one_that_waits_for_its_permit"],
    ),
    ("fires-beside-a-drain", &["held_off_holds::nothing_lost_when_drains_meet_the_time"]),
    (
        "held-off-beside-its-timer",
        &["held_off_holds::held_off_holds_when_it_is_extended_as_its_time_comes"],
    ),
    ("held-off-in-silence", &["held_off_holds::held_off_holds_for_who_has_a_permit"]),
    (
        "opened-before-its-time",
        &["held_off_holds::held_off_holds_when_it_is_extended_as_its_time_comes"],
    ),
    ("rate-not-counted", &["held_off_holds::rate_holds_for_many_workers"]),
    ("rate-set-in-silence", &["held_off_holds::rate_holds_once_it_is_set"]),
    ("rate-turn-without-token", &["held_off_holds::rate_holds_for_many_workers"]),
    ("permit-without-token", &["held_off_holds::rate_holds_for_permits_beside_tasks"]),
    ("rate-unseen-by-the-lease", &["held_off_holds::rate_holds_once_it_is_set"]),
    ("rate-unseen-by-the-start", &["held_off_holds::rate_holds_for_many_workers"]),
    ("opened-without-look", &["held_off_holds::held_off_holds_no_longer_than_its_time"]),
    ("one-waiter-of-many-woken", &["stay::limit_is_used_by_all_that_wait_for_a_job"]),
    ("entry-left-by-who-does-not-park", &["stay::limit_is_used_by_a_pusher_that_waits_for_a_slot"]),
    ("key-leaves-with-one-entry", &["streams::a_wait_as_a_future_ends_when_the_job_is_idle"]),
    ("idle-leaves-no-seat", &["streams::a_wait_as_a_future_ends_when_the_job_is_idle"]),
    ("idle-after-one-pass", &["streams::a_wait_ends_when_all_below_are_idle"]),
    ("head-not-put-back", &["limit_is_used::limit_is_used_to_the_full"]),
    ("pushed-inside-in-silence", &["stay::limit_is_used_by_what_a_task_pushes_and_stays_for"]),
    ("puller-leaves-at-once", &["streams::limit_is_used_by_items_after_a_raise"]),
    ("puller-counts-until-it-has-looked", &["streams::limit_is_used_by_items_after_a_raise"]),
    ("keyed-handle-after-unlock", &["keyed::keys_are_free_and_their_limits_hold"]),
    ("keyed-tasks-unseen", &["keyed::keys_are_free_and_their_limits_hold"]),
    ("keyed-state-before-count", &["keyed::keys_are_free_and_keep_what_was_changed"]),
    ("keyed-made-twice", &["keyed::keys_are_free_and_made_once"]),
    ("set-wakes-nobody", &["sets::sets_lose_nothing_while_tasks_end_and_the_owner_waits"]),
    (
        "set-mark-taken-before-the-number",
        &["sets::sets_lose_nothing_while_tasks_end_and_the_owner_waits"],
    ),
    ("set-marked-after-the-look", &["sets::sets_lose_nothing_while_tasks_end_and_a_future_waits"]),
    ("waiter-left-unseen", &["permits_are_tasks::nothing_lost_when_waiters_leave"]),
    ("waiter-left-asleep", &["permits_are_tasks::limit_holds_for_tasks_and_permits"]),
    ("outcome-missed-by-a-swap", &["permits_are_tasks::nothing_lost_when_waiters_leave"]),
    ("permit-lost-with-its-waiter", &["permits_are_tasks::nothing_lost_when_waiters_leave"]),
    ("woken-under-the-queue-lock", &["permits_are_tasks::a_waker_may_wait_for_the_job"]),
    ("delay-not-noted", &["delays::nothing_lost_when_a_jobs_cancel_meets_delays"]),
    ("delay-without-look", &["delays::nothing_lost_when_a_jobs_cancel_meets_delays"]),
    ("delay-token-given-first", &["delays::nothing_lost_when_waits_meet_the_time"]),
    ("delay-cancelled-though-taken", &["delays::nothing_lost_when_cancels_meet_the_time"]),
    ("delay-cancelled-in-silence", &["delays::nothing_lost_when_drains_meet_cancels_of_delays"]),
    ("deadline-expires-unclaimed", &["delays::deadlines_hold_while_tasks_start_and_are_cancelled"]),
    ("deadline-in-silence", &["delays::deadlines_hold_for_those_who_wait_for_a_held_job"]),
    ("retry-request-overlooked", &["delays::nothing_lost_when_cancels_meet_attempts"]),
    ("retry-armed-without-look", &["delays::nothing_lost_when_cancels_meet_attempts"]),
    ("retry-stopped-with-its-entry", &["delays::nothing_lost_when_cancels_meet_attempts"]),
    (
        "loose-refused-as-ready",
        &["limit_holds::limit_holds_for_who_has_a_batch_when_the_job_is_paused"],
    ),
    ("sender-never-looks", &["streams::limit_is_used_by_items_that_stay"]),
    ("result-put-in-silence", &["streams::a_result_comes_while_the_next_item_is_slow"]),
    (
        "mark-taken-by-a-later-result",
        &["streams::a_result_comes_although_later_ones_were_ready_first"],
    ),
    (
        "reader-noted-after-the-look",
        &[
            "streams::nothing_lost_when_futures_over_input_end_while_they_are_looked_at",
            "streams::a_future_s_result_comes_as_it_is_ready",
        ],
    ),
    ("polled-unmarked", &["handles::nothing_lost_when_wakes_meet_first_polls"]),
    ("scheduled-cleared-after-the-poll", &["handles::nothing_lost_when_wakes_meet_first_polls"]),
    ("pending-cancelled-before-the-flag", &["handles::nothing_lost_when_cancels_meet_first_polls"]),
    (
        "permit-kept-by-an-await",
        &["handles::limit_is_used_when_futures_await_tasks_of_their_own_job"],
    ),
    (
        "woken-without-look",
        &["handles::limit_is_used_by_a_future_that_awaits_a_task_of_another_job"],
    ),
    (
        "start-hook-in-silence",
        &["limit_is_used::limit_is_used_beside_a_worker_whose_start_hook_stays"],
    ),
    (
        "figures-without-a-child-that-goes",
        &["children::nothing_lost_in_the_figures_of_children_that_go"],
    ),
    ("held-handle-after-unlock", &["one_handle::nothing_lost_when_two_pause_and_resume"]),
    (
        "futures-cancelled-before-the-drop",
        &["shutdown::nothing_lost_when_an_abrupt_end_meets_first_polls"],
    ),
    (
        "waker-left-by-a-handle-that-goes",
        &["handles::nothing_lost_when_a_polled_handle_is_dropped_as_its_task_ends"],
    ),
    (
        "puller-queued-after-the-end",
        &["streams::nothing_is_left_of_a_map_that_is_dropped_beside_a_pause"],
    ),
    ("hook-unwinds-as-no-task", &["join_is_safe::join_is_safe_after_a_spares_name_that_panics"]),
];

/// The faults that scenarios are to catch.
pub fn seen() -> Vec<Fault> {
    SEEN.iter()
        .map(|&(name, models)| {
            let listed = FAULTS.iter().find(|fault| fault.name == name);
            let mistake = listed.unwrap_or_else(|| panic!("no fault {name}")).mistake;
            Fault { name, mistake, models }
        })
        .collect()
}
