//! Compares the scripts, in a real server, with [`Table`]: the same requests at the same times get the same answers.
//!
//! The scripts are the production ones, but for the line that reads the server's clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::server::Server;
use super::table::Table;
use crate::book::{Due, Id, Micros};
use crate::redis_store::{RedisBackend, RedisStore, text};
use crate::store::{Answer, Ask, Store};

const LENGTH: Micros = 1_000;
/// A time of today, so that the precision of the server's numbers is put to the test.
const START: Micros = 1_764_403_200_123_456;
const CLOCK: &str = "redis.call('TIME')";

#[derive(Clone, Debug)]
enum Op {
    Pass(Micros),
    Acquire(u64),
    Renew(Vec<u64>),
    Release(Vec<u64>),
    SetLimit(u32),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let ids = || prop::collection::vec(0..6_u64, 1..4);
    let op = prop_oneof![
        2 => prop_oneof![1..400_u64, Just(1), Just(LENGTH)].prop_map(Op::Pass),
        4 => (0..6_u64).prop_map(Op::Acquire),
        2 => ids().prop_map(Op::Renew),
        2 => ids().prop_map(Op::Release),
        1 => (1..4_u32).prop_map(Op::SetLimit),
    ];
    prop::collection::vec(op, 1..40)
}

fn id(number: u64) -> Id {
    Id { client: 7, number }
}

/// A gate whose scripts read the time from a key, with one more edit.
fn backend(server: &Server, from: &str, to: &str) -> RedisBackend {
    let mut backend = RedisBackend::new(server.client(), "compared");
    let mut edited = from.is_empty();
    for script in &mut backend.scripts {
        assert!(script.contains(CLOCK));
        edited |= script.contains(from);
        *script = script.replace(CLOCK, "{0, redis.call('GET', 'test:now')}").replace(from, to);
    }
    assert!(edited, "no script has {from}");
    backend
}

struct Compared {
    server: RedisStore,
    control: redis::Connection,
    table: Table,
    now: Micros,
}

impl Compared {
    fn new(server: &Server, backend: &RedisBackend) -> Self {
        let mut control = server.client().get_connection().unwrap();
        redis::cmd("FLUSHALL").exec(&mut control).unwrap();
        set_clock(&mut control, START);
        backend.prepare(Some(2), Duration::from_secs(5)).unwrap();
        Self {
            server: backend.open(Duration::from_secs(5)).unwrap(),
            control,
            table: Table::new(2),
            now: START,
        }
    }

    /// Runs an operation on both sides.
    fn run(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let now = self.now;
        match op {
            Op::Pass(time) => {
                self.now += time;
                set_clock(&mut self.control, self.now);
            }
            Op::Acquire(number) => {
                let ask = Ask { id: id(*number), length: LENGTH, holder: "a holder", waiter: None };
                let answer = match self.server.acquire(&ask).unwrap() {
                    Answer::Granted { fence } => Ok(fence),
                    Answer::Full { next_end } => Err(next_end),
                };
                prop_assert_eq!(answer, self.table.acquire(id(*number), LENGTH, now));
            }
            Op::Renew(numbers) => {
                let due =
                    Due { renew: numbers.iter().map(|n| id(*n)).collect(), release: Vec::new() };
                let live: Vec<bool> =
                    due.renew.iter().map(|id| self.table.renew(*id, LENGTH, now)).collect();
                prop_assert_eq!(self.server.settle(&due, LENGTH).unwrap(), live);
            }
            Op::Release(numbers) => {
                let due =
                    Due { renew: Vec::new(), release: numbers.iter().map(|n| id(*n)).collect() };
                self.server.settle(&due, LENGTH).unwrap();
                for id in &due.release {
                    self.table.release(*id, now);
                }
            }
            Op::SetLimit(limit) => {
                let revision = self.server.explain().unwrap().revision;
                prop_assert!(self.server.set_limit(*limit, revision).unwrap());
                prop_assert!(
                    !self.server.set_limit(9, revision).unwrap(),
                    "a late request is applied"
                );
                self.table.limit = *limit as usize;
            }
        }
        self.table.expire(self.now);
        let seen = self.server.explain().unwrap();
        prop_assert_eq!(seen.limit as usize, self.table.limit);
        let rows: BTreeMap<_, _> =
            seen.held.into_iter().map(|row| (row.id, (row.fence, row.left))).collect();
        let left = |end| Duration::from_micros(end - self.now);
        let expected =
            self.table.rows.iter().map(|(id, row)| (text(*id), (row.fence, left(row.end))));
        prop_assert_eq!(rows, expected.collect::<BTreeMap<_, _>>());
        Ok(())
    }
}

fn set_clock(control: &mut redis::Connection, now: Micros) {
    redis::cmd("SET").arg("test:now").arg(now).exec(control).unwrap();
}

