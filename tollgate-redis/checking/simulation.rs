//! Runs clients and a store on simulated clocks, with random faults, from a seed that a failure prints.
//!
//! Faults: answers and requests that are lost, late by up to two leases, or repeated; clients that pause or die; a store that
//! stalls; a store whose clock steps back; clocks of clients that run up to a tenth too slow or too fast; tasks that heed a
//! loss late. The clients run the production [`Book`]; the store is [`Table`]. One step is a millisecond.

use super::table::{Mistake, Table};
use crate::book::{Book, Id, Micros};

const STEP: Micros = 1_000;
const LEASE: Micros = 300_000;
const FAULTY: Micros = 30_000_000;
/// After the faults: time for each task, message and lease to end.
const QUIET: Micros = 3_000_000;

/// A xorshift generator.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

#[derive(Clone, Debug)]
enum Message {
    Acquire { id: Id, sent: Micros },
    Renew { id: Id, sent: Micros },
    Release { id: Id },
    Answer { id: Id, sent: Micros, fence: Option<u64> },
    Renewed { id: Id, sent: Micros, live: bool },
    Released { id: Id },
}

struct Task {
    id: Id,
    fence: u64,
    /// When it would end by itself.
    ends: Micros,
    /// How long it takes to heed a loss.
    heeds: Micros,
    /// The true time at which its lease was lost, if it was.
    lost: Option<Micros>,
    /// The true time at which the store last had its lease.
    covered: Micros,
}

struct Client {
    name: u128,
    /// Microseconds of its clock in a thousand true ones.
    rate: u64,
    book: Book,
    requests: u64,
    asking: Option<(Id, Micros)>,
    task: Option<Task>,
    paused_until: Micros,
}

impl Client {
    fn clock(&self, now: Micros) -> Micros {
        now * self.rate / 1000
    }
}

struct World {
    random: Random,
    now: Micros,
    table: Table,
    /// How far the store's clock is ahead of the true time. Falls.
    ahead: Micros,
    stalled_until: Micros,
    clients: Vec<Client>,
    names: u128,
    /// Messages, with the true time of their arrival.
    net: Vec<(Micros, Message)>,
    granted: u64,
    most_running: usize,
    overshoots: u64,
}

impl World {
    fn new(seed: u64, clients: usize, limit: usize) -> Self {
        let mut world = Self {
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            now: 0,
            table: Table::new(limit),
            ahead: 3_600_000_000,
            stalled_until: 0,
            clients: Vec::new(),
            names: 0,
            net: Vec::new(),
            granted: 0,
            most_running: 0,
            overshoots: 0,
        };
        for _ in 0..clients {
            let client = world.client();
            world.clients.push(client);
        }
        world
    }

    fn client(&mut self) -> Client {
        self.names += 1;
        let rate = 900 + self.random.below(201);
        let book = Book::new(LEASE);
        Client {
            name: self.names,
            rate,
            book,
            requests: 0,
            asking: None,
            task: None,
            paused_until: 0,
        }
    }

    fn faulty(&self) -> bool {
        self.now < FAULTY
    }

    fn send(&mut self, message: Message) {
        let late = self.faulty() && self.random.one_in(20);
        let delay =
            STEP + if late { self.random.below(2 * LEASE) } else { self.random.below(10_000) };
        if self.faulty() && self.random.one_in(20) {
            return; // lost
        }
        if self.faulty() && self.random.one_in(20) {
            let again = delay + self.random.below(2 * LEASE);
            self.net.push((self.now + again, message.clone()));
        }
        self.net.push((self.now + delay, message));
    }

