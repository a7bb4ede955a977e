//! Explores every interleaving of a few clients, one store and a network that delays, loses and repeats messages.
//!
//! The clients run the production [`Book`]; the store is [`Table`]. A lease lasts three ticks, so a client renews after one tick
//! and heeds a loss after two. A client may pause at any instant (its task runs on and heeds nothing), or crash. A client that
//! is not paused stops its task in the tick in which the lease is lost.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::table::{Mistake, Table};
use crate::book::{Book, Id, Micros};

const LEASE: Micros = 3;
/// The model is cut, and the check fails, beyond this number of states.
const MOST: usize = 8_000_000;

/// A seeded mistake of a client. The model must catch each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slip {
    /// Removes `own-3`: counts from the arrival of an answer.
    CountsFromAnswer,
    /// Removes `own-4`: goes on until the store refuses a renewal.
    NeverHeeds,
    /// Removes the rule that an id is used once: the next request has the id of the last one.
    ReusesIds,
}

#[derive(Clone, Debug)]
struct Fleet {
    clients: usize,
    limit: usize,
    /// The limit after the one change, if there is one.
    then: Option<usize>,
    ticks: Micros,
    /// Requests for a permit by each client.
    requests: u64,
    faults: u8,
    mistake: Option<Mistake>,
    slip: Option<Slip>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Message {
    Acquire { id: Id, sent: Micros },
    Renew { id: Id, sent: Micros },
    Release { id: Id },
    Granted { id: Id, sent: Micros, fence: u64 },
    Renewed { id: Id, sent: Micros, live: bool },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Client {
    book: Book,
    asking: Option<Id>,
    running: Option<(Id, u64)>,
    paused: bool,
    dead: bool,
    requests: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: Micros,
    table: Table,
    clients: Vec<Client>,
    net: BTreeSet<Message>,
    /// Pauses, crashes, repeats and repeated requests that may still happen.
    faults: u8,
    changed: bool,
    /// A lease was granted while `limit` leases were live.
    over_granted: bool,
    /// A fencing number was not above each earlier one.
    fence_went_back: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Tick,
    Ask(usize),
    AskAgain(usize),
    GiveUp(usize),
    SendDue(usize),
    Finish(usize),
    Pause(usize),
    Resume(usize),
    Crash(usize),
    SetLimit,
    Deliver(Message),
    /// Delivers a message that the network will deliver again.
    Repeat(Message),
}

impl Client {
    fn up(&self) -> bool {
        !self.dead && !self.paused
    }

    fn has_lost(&self, now: Micros) -> bool {
        self.running.is_some_and(|(id, _)| self.book.clone().is_lost(id, now))
    }
}

impl World {
    /// Returns the client of an id.
    fn owner(&mut self, id: Id) -> &mut Client {
        &mut self.clients[id.client as usize]
    }

    /// Runs a request at the store, or an answer at its client.
    fn deliver(&mut self, message: Message, slip: Option<Slip>) {
        let now = self.now;
        match message {
            Message::Acquire { id, sent } => {
                self.table.expire(now);
                let (known, live) = (self.table.rows.contains_key(&id), self.table.live(now));
                let last = self.table.fence;
                // A refusal is not modelled: a client gives up at any instant.
                if let Ok(fence) = self.table.acquire(id, LEASE, now) {
                    self.over_granted |= !known && live >= self.table.limit;
                    self.fence_went_back |= !known && fence <= last;
                    self.net.insert(Message::Granted { id, sent, fence });
                }
            }
            Message::Renew { id, sent } => {
                let live = self.table.renew(id, LEASE, now);
                self.net.insert(Message::Renewed { id, sent, live });
            }
            Message::Release { id } => {
                self.table.release(id, now);
            }
            Message::Granted { id, sent, fence } => {
                let sent = if slip == Some(Slip::CountsFromAnswer) { now } else { sent };
                let client = self.owner(id);
                if client.asking == Some(id) {
                    client.asking = None;
                    if client.book.granted(id, sent, now) {
                        client.running = Some((id, fence));
                    } else {
                        client.book.give_up(id, now);
                    }
                }
            }
            Message::Renewed { id, sent, live } => {
                let sent = if slip == Some(Slip::CountsFromAnswer) { now } else { sent };
                let book = &mut self.owner(id).book;
                if live { book.renewed(id, sent, now) } else { book.refused(id) }
            }
        }
    }
}

impl Model for Fleet {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let length = if self.slip == Some(Slip::NeverHeeds) { LEASE * 100 } else { LEASE };
        let client = Client {
            book: Book::new(length),
            asking: None,
            running: None,
            paused: false,
            dead: false,
            requests: 0,
        };
        vec![World {
            now: 0,
            table: Table { mistake: self.mistake, ..Table::new(self.limit) },
            clients: vec![client; self.clients],
            net: BTreeSet::new(),
            faults: self.faults,
            changed: false,
            over_granted: false,
            fence_went_back: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let now = world.now;
        let heeding = world.clients.iter().any(|client| client.up() && client.has_lost(now));
        if now < self.ticks && !heeding {
            actions.push(Action::Tick);
        }
        if self.then.is_some() && !world.changed {
            actions.push(Action::SetLimit);
        }
        for (number, client) in world.clients.iter().enumerate() {
            if client.dead {
                continue;
            }
            if client.paused {
                actions.push(Action::Resume(number));
                continue;
            }
            match (client.asking, client.running) {
                (None, None) if client.requests < self.requests => {
                    actions.push(Action::Ask(number))
                }
                (Some(_), _) => {
                    actions.push(Action::GiveUp(number));
                    if world.faults > 0 {
                        actions.push(Action::AskAgain(number));
                    }
                }
                (_, Some(_)) => actions.push(Action::Finish(number)),
                _ => {}
            }
            if client.book.next_due().is_some_and(|due| due <= now) {
                actions.push(Action::SendDue(number));
            }
            if world.faults > 0 && client.running.is_some() {
                actions.push(Action::Pause(number));
                actions.push(Action::Crash(number));
            }
        }
        for message in &world.net {
            if let Message::Granted { id, .. } | Message::Renewed { id, .. } = message {
                if world.clients[id.client as usize].up() {
                    actions.push(Action::Deliver(message.clone()));
                }
                continue;
            }
            actions.push(Action::Deliver(message.clone()));
            if world.faults > 0 {
                actions.push(Action::Repeat(message.clone()));
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        let now = world.now;
        match action {
            Action::Tick => world.now += 1,
            Action::SetLimit => {
                world.table.limit = self.then?;
                world.changed = true;
            }
            Action::Ask(number) => {
                let client = &mut world.clients[number];
                let reuses = self.slip == Some(Slip::ReusesIds);
                let id =
                    Id { client: number as u128, number: if reuses { 0 } else { client.requests } };
                client.requests += 1;
                client.asking = Some(id);
                world.net.insert(Message::Acquire { id, sent: now });
            }
            Action::AskAgain(number) => {
                let id = world.clients[number].asking?;
                world.faults -= 1;
                world.net.insert(Message::Acquire { id, sent: now });
            }
            Action::GiveUp(number) => {
                let client = &mut world.clients[number];
                let id = client.asking.take()?;
                client.book.give_up(id, now);
            }
            Action::SendDue(number) => {
                let due = world.clients[number].book.due(now);
                world.net.extend(due.renew.into_iter().map(|id| Message::Renew { id, sent: now }));
                for id in due.release {
                    world.clients[number].book.released(id); // a lost request is as good as none
                    world.net.insert(Message::Release { id });
                }
            }
            Action::Finish(number) => {
                let client = &mut world.clients[number];
                let (id, _) = client.running.take()?;
                client.book.finish(id, now);
            }
            Action::Pause(number) => {
                world.faults -= 1;
                world.clients[number].paused = true;
            }
            Action::Resume(number) => world.clients[number].paused = false,
            Action::Crash(number) => {
                world.faults -= 1;
                let client = &mut world.clients[number];
                client.dead = true;
                client.running = None;
            }
            Action::Deliver(message) => {
                world.net.remove(&message);
                world.deliver(message, self.slip);
            }
            Action::Repeat(message) => {
                world.faults -= 1;
                world.deliver(message, self.slip);
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no lease is granted while `limit` are live", |_, world: &World| {
                !world.over_granted
            }),
            Property::always("at most `limit` leases are live", |fleet: &Self, world: &World| {
                world.table.live(world.now) <= fleet.limit.max(fleet.then.unwrap_or(0))
            }),
            Property::always(
                "only a task that has lost its lease runs without one",
                |_, world: &World| {
                    world.clients.iter().all(|client| {
                        client.running.is_none_or(|(id, fence)| {
                            let row = world.table.rows.get(&id);
                            client.has_lost(world.now)
                                || row.is_some_and(|row| row.end > world.now && row.fence == fence)
                        })
                    })
                },
            ),
            Property::always("fencing numbers rise", |_, world: &World| !world.fence_went_back),
            Property::sometimes("the limit is used", |fleet: &Self, world: &World| {
                world.clients.iter().filter(|client| client.running.is_some()).count()
                    == fleet.limit
            }),
            Property::sometimes("a paused task overshoots", |fleet: &Self, world: &World| {
                world.clients.iter().filter(|client| client.running.is_some()).count() > fleet.limit
            }),
            Property::sometimes(
                "a renewal comes after the end of its lease",
                |_, world: &World| {
                    world
                        .net
                        .iter()
                        .any(|message| matches!(message, Message::Renewed { live: false, .. }))
                },
            ),
        ]
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.net.len() <= 2
    }
}

fn two_clients() -> Fleet {
    Fleet {
        clients: 2,
        limit: 1,
        then: None,
        ticks: 6,
        requests: 1,
        faults: 1,
        mistake: None,
        slip: None,
    }
}

/// Checks a fleet to the end. Returns the always-properties that do not hold.
fn broken(fleet: Fleet) -> Vec<&'static str> {
    let checker = fleet
        .clone()
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(MOST)
        .spawn_bfs()
        .join();
    let kinds: Vec<_> = fleet.properties();
    let mut names: Vec<_> = checker.discoveries().into_keys().collect();
    println!("{} states of {fleet:?}", checker.unique_state_count());
    assert!(checker.state_count() < MOST, "cut: the model has grown");
    names.retain(|name| {
        let sort = kinds.iter().find(|kind| kind.name == *name).unwrap();
        matches!(sort.expectation, stateright::Expectation::Always)
    });
    names
}

/// Checks a fleet to the end: each property holds, and each of the three situations comes about.
fn check(fleet: Fleet) {
    let checker = fleet.clone().checker().target_state_count(MOST).spawn_bfs().join();
    println!("{} states of {fleet:?}", checker.unique_state_count());
    assert!(checker.state_count() < MOST, "cut: the model has grown");
    checker.assert_properties();
}

#[test]
fn fleet_limit_holds_with_two_clients_and_two_faults() {
    check(Fleet { faults: 2, ticks: 5, ..two_clients() });
}

#[test]
fn fleet_limit_holds_without_faults() {
    let three = Fleet { clients: 3, limit: 2, ticks: 3, ..two_clients() };
    let twice = Fleet { requests: 2, ticks: 3, ..two_clients() };
    let falls = Fleet { limit: 2, then: Some(1), ..two_clients() };
    let rises = Fleet { then: Some(2), ..two_clients() };
    for fleet in [three, twice, falls, rises] {
        let names = broken(Fleet { faults: 0, ..fleet });
        assert!(names.is_empty(), "{names:?}");
    }
}

#[test]
fn each_mistake_of_the_store_is_caught() {
    for mistake in [
        Mistake::RenewsAfterExpiry,
        Mistake::ReleasesByCount,
        Mistake::ReleasesTwice,
        Mistake::GrantsOneMore,
    ] {
        let names = broken(Fleet { mistake: Some(mistake), ..two_clients() });
        assert!(!names.is_empty(), "{mistake:?} is not caught");
        println!("{mistake:?}: {names:?}");
    }
}

#[test]
fn each_slip_of_a_client_is_caught() {
    for slip in [Slip::CountsFromAnswer, Slip::NeverHeeds, Slip::ReusesIds] {
        let requests = if slip == Slip::ReusesIds { 2 } else { 1 };
        let names = broken(Fleet { slip: Some(slip), requests, ..two_clients() });
        assert!(!names.is_empty(), "{slip:?} is not caught");
        println!("{slip:?}: {names:?}");
    }
}
