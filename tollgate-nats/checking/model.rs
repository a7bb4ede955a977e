//! Explores every interleaving of two clients, one server and a network that delays and loses messages.
//!
//! The clients run the production [`Book`]; the server is [`Consumer`]. A lease lasts three ticks, so a client renews after one tick
//! and heeds a loss after two. A client may pause at any instant (its task runs on and heeds nothing), or crash. A client that
//! is not paused stops its task in the tick in which the lease is lost.

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};
use tollgate_lease::{Book, Micros};

use super::consumer::Consumer;

const LEASE: Micros = 3;
/// The model is cut, and the check fails, beyond this number of states.
const MOST: usize = 12_000_000;

/// A seeded mistake. The model must catch each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    /// The server hands out one task more than the limit.
    GrantsOneMore,
    /// A client counts from the arrival of a task and of an answer (`js-2`).
    CountsFromArrival,
    /// A client does not notice that a lease has ended: it renews the lease, and does not cancel the task (`js-1`).
    RenewsAfterExpiry,
    /// A client acknowledges a task whose lease it has lost, so that the permit is released twice (`js-1`).
    ReleasesTwice,
    /// A renewal does not look whether the message is still there (`js-3`).
    RenewsWithoutLook,
    /// A client runs a task that was handed out again, whatever the limit is (`js-4`).
    RunsWithoutLook,
    /// A client pulls at once from a server that has forgotten all leases (`js-5`).
    NeverQuiet,
    /// A client acknowledges a task before its copy is stored.
    ReleasesBeforeCopy,
}

#[derive(Clone, Debug)]
struct Fleet {
    limit: usize,
    /// The limit after the one change, if there is one.
    then: Option<usize>,
    tasks: u64,
    ticks: Micros,
    /// Pulls of each client.
    pulls: u64,
    faults: u8,
    /// Whether the server may forget all leases, once.
    forgets: bool,
    /// Messages under way at once.
    messages: usize,
    mistake: Option<Mistake>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Message {
    Pull { client: usize, sent: Micros },
    Task { client: usize, sent: Micros, sequence: u64, delivered: u64, over: bool },
    Renew { client: usize, id: u64, sequence: u64, sent: Micros, look: bool },
    Renewed { client: usize, id: u64, sent: Micros, there: bool },
    Acknowledge { client: usize, id: u64, sequence: u64 },
    Looked { client: usize, id: u64, within: bool },
}

/// A task at a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Run {
    id: u64,
    sequence: u64,
    delivered: u64,
    /// It was handed out while more than the present limit were held.
    over: bool,
    /// Waits for the server's counts, and does not run yet.
    looks: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Client {
    book: Book<u64>,
    next: u64,
    run: Option<Run>,
    /// The messages of the leases that are given back.
    back: Vec<(u64, u64)>,
    pulling: bool,
    pulls: u64,
    paused: bool,
    dead: bool,
    /// The connection has broken, and was not made again.
    cut: bool,
    quiet_until: Micros,
    deliveries: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: Micros,
    consumer: Consumer,
    clients: Vec<Client>,
    net: BTreeSet<Message>,
    faults: u8,
    changed: bool,
    forgot: bool,
    /// When each message was acknowledged in time. A delivery that is held later has lost its permit then.
    freed: BTreeMap<u64, Micros>,
    /// The tasks that have run to their end.
    done: BTreeSet<u64>,
    over_granted: bool,
    over_started: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Tick,
    Pull(usize),
    /// The client's pull or its answer was lost, or the pull has ended.
    PullEnds(usize),
    Look(usize),
    SendDue(usize),
    Finish(usize),
    /// A run that is not done goes to the back of the queue.
    Retry(usize),
    Pause(usize),
    Resume(usize),
    Crash(usize),
    SetLimit,
    Forget,
    Reconnect(usize),
    Deliver(Message),
    Lose(Message),
}

impl Client {
    fn up(&self) -> bool {
        !self.dead && !self.paused
    }

    fn holds(&self, now: Micros) -> bool {
        self.run.is_some_and(|run| !self.book.clone().is_lost(run.id, now))
    }