    /// Runs a request at the store, or an answer at its client.
    fn deliver(&mut self, message: Message) {
        let time = self.now + self.ahead;
        let (Message::Acquire { id, .. }
        | Message::Renew { id, .. }
        | Message::Release { id }
        | Message::Answer { id, .. }
        | Message::Renewed { id, .. }
        | Message::Released { id }) = message;
        let now = self.now;
        let client = self.clients.iter_mut().find(|client| client.name == id.client);
        let clock = client.as_ref().map_or(0, |client| client.clock(now));
        match (message, client) {
            (Message::Acquire { id, sent }, _) => {
                self.table.expire(time);
                let (known, live) = (self.table.rows.contains_key(&id), self.table.live(time));
                let answer = self.table.acquire(id, LEASE, time);
                assert!(
                    answer.is_err() || known || live < self.table.limit,
                    "granted over the limit"
                );
                self.send(Message::Answer { id, sent, fence: answer.ok() });
            }
            (Message::Renew { id, sent }, _) => {
                let live = self.table.renew(id, LEASE, time);
                self.send(Message::Renewed { id, sent, live });
            }
            (Message::Release { id }, _) => {
                self.table.release(id, time);
                self.send(Message::Released { id });
            }
            (Message::Answer { id, sent, fence }, Some(client)) => {
                let Some((asked, _)) = client.asking else { return };
                if asked != id {
                    return;
                }
                let Some(fence) = fence else { return };
                client.asking = None;
                if client.book.granted(id, sent, clock) {
                    self.granted += 1;
                    let ends = now + 1 + self.random.below(4 * LEASE);
                    let slow = self.random.one_in(4);
                    let heeds = if slow { self.random.below(LEASE) } else { 0 };
                    client.task = Some(Task { id, fence, ends, heeds, lost: None, covered: now });
                } else {
                    client.book.give_up(id, clock);
                }
            }
            (Message::Renewed { id, sent, live }, Some(client)) => {
                if live {
                    client.book.renewed(id, sent, clock)
                } else {
                    client.book.refused(id)
                }
            }
            (Message::Released { id }, Some(client)) => client.book.released(id),
            (_, None) => {} // a dead client
        }
    }

    /// Lets a client do all that it does in one step.
    fn act(&mut self, number: usize) {
        let (now, faulty) = (self.now, self.faulty());
        if faulty && self.random.one_in(20_000) {
            self.clients[number] = self.client(); // dies, and starts again as another client
            return;
        }
        if faulty && self.random.one_in(5_000) {
            self.clients[number].paused_until = now + self.random.below(3 * LEASE);
        }
        let (ask, patience) = (faulty && self.random.one_in(10), 20_000 + self.random.below(LEASE));
        let client = &mut self.clients[number];
        let clock = client.clock(now);
        let mut out = Vec::new();
        if let Some(task) = &mut client.task {
            if task.lost.is_none() && client.book.clone().is_lost(task.id, clock) {
                task.lost = Some(now);
            }
            if client.paused_until > now {
                return;
            }
            if now >= task.ends || task.lost.is_some_and(|lost| now >= lost + task.heeds) {
                client.book.finish(task.id, clock);
                client.task = None;
            }
        }
        if client.paused_until > now {
            return;
        }
        match client.asking {
            None if client.task.is_none() && ask => {
                client.requests += 1;
                let id = Id { client: client.name, number: client.requests };
                client.asking = Some((id, clock + patience));
                out.push(Message::Acquire { id, sent: clock });
            }
            Some((id, until)) if clock >= until => {
                client.asking = None;
                client.book.give_up(id, clock);
            }
            Some((id, _)) if ask => out.push(Message::Acquire { id, sent: clock }),
            _ => {}
        }
        let due = client.book.due(clock);
        out.extend(due.renew.into_iter().map(|id| Message::Renew { id, sent: clock }));
        out.extend(due.release.into_iter().map(|id| Message::Release { id }));
        out.into_iter().for_each(|message| self.send(message));
    }

