//! What a task does: closures and futures that push, wait and fail; and what is done with a job by who waits for it,
//! inside a task or outside.

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tollgate::{Job, JoinError, ReservedSlot, Retry, TaskHandle};

use crate::common::rng::Rng;
use crate::common::unwind;
use crate::groups;
use crate::ledger::{Entry, Ledger, Started, Ticket};
use crate::world::{Slot, World};

/// Counts a task as outstanding until its closure is dropped.
struct Outstanding {
    world: Arc<World>,
    /// Waits for another task when it is dropped, with its task or instead of it.
    waits: bool,
}

impl Outstanding {
    fn new(world: &Arc<World>, rng: &mut Rng) -> Self {
        world.outstanding.fetch_add(1, SeqCst);
        Self { world: Arc::clone(world), waits: rng.one_in(40) }
    }
}

thread_local! {
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

/// While a task's own code runs on this thread.
struct Inside;

impl Inside {
    fn new() -> Self {
        INSIDE.set(INSIDE.get() + 1);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(INSIDE.get() - 1);
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        // A task that runs drops what it pushes into a closed job itself: it would wait, too, without a permit, and its books
        // would not say so.
        if self.waits && INSIDE.get() == 0 {
            self.world.if_spares_are_left(|| drop(self.world.free.spawn(|| ()).join()));
        }
        self.world.outstanding.fetch_sub(1, SeqCst);
    }
}

/// One task: enters the books, does something, leaves.
fn work(outstanding: &Outstanding, ticket: Ticket, mut rng: Rng) {
    let _inside = Inside::new();
    let (world, entry) = (&outstanding.world, ticket.enter());
    match rng.below(1000) {
        0..500 => {}
        500..680 => (0..rng.below(2_000)).for_each(|_| std::hint::spin_loop()),
        680..780 => thread::yield_now(),
        // The task's work, and not an order of events.
        780..800 => thread::sleep(Duration::from_micros(rng.next() % 1_000)),
        800..860 => {
            (0..1 + rng.below(2)).for_each(|_| drop(push(world, &world.slot(&mut rng), &mut rng)))
        }
        860..880 => world.if_spares_are_left(|| {
            tollgate::blocking(|| thread::sleep(Duration::from_micros(rng.next() % 500)));
        }),
        880..940 => wait_inside(world, &entry, &mut rng),
        _ => {
            entry.will_panic();
            unwind("a task that fails");
        }
    }
}

/// Waits inside a task for others, of any job.
fn wait_inside(world: &Arc<World>, entry: &Entry, rng: &mut Rng) {
    let slot = world.slot(rng);
    world.if_spares_are_left(|| {
        entry.while_waiting(|| match rng.below(9) {
            0 => groups::scope(&slot, rng),
            1 => groups::for_each(&slot, rng),
            2 => groups::map(&slot, rng),
            3 => _ = slot.job.settled().wait_timeout(Duration::from_micros(rng.next() % 500)),
            4 => child(&slot),
            5 => groups::nothing(&slot, rng),
            _ => {
                let ticket = slot.ledger.ticket();
                let started = ticket.started();
                let awaited = slot.job.spawn(move || drop(ticket.enter()));
                assert_eq!(awaited.join().is_ok(), started.get());
            }
        });
    });
}

/// A job below this one, and the wait for it.
fn child(slot: &Slot) {
    let (child, ledger) = (slot.job.job(1), Ledger::new(1, Some(&slot.ledger)));
    for _ in 0..3 {
        let ticket = ledger.ticket();
        child.execute(move || drop(ticket.enter()));
    }
    child.wait();
    ledger.check_against(child.stats());
}

/// A handle, and whether its task has started.
pub struct Spawned {
    handle: TaskHandle<()>,
    started: Started,
    slot: Arc<Slot>,
    is_future: bool,
    has_deadline: bool,
}

impl Spawned {
    pub fn join_for(mut self, time: Duration) -> Option<Self> {
        match self.handle.join_timeout(time) {
            Err(handle) => {
                self.handle = handle;
                Some(self)
            }
            Ok(result) => {
                let ran = !matches!(result, Err(JoinError::Cancelled | JoinError::Expired));
                let agree = ran == self.started.get() || (!ran && self.slot.ledger.is_cut());
                assert!(agree, "a handle and its task disagree: {result:?}");
                None
            }
        }
    }

    /// Asks why it does not run.
    pub fn explain(&self) {
        assert!(!self.slot.job.explain_task(&self.handle).reasons().is_empty());
    }

    /// Cancels it. One that was in flight comes back, to be joined when it has been dropped.
    pub fn cancel(self) -> Option<Self> {
        if !self.handle.cancel() {
            return None;
        }
        if !self.has_deadline {
            self.slot.ledger.count_cancelled_by_handle();
        }
        if !self.handle.is_finished() || self.started.get() {
            assert!(self.is_future, "cancelled and not finished, or run");
            self.slot.ledger.may_be_cut();
        }
        self.join_for(Duration::ZERO)
    }
}

/// Goes with a task that has a deadline: counts it if it is dropped without running.
struct Expires {
    slot: Arc<Slot>,
    started: Started,
}

impl Drop for Expires {
    fn drop(&mut self) {
        if !self.started.get() {
            self.slot.ledger.count_expired();
        }
    }
}

/// Pushes a task that is tried again, and soon does something to its handle.
pub fn retry(world: &Arc<World>, slot: &Arc<Slot>, rng: &mut Rng) {
    let policy = Retry::new().attempts(3).first_delay(Duration::from_micros(rng.next() % 1_000));
    let (outstanding, ticket) = (Outstanding::new(world, rng), slot.ledger.ticket());
    let (started, mut fails) = (ticket.started(), rng.below(4));
    let (mut ticket, mut flight) = (Some(ticket), None);
    let handle = slot.job.spawn_retry(policy, move || {
        let _inside = Inside::new();
        let _ = &outstanding;
        let flight = match (&mut flight, ticket.take()) {
            (flight @ None, Some(ticket)) => flight.insert(ticket.board()),
            (Some(flight), _) => {
                flight.comes_back();
                flight
            }
            (None, None) => unreachable!("the ticket is used once"),
        };
        thread::yield_now();
        // Any attempt may be the last.
        flight.land(false);
        flight.goes_away();
        fails = usize::saturating_sub(fails, 1);
        if fails == 0 { Ok(()) } else { Err(()) }
    });
    match rng.below(4) {
        0 if handle.cancel() => {
            slot.ledger.count_cancelled_by_handle();
            if started.get() {
                slot.ledger.may_be_cut();
            }
        }
        0 | 1 => drop(handle.join_timeout(Duration::from_micros(rng.next() % 2_000))),
        _ => drop(handle),
    }
}

/// Asks for a slot as a future, and gives the wait up if none is free.
fn reserve_now(job: &Job) -> Option<ReservedSlot> {
    match pin!(job.reserve()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(reserved) => reserved.ok(),
        Poll::Pending => None,
    }
}

/// Pushes one task, by any of the ways in.
pub fn push(world: &Arc<World>, slot: &Arc<Slot>, rng: &mut Rng) -> Option<Spawned> {
    let (outstanding, ticket, rng_of_task) =
        (Outstanding::new(world, rng), slot.ledger.ticket(), rng.split());
    let started = ticket.started();
    #[cfg(feature = "futures")]
    if rng.one_in(6) {
        let task = async move { futures::fly(&outstanding, ticket, rng_of_task).await };
        let bomb = rng.one_in(8).then(|| (Arc::clone(&slot.ledger), started.clone()));
        let handle = slot.job.spawn_future(futures::inside(task, bomb));
        return Some(Spawned {
            handle,
            started,
            slot: Arc::clone(slot),
            is_future: true,
            has_deadline: false,
        });
    }
    let has_deadline = rng.one_in(12);
    if has_deadline {
        let time = Duration::from_micros(rng.next() % 2_000);
        let expires = Expires { slot: Arc::clone(slot), started: started.clone() };
        // A tuple drops its fields in order: if the task expires, it is counted as expired before the ticket counts it as dropped.
        let carried = (expires, ticket);
        let task = move || {
            let (expires, ticket) = carried;
            work(&outstanding, ticket, rng_of_task);
            drop(expires);
        };
        let handle = slot.job.spawn_within(time, task);
        return Some(Spawned {
            handle,
            started,
            slot: Arc::clone(slot),
            is_future: false,
            has_deadline,
        });
    }
    let task = move || work(&outstanding, ticket, rng_of_task);
    let handle = match rng.below(8) {
        // A task of the pool may not wait for a permit of a job that hands over.
        7 if !slot.hands_over || INSIDE.get() == 0 => match reserve_now(&slot.job) {
            Some(reserved) => reserved.spawn(task),
            None => slot.job.spawn(task),
        },
        6 if !slot.hands_over => {
            slot.job.spawn_after(Duration::from_micros(rng.next() % 2_000), task)
        }
        0 if rng.one_in(2) => slot.job.spawn_named("named", task),
        0 => slot.job.spawn(task),
        1 => match slot.job.try_spawn(task) {
            Ok(handle) => handle,
            Err(_) => {
                slot.ledger.count_given_back();
                return None;
            }
        },
        2 => {
            if slot.job.try_execute(task).is_err() {
                slot.ledger.count_given_back();
            }
            return None;
        }
        _ => {
            slot.job.execute(task);
            return None;
        }
    };
    Some(Spawned { handle, started, slot: Arc::clone(slot), is_future: false, has_deadline })
}

/// Pushes tasks that their handles cancel at once, more than a bounded job has slots.
pub fn push_and_cancel(world: &Arc<World>, slot: &Arc<Slot>, rng: &mut Rng) {
    for _ in 0..100 {
        let (outstanding, ticket, rng) =
            (Outstanding::new(world, rng), slot.ledger.ticket(), rng.split());
        let started = ticket.started();
        match slot.job.try_spawn(move || work(&outstanding, ticket, rng)) {
            Ok(handle) => {
                let slot = Arc::clone(slot);
                drop(
                    Spawned { handle, started, slot, is_future: false, has_deadline: false }
                        .cancel(),
                );
            }
            Err(_) => slot.ledger.count_given_back(),
        }
    }
}

#[cfg(feature = "futures")]
pub mod futures {
    //! What a future does.

    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};
    use std::thread;
    use std::time::Duration;

    use ::futures::StreamExt;
    use ::futures::channel::oneshot;
    use ::futures::executor::block_on;
    use tollgate::JoinError;

    use super::{Inside, Outstanding};
    use crate::common::rng::Rng;
    use crate::common::unwind;
    use crate::ledger::{Ledger, Started, Ticket};
    use crate::world::Slot;

    /// A future whose polls count as inside a task. With a bomb, its drop panics if it was polled and has not panicked.
    struct Body<F> {
        future: Option<Pin<Box<F>>>,
        polled: bool,
        bomb: Option<Bomb>,
    }

    type Bomb = (Arc<Ledger>, Started);

    pub(super) fn inside<F: Future>(
        future: F,
        bomb: Option<Bomb>,
    ) -> impl Future<Output = F::Output> {
        Body { future: Some(Box::pin(future)), polled: false, bomb }
    }

    impl<F: Future> Future for Body<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
            let _inside = Inside::new();
            self.polled = true;
            let bomb = self.bomb.take();
            let polled = self.future.as_mut().expect("it was not dropped").as_mut().poll(cx);
            self.bomb = bomb;
            polled
        }
    }

    impl<F> Drop for Body<F> {
        fn drop(&mut self) {
            drop(self.future.take());
            if let Some((ledger, started)) = self.bomb.take().filter(|_| self.polled) {
                ledger.will_panic_in_drop(&started);
                unwind("the drop of a future that fails");
            }
        }
    }

    async fn yield_now() {
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// One future: enters the books, does something between its polls, leaves.
    pub(super) async fn fly(outstanding: &Outstanding, ticket: Ticket, mut rng: Rng) {
        let (world, mut flight) = (&outstanding.world, ticket.board());
        match rng.below(100) {
            0..40 => {}
            40..55 => {
                for _ in 0..rng.below(4) {
                    yield_now().await;
                }
            }
            55..60 => world.if_spares_are_left(|| {
                tollgate::blocking(|| thread::sleep(Duration::from_micros(rng.next() % 500)));
            }),
            60..75 => {
                // Woken by another task, or by its being dropped. It keeps its permit, so that task may not
                // need one that a future like this has.
                let (go, gone) = oneshot::channel::<()>();
                world.free.execute(move || _ = go.send(()));
                _ = gone.await;
            }
            75..92 => {
                let slot = world.slot(&mut rng);
                let ticket = slot.ledger.ticket();
                let started = ticket.started();
                let awaited = slot.job.spawn(move || drop(ticket.enter()));
                let result = flight.while_awaiting(awaited).await;
                assert_eq!(result.is_ok(), started.get());
            }
            _ => {
                flight.land(true);
                unwind("a future that fails");
            }
        }
        flight.land(false);
    }

    /// Futures of an input, read to the end or not.
    pub fn map_async(slot: &Slot, rng: &mut Rng) {
        let (count, taken) = (rng.below(40), rng.below(60));
        slot.ledger.may_be_cut();
        let ledger = Arc::clone(&slot.ledger);
        let results = slot.job.map_async(0..count, move |i| {
            let ticket = ledger.ticket();
            async move {
                let mut flight = ticket.board();
                yield_now().await;
                flight.land(false);
                i
            }
        });
        let mut results = results.enumerate().take(taken);
        block_on(async {
            while let Some((at, result)) = results.next().await {
                match result {
                    Ok(i) => assert_eq!(i, at, "out of order"),
                    Err(JoinError::Panicked(_)) => panic!("a panic of nobody's"),
                    Err(_) => {}
                }
            }
        });
    }
}