    /// Ends the run. Its lease is given back unless it is lost.
    fn finish(&mut self, now: Micros, mistake: Option<Mistake>) -> Option<Message> {
        let run = self.run.take()?;
        let lost = self.book.is_lost(run.id, now);
        self.book.finish(run.id, now);
        if self.book.is_due_back(run.id) {
            self.back.push((run.id, run.sequence));
        }
        let twice = lost && mistake == Some(Mistake::ReleasesTwice);
        twice.then_some(Message::Acknowledge { client: 9, id: run.id, sequence: run.sequence })
    }
}

impl Fleet {
    fn arrives(&self, world: &mut World, message: Message) {
        let now = world.now;
        let counts_from = |sent: Micros| {
            if self.mistake == Some(Mistake::CountsFromArrival) { now } else { sent }
        };
        match message {
            Message::Pull { client, sent } => {
                let full = world.consumer.pending.len() >= world.consumer.limit;
                if let Some((sequence, delivered)) = world.consumer.deliver(LEASE, now) {
                    world.over_granted |= full && delivered == 1;
                    let held = world.consumer.pending.len();
                    let over = world.changed && held > world.consumer.limit;
                    world.net.insert(Message::Task { client, sent, sequence, delivered, over });
                } else {
                    world.net.insert(message); // it waits
                }
            }
            Message::Task { client: number, sent, sequence, delivered, over } => {
                let still = world.consumer.pending.len() > world.consumer.limit;
                let deliveries = world.consumer.deliveries;
                let client = &mut world.clients[number];
                client.pulling = false;
                client.deliveries = client.deliveries.max(deliveries);
                let id = client.next;
                client.next += 1;
                if client.book.granted(id, counts_from(sent), now) {
                    let looks = delivered > 1 && self.mistake != Some(Mistake::RunsWithoutLook);
                    client.run = Some(Run { id, sequence, delivered, over, looks });
                    world.over_started |= !looks && over && still;
                }
            }
            Message::Renew { client, id, sequence, sent, look } => {
                world.consumer.renew(sequence, LEASE, now);
                let there = !look || world.consumer.stored.contains_key(&sequence);
                world.net.insert(Message::Renewed { client, id, sent, there });
            }
            Message::Renewed { client, id, sent, there } => {
                let book = &mut world.clients[client].book;
                if there { book.renewed(id, counts_from(sent), now) } else { book.refused(id) }
            }
            Message::Acknowledge { client: number, id, sequence } => {
                world.consumer.acknowledge(sequence);
                if let Some(client) = world.clients.get_mut(number) {
                    client.book.released(id); // the confirmation is not modelled
                    client.back.retain(|(other, _)| *other != id);
                    world.freed.entry(sequence).or_insert(now);
                }
            }
            Message::Looked { client: number, id, within } => {
                let over = world.consumer.pending.len() > world.consumer.limit;
                let client = &mut world.clients[number];
                let Some(run) = &mut client.run else { return };
                if run.id != id || !run.looks {
                    return;
                }
                if within {
                    run.looks = false;
                    world.over_started |= over && run.over;
                } else {
                    self.put_back(world, number);
                }
            }
        }
    }

