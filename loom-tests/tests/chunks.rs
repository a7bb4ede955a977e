//! Lazy input that is pulled in chunks: pullers that meet the end of the input against one that still holds a chunk.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tollgate::model::chunks::{Chunks, Pulled};
use tollgate::model::{Feed, Stage, record_of};

/// What the pullers of a model share.
struct Input {
    feed: Feed<std::ops::Range<usize>>,
    chunks: Chunks<usize>,
    /// The number of items that were run.
    ran: AtomicUsize,
    /// The number of pullers that were sent and have not started.
    sent: AtomicUsize,
    /// The number of pullers that found nothing left.
    ended: AtomicUsize,
}

impl Input {
    fn new(stage: Stage, limit: usize, items: usize) -> (Arc<Self>, tollgate::Job) {
        let job = stage.job(limit);
        let input = Self {
            feed: Feed::new(record_of(&job), 0..items),
            chunks: Chunks::new(),
            ran: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
        };
        (Arc::new(input), job)
    }

    fn send_puller(&self) {
        self.feed.send_puller(|| _ = self.sent.fetch_add(1, Relaxed));
    }

    /// A puller's life, with chunks of two. It gives the second item of its first chunk back if it `returns`.
    fn pull(&self, returns: bool) {
        let (mut chunk, mut had, mut returns) = (Vec::new(), false, returns);
        loop {
            match self.chunks.pull(&self.feed, &mut chunk, 2, had) {
                Pulled::Chunk => self.send_puller(),
                Pulled::Left => return,
                Pulled::End => {
                    self.feed.leave();
                    self.feed.finish();
                    self.ended.fetch_add(1, Relaxed);
                    return;
                }
                Pulled::Panicked(_) => unreachable!("the input is a range"),
            }
            had = chunk.len() > 1;
            if had && std::mem::take(&mut returns) {
                self.chunks.give_back(chunk.drain(1..));
                had = false;
            }
            self.ran.fetch_add(chunk.drain(..).count(), Relaxed);
        }
    }

    /// Runs the pullers that were sent, and checks that all items were run once and that the end was found.
    fn rest(&self, items: usize) {
        while self.sent.load(Relaxed) > 0 {
            self.sent.fetch_sub(1, Relaxed);
            self.feed.start();
            self.pull(false);
        }
        assert_eq!(self.ran.load(Relaxed), items);
        assert!(self.ended.load(Relaxed) > 0, "no puller is left to find the end");
    }
}

fn two_pullers(returns: bool) {
    let stage = Stage::new(2);
    let (input, job) = Input::new(stage, 2, 2);
    input.feed.come_back();
    input.feed.come_back();
    let theirs = input.clone();
    let other = thread::spawn(move || theirs.pull(returns));
    input.pull(false);
    other.join().unwrap();
    input.rest(2);
    drop((input, job));
    stage.end();
}

#[test]
fn nothing_lost_at_the_end_of_an_input() {
    check(Bound::Preemptions(3), || two_pullers(false));
}

#[test]
fn nothing_lost_when_a_chunk_is_given_back_at_the_end_of_an_input() {
    check(Bound::Preemptions(3), || two_pullers(true));
}

/// One puller after the other, as at a limit of 1. The second gives back a part of the rest that the first has given back.
#[test]
fn serial_in_order_when_a_rest_is_given_back_in_parts() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(2);
        let (input, job) = Input::new(stage, 1, 6);
        let mut chunk = Vec::new();
        let mut ran = Vec::new();
        for (most, runs) in [(4, 1), (2, 1), (4, 2), (2, 2)] {
            input.feed.come_back();
            let pulled = input.chunks.pull(&input.feed, &mut chunk, most, false);
            assert!(matches!(pulled, Pulled::Chunk));
            ran.extend(chunk.drain(..runs));
            input.chunks.give_back(chunk.drain(..));
            input.feed.leave();
        }
        assert_eq!(ran, [0, 1, 2, 3, 4, 5]);
        input.feed.finish();
        drop((input, job));
        stage.end();
    });
}
