//! Lazy input and its results. A puller that leaves against a puller that unlocks the input; a result against the iterator or the
//! future that waits for it. Items stay: an item ends only when another item has started, or when a result was taken.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Bell, Door, block_on, rest};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Waker};
use tollgate::model::parking::parking_lot;
use tollgate::model::results::Results;
use tollgate::model::{Feed, PulledItem, Stage, Tasks, gate, record_of};

/// An input, and what its pullers have come to.
struct Input {
    feed: Feed<std::ops::Range<usize>>,
    /// The number of pullers that stay with an item.
    stay: AtomicUsize,
    /// The number of pullers that were sent.
    sent: AtomicUsize,
}

impl Input {
    /// Pulls one item, sends a puller if one is missing, and stays.
    fn pull(&self) {
        if let PulledItem::Item(..) = self.feed.pull_item() {
            self.feed.send_puller(|| _ = self.sent.fetch_add(1, Relaxed));
            self.stay.fetch_add(1, Relaxed);
        }
    }
}

/// Runs two pullers of two items that stay. Each item must have a puller, or a puller must be on its way. `queued`: the second
/// puller starts meanwhile, and the job's limit is below the number of workers.
fn two_pullers(queued: bool) {
    let stage = Stage::new(if queued { 3 } else { 2 });
    let job = stage.job(2);
    let feed = Feed::new(record_of(&job), 0..2);
    let input = Arc::new(Input { feed, stay: AtomicUsize::new(0), sent: AtomicUsize::new(0) });
    input.feed.come_back();
    if queued {
        input.feed.send_puller(|| ());
    } else {
        input.feed.come_back();
    }
    let theirs = input.clone();
    let other = thread::spawn(move || {
        if queued {
            theirs.feed.start();
        }
        theirs.pull();
    });
    input.pull();
    other.join().unwrap();
    let (stay, sent) = (input.stay.load(Relaxed), input.sent.load(Relaxed));
    assert!(stay + sent >= 2, "{stay} of two items have a puller, and {sent} pullers were sent");
    drop(input);
    rest(stage, job);
}

#[test]
fn limit_is_used_by_an_item_beside_one_that_stays() {
    check(Bound::Preemptions(3), || two_pullers(false));
}

#[test]
fn limit_is_used_by_a_puller_that_starts_beside_an_item_that_stays() {
    check(Bound::Preemptions(3), || two_pullers(true));
}

#[test]
fn nothing_lost_of_the_items_before_the_end_of_the_input() {
    // The iterator ends when it has taken as many results as items were pulled. So it must not see the end before the last item. The
    // puller counts its items itself, because in a model each pull executes a fence, which would publish them, too.
    check(Bound::None, || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let feed = Arc::new(Feed::new(record_of(&job), 0..2));
        let theirs = feed.clone();
        let puller = thread::spawn(move || {
            theirs.count_pulled(2);
            theirs.finish();
        });
        if feed.is_finished() {
            assert_eq!(feed.pulled(), 2, "the iterator takes too few results");
        }
        puller.join().unwrap();
        drop(feed);
        rest(stage, job);
    });
}

#[test]
fn a_result_comes_although_a_later_one_was_ready_first() {
    // The puller stays after its second result, until both were taken.
    check(Bound::Preemptions(3), || {
        let (results, taken) = (Arc::new(Results::new(4)), Door::new());
        results.add_puller();
        let (theirs, told) = (results.clone(), taken.clone());
        let puller = thread::spawn(move || {
            for number in [1, 0] {
                if theirs.put(number, Ok(number)) {
                    parking_lot().wake(theirs.key());
                }
            }
            told.pass();
            assert!(!theirs.drop_puller(), "the iterator has both results, and waits");
        });
        for number in 0..2 {
            let result = loop {
                match results.take() {
                    Some(result) => break result,
                    None => _ = parking_lot().park(results.key(), None, || results.set_waited()),
                }
            };
            assert_eq!(result.unwrap(), number);
        }
        taken.open();
        puller.join().unwrap();
        assert!(results.take_any().is_none() && results.ready() == 0);
    });
}