    /// Stores a copy, then acknowledges the task.
    fn put_back(&self, world: &mut World, number: usize) {
        let now = world.now;
        let client = &mut world.clients[number];
        let Some(run) = client.run else { return };
        let Some(task) = world.consumer.stored.get(&run.sequence).copied() else {
            client.book.refused(run.id);
            client.finish(now, None);
            return;
        };
        if client.book.is_lost(run.id, now) {
            client.finish(now, None);
            return;
        }
        if self.mistake == Some(Mistake::ReleasesBeforeCopy) {
            world.consumer.acknowledge(run.sequence);
            client.run = None;
            return; // the process dies before the copy
        }
        world.consumer.copy(run.sequence, task);
        client.finish(now, None);
    }
}

impl Model for Fleet {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let length =
            if self.mistake == Some(Mistake::RenewsAfterExpiry) { LEASE * 100 } else { LEASE };
        let client = Client {
            book: Book::new(length),
            next: 0,
            run: None,
            back: Vec::new(),
            pulling: false,
            pulls: 0,
            paused: false,
            dead: false,
            cut: false,
            quiet_until: 0,
            deliveries: 0,
        };
        let mut consumer = Consumer::new(self.limit, self.tasks);
        consumer.grants_one_more = self.mistake == Some(Mistake::GrantsOneMore);
        vec![World {
            now: 0,
            consumer,
            clients: vec![client; 2],
            net: BTreeSet::new(),
            faults: self.faults,
            changed: false,
            forgot: false,
            freed: BTreeMap::new(),
            done: BTreeSet::new(),
            over_granted: false,
            over_started: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let now = world.now;
        let heeds = |client: &Client| client.up() && client.run.is_some() && !client.holds(now);
        if now < self.ticks && !world.clients.iter().any(heeds) {
            actions.push(Action::Tick);
        }
        if self.then.is_some() && !world.changed {
            actions.push(Action::SetLimit);
        }
        if self.forgets && !world.forgot {
            actions.push(Action::Forget);
        }
        for (number, client) in world.clients.iter().enumerate() {
            if client.dead {
                continue;
            }
            if client.paused {
                actions.push(Action::Resume(number));
                continue;
            }
            if client.cut {
                actions.push(Action::Reconnect(number));
            }
            match client.run {
                None if client.cut || now < client.quiet_until => {}
                None if client.pulling => actions.push(Action::PullEnds(number)),
                None if client.pulls < self.pulls => actions.push(Action::Pull(number)),
                Some(run) if run.looks && client.holds(now) => actions.push(Action::Look(number)),
                Some(_) => {
                    actions.push(Action::Finish(number));
                    // Beside a change of the limit only deliveries beyond it are put back: a bound of the model.
                    if client.holds(now) && self.then.is_none() {
                        actions.push(Action::Retry(number));
                    }
                }
                None => {}
            }
            if !client.cut && client.book.next_due().is_some_and(|due| due <= now) {
                actions.push(Action::SendDue(number));
            }
            if world.faults > 0 && client.run.is_some() {
                actions.push(Action::Pause(number));
                actions.push(Action::Crash(number));
            }
        }
        for message in &world.net {
            let to = match message {
                Message::Task { client, .. }
                | Message::Renewed { client, .. }
                | Message::Looked { client, .. } => Some(&world.clients[*client]),
                _ => None,
            };
            if to.is_none_or(Client::up) {
                actions.push(Action::Deliver(*message));
            }
            if world.faults > 0 {
                actions.push(Action::Lose(*message));
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        let now = world.now;
        match action {
            Action::Tick => world.now += 1,
            Action::SetLimit => {
                world.consumer.limit = self.then?;
                world.changed = true;
            }
            Action::Forget => {
                world.forgot = true;
                world.consumer.forget();
                world.net.clear();
                for client in &mut world.clients {
                    client.cut = true;
                    client.pulling = false;
                }
            }
            Action::Reconnect(number) => {
                let client = &mut world.clients[number];
                client.cut = false;
                let forgot = world.consumer.deliveries == 0;
                if (forgot || world.consumer.deliveries < client.deliveries)
                    && self.mistake != Some(Mistake::NeverQuiet)
                {
                    client.quiet_until = now + LEASE;
                    if let Some(run) = client.run {
                        client.book.refused(run.id);
                    }
                }
                client.deliveries = world.consumer.deliveries;
            }
            Action::Pull(number) => {
                let client = &mut world.clients[number];
                client.pulling = true;
                client.pulls += 1;
                world.net.insert(Message::Pull { client: number, sent: now });
            }
            Action::PullEnds(number) => {
                world.clients[number].pulling = false;
                world.net.retain(
                    |message| !matches!(message, Message::Pull { client, .. } | Message::Task { client, .. } if *client == number),
                );
            }
            Action::Look(number) => {
                let id = world.clients[number].run?.id;
                let within = world.consumer.pending.len() <= world.consumer.limit;
                world.net.insert(Message::Looked { client: number, id, within });
            }
            Action::SendDue(number) => {
                let client = &mut world.clients[number];
                let due = client.book.due(now);
                for id in due.renew {
                    let run = client.run.filter(|run| run.id == id)?;
                    let look =
                        run.delivered > 1 && self.mistake != Some(Mistake::RenewsWithoutLook);
                    let sequence = run.sequence;
                    world.net.insert(Message::Renew {
                        client: number,
                        id,
                        sequence,
                        sent: now,
                        look,
                    });
                }
                for id in due.release {
                    let (_, sequence) =
                        client.back.iter().copied().find(|(other, _)| *other == id)?;
                    world.net.insert(Message::Acknowledge { client: number, id, sequence });
                }
            }
            Action::Finish(number) => {
                let client = &mut world.clients[number];
                let run = client.run?;
                let late = client.finish(now, self.mistake);
                world.net.extend(late);
                if !run.looks
                    && let Some(task) = world.consumer.stored.get(&run.sequence)
                {
                    world.done.insert(*task);
                }
            }
            Action::Retry(number) => self.put_back(&mut world, number),
            Action::Pause(number) => {
                world.faults -= 1;
                world.clients[number].paused = true;
            }
            Action::Resume(number) => world.clients[number].paused = false,
            Action::Crash(number) => {
                world.faults -= 1;
                let client = &mut world.clients[number];
                client.dead = true;
                client.run = None;
            }
            Action::Deliver(message) => {
                world.net.remove(&message);
                self.arrives(&mut world, message);
            }
            Action::Lose(message) => {
                world.faults -= 1;
                world.net.remove(&message);
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no task is handed out while `limit` are", |_, world: &World| {
                !world.over_granted
            }),
            Property::always(
                "no task starts while more than `limit` are held",
                |_, world: &World| !world.over_started,
            ),
            Property::always(
                "only a task that has lost its lease runs without one",
                |_, world: &World| world.forgot || uncovered(world).count() == 0,
            ),
            Property::always("at most `limit` hold a lease", |fleet: &Self, world: &World| {
                let holds = |client: &&Client| {
                    client.holds(world.now)
                        && client.run.is_some_and(|run| !world.freed.contains_key(&run.sequence))
                };
                world.clients.iter().filter(holds).count()
                    <= fleet.limit.max(fleet.then.unwrap_or(0))
            }),
            Property::always("each task is stored or has run", |fleet: &Self, world: &World| {
                (1..=fleet.tasks).all(|task| {
                    world.done.contains(&task)
                        || world.consumer.stored.values().any(|stored| *stored == task)
                })
            }),
            Property::sometimes("the limit is used", |fleet: &Self, world: &World| {
                world.clients.iter().filter(|client| client.holds(world.now)).count() == fleet.limit
            }),
            Property::sometimes("a paused task overshoots", |fleet: &Self, world: &World| {
                world.clients.iter().filter(|client| client.run.is_some()).count() > fleet.limit
            }),
            Property::sometimes("a late acknowledgement frees a permit", |_, world: &World| {
                world.clients.iter().any(|client| {
                    client.run.is_some_and(|run| world.freed.contains_key(&run.sequence))
                })
            }),
        ]
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.net.len() <= self.messages
    }
}

/// The clients that believe in a lease which the server does not count. A run whose permit was freed by a late acknowledgement
/// may do so until its next renewal.
fn uncovered(world: &World) -> impl Iterator<Item = &Client> {
    world.clients.iter().filter(|client| {
        let Some(run) = client.run.filter(|_| client.holds(world.now)) else { return false };
        let lease = world.consumer.pending.get(&run.sequence);
        let counted =
            lease.is_some_and(|lease| lease.end > world.now && lease.delivered == run.delivered);
        let from = client.book.clone().time_left(run.id, world.now) + world.now;
        let freed = world.freed.get(&run.sequence);
        !counted && freed.is_none_or(|freed| from > freed + LEASE / 3 * 2)
    })
}

fn two_clients() -> Fleet {
    Fleet {
        limit: 1,
        then: None,
        tasks: 2,
        ticks: 6,
        pulls: 1,
        faults: 1,
        forgets: false,
        messages: 2,
        mistake: None,
    }
}

/// Checks a fleet to the end. Returns the always-properties that do not hold, and the situations that did not come about.
fn check(fleet: Fleet) -> (Vec<&'static str>, Vec<&'static str>) {
    let start = std::time::Instant::now();
    let checker = fleet
        .clone()
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(MOST)
        .spawn_bfs()
        .join();
    println!("{} states in {:?} of {fleet:?}", checker.unique_state_count(), start.elapsed());
    assert!(checker.state_count() < MOST, "cut: the model has grown");
    let found = checker.discoveries();
    let (mut broken, mut missing) = (Vec::new(), Vec::new());
    for property in fleet.properties() {
        match property.expectation {
            Expectation::Always if found.contains_key(property.name) => broken.push(property.name),
            Expectation::Sometimes if !found.contains_key(property.name) => {
                missing.push(property.name)
            }
            _ => {}
        }
    }
    for name in &broken {
        println!("{name}: {:?}", found[name].clone().into_actions());
    }
    (broken, missing)
}

#[test]
fn fleet_limit_holds_with_two_clients_and_faults() {
    let (broken, missing) = check(two_clients());
    assert!(broken.is_empty() && missing.is_empty(), "{broken:?}, {missing:?}");
}

/// A limit that falls while leases end.
fn lowered() -> Fleet {
    Fleet { limit: 2, then: Some(1), pulls: 2, faults: 0, ticks: 3, messages: 1, ..two_clients() }
}

/// A server that forgets all leases.
fn forgetful() -> Fleet {
    Fleet { forgets: true, faults: 0, tasks: 1, ticks: 5, messages: 1, ..two_clients() }
}

#[test]
fn fleet_limit_holds_while_the_limit_changes() {
    for fleet in [lowered(), Fleet { then: Some(2), faults: 0, ..two_clients() }] {
        let (broken, _) = check(fleet);
        assert!(broken.is_empty(), "{broken:?}");
    }
}

#[test]
fn fleet_limit_holds_when_the_server_forgets() {
    let (broken, _) = check(forgetful());
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn each_mistake_is_caught() {
    use Mistake::*;
    for mistake in [
        GrantsOneMore,
        CountsFromArrival,
        RenewsAfterExpiry,
        ReleasesTwice,
        RenewsWithoutLook,
        RunsWithoutLook,
        NeverQuiet,
        ReleasesBeforeCopy,
    ] {
        let fleet = match mistake {
            RunsWithoutLook => lowered(),
            NeverQuiet => forgetful(),
            _ => two_clients(),
        };
        let (broken, _) = check(Fleet { mistake: Some(mistake), ..fleet });
        assert!(!broken.is_empty(), "{mistake:?} is not caught");
        println!("{mistake:?}: {broken:?}");
    }
}
