//! The spans of a traced job's tasks, seen by a subscriber of the test.
#![cfg(feature = "tracing")]

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, Once, mpsc};
use std::task::{Context, Waker};

use common::event::Latch;
use common::{LONG, pool, unwind, with_workers, within};
use futures::executor::block_on;
use tollgate::Retry;
#[cfg(feature = "futures")]
use tollgate::{TaskId, current_task_id};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// What the subscriber knows of one span.
#[derive(Clone, Debug, Default)]
struct Seen {
    name: &'static str,
    parent: u64,
    fields: BTreeMap<&'static str, String>,
    entered: u32,
    handles: u32,
}

static SPANS: Mutex<BTreeMap<u64, Seen>> = Mutex::new(BTreeMap::new());
static LAST: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The spans in which this thread is, the innermost last.
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    /// What this thread does when it next leaves a span.
    static AT_EXIT: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

struct Spans;

struct Fields<'a>(&'a mut Seen);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.fields.insert(field.name(), value.to_owned());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.fields.insert(field.name(), format!("{value:?}"));
    }
}

fn change<R>(id: &Id, change: impl FnOnce(&mut Seen) -> R) -> R {
    change(SPANS.lock().unwrap().get_mut(&id.into_u64()).expect("it was made"))
}

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = LAST.fetch_add(1, SeqCst) + 1;
        let parent = if span.is_contextual() { inside() } else { 0 };
        let name = span.metadata().name();
        let mut seen = Seen { name, parent, handles: 1, ..Seen::default() };
        span.record(&mut Fields(&mut seen));
        SPANS.lock().unwrap().insert(id, seen);
        Id::from_u64(id)
    }
    fn record(&self, id: &Id, values: &Record<'_>) {
        change(id, |seen| values.record(&mut Fields(seen)));
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, id: &Id) {
        change(id, |seen| seen.entered += 1);
        INSIDE.with_borrow_mut(|inside| inside.push(id.into_u64()));
    }
    fn exit(&self, id: &Id) {
        INSIDE.with_borrow_mut(|inside| assert_eq!(inside.pop(), Some(id.into_u64())));
        if let Some(at_exit) = AT_EXIT.take() {
            at_exit();
        }
    }
    fn clone_span(&self, id: &Id) -> Id {
        change(id, |seen| seen.handles += 1);
        id.clone()
    }
    fn try_close(&self, id: Id) -> bool {
        change(&id, |seen| {
            seen.handles -= 1;
            seen.handles == 0
        })
    }
}

/// Returns the innermost span in which this thread is, or 0.
fn inside() -> u64 {
    INSIDE.with_borrow(|inside| inside.last().copied().unwrap_or_default())
}

/// Returns what is known of a span.
fn seen(id: u64) -> Seen {
    SPANS.lock().unwrap()[&id].clone()
}

fn subscribe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Spans).unwrap());
}

/// A span around the pushes of a test, and its id.
fn request() -> (tracing::span::EnteredSpan, u64) {
    subscribe();
    let span = tracing::info_span!("request").entered();
    let id = span.id().unwrap().into_u64();
    (span, id)
}

#[test]
fn a_task_has_a_span_whose_parent_is_the_pushers() {
    within(LONG, || {
        let pool = pool(2);
        let (request, parent) = request();
        let job = pool.job_builder().name("search").traced().build();
        let task = job.spawn(inside);
        drop(request);
        let span = task.join().unwrap();
        let seen = seen(span);
        assert_eq!((seen.name, seen.parent, seen.entered), ("task", parent, 1));
        assert_eq!(seen.fields, BTreeMap::from([("job", "search".to_owned())]));
        assert_eq!(seen.handles, 0, "the span of an ended task is closed");
        // A named task, and one in a job with a capacity and times.
        let job = pool.job_builder().capacity(1).timed().traced().build();
        let span = job.spawn_named("index", inside).join().unwrap();
        let fields = [("job", String::new()), ("task", "index".to_owned())];
        assert_eq!(self::seen(span).fields, BTreeMap::from(fields));
        assert_eq!(self::seen(span).parent, 0);
    });
}