    /// Checks the promises after each step.
    fn check(&mut self) {
        let (now, time) = (self.now, self.now + self.ahead);
        assert!(self.table.live(time) <= self.table.limit, "more than `limit` leases are live");
        for client in &mut self.clients {
            let rate = client.rate;
            let Some(task) = &mut client.task else { continue };
            let row = self.table.rows.get(&task.id);
            if row.is_some_and(|row| row.end > time && row.fence == task.fence) {
                task.covered = now;
                continue;
            }
            let lost = task.lost.expect("a task that has not lost its lease runs without one");
            // The clock of the client delays the loss by at most this.
            let drift = (LEASE / 3 * 2 * 1000 / rate).saturating_sub(LEASE / 3 * 2);
            let without = now - task.covered;
            assert!(
                without <= (now - lost + drift + 2 * STEP).saturating_sub(LEASE / 3),
                "overshoots for {without} µs"
            );
            self.overshoots += 1;
        }
        self.most_running = self
            .most_running
            .max(self.clients.iter().filter(|client| client.task.is_some()).count());
    }

    fn run(&mut self) {
        while self.now < FAULTY + QUIET {
            self.now += STEP;
            if self.faulty() && self.random.one_in(20_000) {
                self.stalled_until = self.now + self.random.below(2 * LEASE);
            }
            if self.faulty() && self.random.one_in(20_000) {
                self.ahead -= self.random.below(LEASE).min(self.ahead);
            }
            let due: Vec<_> =
                self.net.extract_if(.., |(arrival, _)| *arrival <= self.now).collect();
            for (_, message) in due {
                let to_store = matches!(
                    message,
                    Message::Acquire { .. } | Message::Renew { .. } | Message::Release { .. }
                );
                let to = match &message {
                    Message::Answer { id, .. }
                    | Message::Renewed { id, .. }
                    | Message::Released { id } => id.client,
                    _ => 0,
                };
                let asleep = self
                    .clients
                    .iter()
                    .any(|client| client.name == to && client.paused_until > self.now);
                if asleep || to_store && self.stalled_until > self.now {
                    self.net.push((self.now + STEP, message)); // lies in a socket's buffer
                } else {
                    self.deliver(message);
                }
            }
            (0..self.clients.len()).for_each(|number| self.act(number));
            self.check();
        }
    }
}

#[test]
fn fleet_limit_holds_under_random_faults() {
    let (mut granted, mut overshoots, mut over) = (0, 0, 0);
    for seed in 1..=40 {
        println!("seed {seed}");
        let limit = 1 + (seed % 3) as usize;
        let mut world = World::new(seed, 5, limit);
        world.run();
        // recovery: at rest each permit is back, and no client has anything left to send.
        assert_eq!(world.table.live(world.now + world.ahead), 0, "a permit is not back");
        assert!(
            world
                .clients
                .iter()
                .all(|client| client.task.is_none() && client.book.next_due().is_none())
        );
        assert!(world.granted > 20, "only {} leases", world.granted);
        (granted, overshoots) = (granted + world.granted, overshoots + world.overshoots);
        over += u64::from(world.most_running > limit);
    }
    println!(
        "{granted} leases, {overshoots} ms of tasks without a lease, {over} runs of 40 above the limit"
    );
    assert!(overshoots > 0 && over > 0, "no fault was hard enough to need the promise");
}

#[test]
fn each_mistake_of_the_store_is_caught() {
    for mistake in [
        Mistake::RenewsAfterExpiry,
        Mistake::ReleasesByCount,
        Mistake::ReleasesTwice,
        Mistake::GrantsOneMore,
    ] {
        let caught = (1..=40).find(|seed| {
            let mut world = World::new(*seed, 5, 2);
            world.table.mistake = Some(mistake);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run())).is_err()
        });
        println!("{mistake:?} is caught by seed {caught:?}");
        assert!(caught.is_some());
    }
}

#[test]
fn clocks_a_forward_step_of_the_store_by_a_lease_frees_all() {
    let mut table = Table::new(1);
    let (first, second) = (Id { client: 1, number: 1 }, Id { client: 2, number: 1 });
    assert_eq!(table.acquire(first, LEASE, 0), Ok(1));
    assert_eq!(table.acquire(second, LEASE, LEASE - 1), Err(1));
    assert_eq!(table.acquire(second, LEASE, LEASE), Ok(2));
}