/// Compares random programs. Returns the first difference.
fn compare(server: &Server, cases: u32, from: &str, to: &str) -> Result<(), String> {
    let backend = backend(server, from, to);
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    TestRunner::new(config)
        .run(&ops(), |ops| {
            let mut both = Compared::new(server, &backend);
            ops.iter().try_for_each(|op| both.run(op))
        })
        .map_err(|error| error.to_string())
}

/// A server for comparisons: its file need not be on the disk.
fn server() -> Server {
    Server::with(&["--appendonly", "yes", "--appendfsync", "no"])
}

#[test]
fn the_scripts_answer_as_the_plain_store() {
    compare(&server(), 300, "", "").unwrap();
}

#[test]
fn each_mistake_of_a_script_is_caught() {
    let server = server();
    for (from, to) in [
        ("if redis.call('ZSCORE', leases, ARGV[i]) then", "if true then"), // renews after the end
        ("redis.call('ZREM', leases, ARGV[i]) == 1", "#redis.call('ZPOPMIN', leases) > 0"), // releases by count
        ("redis.call('ZCARD', leases) < limit then", "redis.call('ZCARD', leases) <= limit then"),
        ("if redis.call('ZSCORE', leases, id) then", "if false then"), // counts a repeated request as another one
        ("'-inf', now)\n    for", "'-inf', '(' .. now)\n    for"), // a lease lasts to its end, and the end
        ("'-inf', now)\n    for", "'-inf', 0)\n    for"),          // no lease ends
        (
            "redis.call('ZADD', leases, now + length, id)\n    redis.call('HSET'",
            "redis.call('HSET'",
        ), // not entered
        ("'fence', 1)", "'fence', 0)"),
        ("~= ARGV[2]", "~= redis.call('HGET', gate, 'revision')"), // a late limit is applied
    ] {
        let difference = compare(&server, 300, from, to);
        assert!(difference.is_err(), "not caught: {from} => {to}");
    }
}

/// Runs two waiters through each way of being woken. Returns the steps at which one was not woken.
fn not_woken(backend: &RedisBackend) -> Vec<&'static str> {
    backend.prepare(Some(1), Duration::from_secs(5)).unwrap();
    let open = || backend.open(Duration::from_secs(5)).unwrap();
    let (mut first, mut second) = (open(), open());
    let ask = |number, waiter| Ask { id: id(number), length: 60_000_000, holder: "", waiter };
    let full = |store: &mut RedisStore, number, waiter| {
        matches!(store.acquire(&ask(number, Some(waiter))).unwrap(), Answer::Full { .. })
    };
    let mut missed = Vec::new();
    let mut wait = |store: &mut RedisStore, waiter, step| {
        let (start, pause) = (Instant::now(), Duration::from_secs(1));
        store.wait(waiter, pause).unwrap();
        if start.elapsed() >= pause {
            missed.push(step);
        }
    };
    assert!(matches!(first.acquire(&ask(0, None)).unwrap(), Answer::Granted { .. }));
    assert!(full(&mut first, 1, "first") && full(&mut second, 2, "second"));
    first.settle(&Due { renew: Vec::new(), release: vec![id(0)] }, 1).unwrap();
    wait(&mut first, "first", "a release wakes a waiter");
    first.leave("first").unwrap();
    wait(&mut second, "second", "a waiter that leaves passes its wake-up on");
    assert!(matches!(first.acquire(&ask(3, None)).unwrap(), Answer::Granted { .. }));
    assert!(full(&mut first, 1, "first") && full(&mut second, 2, "second"));
    let revision = first.explain().unwrap().revision;
    assert!(first.set_limit(3, revision).unwrap());
    wait(&mut first, "first", "a raised limit wakes a waiter");
    assert!(matches!(first.acquire(&ask(1, Some("first"))).unwrap(), Answer::Granted { .. }));
    wait(&mut second, "second", "a granted request passes the wake-up on");
    missed
}

#[test]
fn each_lost_wake_up_of_a_script_is_noticed() {
    let server = server();
    let sound = RedisBackend::new(server.client(), "woken");
    assert_eq!(not_woken(&sound), [""; 0]);
    for (number, wake, step) in [
        (0, "if limit and released > 0 then wake(limit) end", "a release wakes a waiter"),
        (1, "and limit then wake(limit) end", "a waiter that leaves passes its wake-up on"),
        (2, "wake(tonumber(ARGV[1]))", "a raised limit wakes a waiter"),
        (3, "wake(limit)\n    return {1, fence}", "a granted request passes the wake-up on"),
    ] {
        let mut backend = RedisBackend::new(server.client(), &format!("woken-{number}"));
        let mut edited = 0;
        for script in &mut backend.scripts {
            edited += script.matches(wake).count();
            *script = script.replace(
                wake,
                &wake.replace("wake(limit)", "").replace("wake(tonumber(ARGV[1]))", ""),
            );
        }
        assert_eq!(edited, 1, "{wake}");
        assert!(not_woken(&backend).contains(&step), "not noticed: {step}");
    }
}