#[test]
fn a_task_that_a_task_pushes_is_below_its_span() {
    within(LONG, || {
        let pool = pool(1);
        subscribe();
        let job = pool.job_builder().traced().limit(1).build();
        let inner = job.clone();
        let (outer, inner, after) = job
            .spawn(move || {
                let outer = inside();
                (outer, inner.spawn(inside).join().unwrap(), inside())
            })
            .join()
            .unwrap();
        assert_eq!((seen(inner).parent, after), (outer, outer));
    });
}

#[test]
fn other_tasks_have_no_span() {
    with_workers(|pool, _| {
        let (_request, _) = request();
        let job = pool.job_builder().traced().build();
        assert_eq!(pool.job(1).spawn(inside).join().unwrap(), 0);
        assert_eq!(job.job(1).spawn(inside).join().unwrap(), 0, "a child is another job");
        // No span stays behind on the worker, not even after a panic.
        assert!(job.spawn(|| unwind("in a span")).join().is_err());
        for _ in 0..20 {
            assert_eq!(pool.job(1).spawn(inside).join().unwrap(), 0);
        }
    });
}

#[test]
fn a_task_that_never_runs_closes_its_span() {
    within(LONG, || {
        let pool = pool(1);
        let (_request, parent) = request();
        let job = pool.job_builder().name("cancelled").limit(0).traced().build();
        (0..3).for_each(|_| job.execute(|| unreachable!("the job is held")));
        job.cancel();
        job.wait();
        let spans = SPANS.lock().unwrap();
        let below = spans.values().filter(|seen| seen.parent == parent);
        assert!(below.clone().all(|seen| (seen.entered, seen.handles) == (0, 0)), "{spans:?}");
        assert_eq!(below.count(), 3);
    });
}

#[test]
fn a_retried_task_has_one_span() {
    within(LONG, || {
        let pool = pool(1);
        subscribe();
        let job = pool.job_builder().traced().build();
        let mut spans = Vec::new();
        let policy = Retry::new().attempts(3).first_delay(std::time::Duration::from_nanos(1));
        let retried = job.spawn_retry(policy, move || {
            spans.push(inside());
            if spans.len() < 3 { Err(()) } else { Ok::<_, ()>(spans.clone()) }
        });
        let spans = retried.join().unwrap().result.unwrap();
        assert_eq!(spans, [spans[0]; 3]);
        assert_eq!((seen(spans[0]).entered, seen(spans[0]).handles), (3, 0));
    });
}

#[cfg(feature = "futures")]
#[test]
fn a_future_enters_its_span_for_each_poll() {
    within(LONG, || {
        let pool = pool(1);
        let (request, parent) = request();
        let job = pool.job_builder().traced().build();
        let other = pool.job(1);
        let task = job.spawn_future(async move {
            let (before, id) = (inside(), current_task_id());
            let between = other.spawn(inside).await.unwrap();
            (before, between, inside(), id == current_task_id())
        });
        drop(request);
        let id: TaskId = task.id();
        let (before, between, after, same) = task.join().unwrap();
        assert_eq!((before, between, same), (after, 0, true), "{id}");
        let seen = seen(before);
        assert!(seen.entered >= 2 && seen.handles == 0, "{seen:?}");
        assert_eq!(seen.parent, parent);
    });
}

/// The closure of a set's task has ended when its span is left, and its result comes later. A poll between the two loses nothing.
#[test]
fn a_set_keeps_a_task_whose_span_is_being_left() {
    within(LONG, || {
        let pool = pool(1);
        subscribe();
        let mut set = pool.job_builder().traced().build().set();
        let (latch, (tell, leaves)) = (Latch::new(), mpsc::channel());
        let stays = latch.opening();
        let at_exit = move || {
            tell.send(()).unwrap();
            stays.wait();
        };
        set.spawn(move || AT_EXIT.set(Some(Box::new(at_exit))));
        leaves.recv().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(set.poll_join_next_with_id(&mut cx).is_pending());
        latch.open();
        let (_, result) = block_on(poll_fn(|cx| set.poll_join_next_with_id(cx))).unwrap();
        result.unwrap();
        assert!(set.is_empty());
    });
}