#[test]
fn a_result_comes_while_the_next_item_is_slow() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let (job, taken) = (stage.job(1), Door::new());
        let told = taken.clone();
        let worker = thread::spawn(move || stage.sleep_and_serve(0));
        let mut results = job.map(0..2, move |number| {
            if number == 1 {
                told.pass();
            }
            number
        });
        assert_eq!(results.next().unwrap().unwrap(), 0);
        taken.open();
        assert_eq!(results.next().unwrap().unwrap(), 1);
        worker.join().unwrap();
        drop(results);
        rest(stage, job);
    });
}

#[test]
fn limit_is_used_by_an_item_when_a_result_has_made_room() {
    // Two results leave no room for a third. The iterator takes one, and asks for no other before the third item has started.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let (job, started) = (stage.job(usize::MAX), Arc::new(AtomicUsize::new(0)));
        let seen = started.clone();
        let worker = thread::spawn(move || stage.sleep_and_serve(0));
        let mut results = job.map(0..3, move |number| {
            seen.fetch_add(1, Relaxed);
            number
        });
        assert_eq!(results.next().unwrap().unwrap(), 0);
        worker.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(started.load(Relaxed), 3, "there is room, and no puller");
        drop(results);
        rest(stage, job);
    });
}

/// Takes the results of two futures over an input beside a worker.
fn two_futures(as_completed: bool) {
    let stage = Stage::new(1);
    let job = stage.job(2);
    let mut results = job.map_async(0..2, |number: usize| async move { number });
    let bell = Waker::from(Bell::new());
    // The first poll pushes both futures.
    assert!(poll(&mut results, &mut Context::from_waker(&bell)).is_pending());
    let worker = thread::spawn(move || while stage.play(0, usize::MAX) > 0 {});
    let mut sum = 0;
    if as_completed {
        let mut results = results.as_completed();
        (0..2).for_each(|_| sum += next(&mut results).unwrap().unwrap());
        assert!(next(&mut results).is_none());
    } else {
        for number in 0..2 {
            assert_eq!(next(&mut results).unwrap().unwrap(), number);
            sum += number;
        }
        assert!(next(&mut results).is_none());
    }
    assert_eq!(sum, 1);
    worker.join().unwrap();
    rest(stage, job);
}

fn poll<S: futures_core::Stream + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
) -> std::task::Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(cx)
}

/// Waits for the next item of a stream. A wake-up that is lost is a deadlock, which loom reports.
fn next<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    block_on(poll_fn(|cx| poll(stream, cx)))
}

#[test]
fn nothing_lost_of_futures_over_input() {
    check(Bound::Preemptions(2), || two_futures(false));
}

#[test]
fn nothing_lost_when_futures_over_input_end_while_they_are_looked_at() {
    check(Bound::Preemptions(2), || two_futures(true));
}

#[test]
fn nothing_is_left_of_a_puller_that_is_sent_as_the_input_ends() {
    // The job is paused, so the puller would stay in the queue. Its sender drops it, or the thread that ends the input does.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        job.pause();
        let (feed, pullers) = (Arc::new(Feed::new(record_of(&job), 0..2)), Tasks::new());
        let ended = pullers.enter(|| {
            let theirs = feed.clone();
            let other = thread::spawn(move || theirs.finish());
            feed.send_puller(|| {
                // SAFETY: the task borrows nothing, and this is called by `enter`.
                let puller = unsafe { pullers.make_puller(record_of(&job), || ()) };
                feed.queue(puller, |cell| gate::push(record_of(&job), cell));
            });
            other.join().unwrap();
        });
        assert!(ended.is_ok());
        drop((feed, pullers));
        job.resume();
        rest(stage, job);
    });
}
