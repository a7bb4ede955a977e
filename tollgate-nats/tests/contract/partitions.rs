//! Machines in network namespaces of their own, cut off from the server by `nft`. If the process may not make namespaces, each
//! test prints that, and passes without a check.

use std::net::Ipv4Addr;
use std::time::Duration;

use fleet_testing::{Network, Process, Resource, Server, within};

use crate::worker::{self, Work};
use crate::{SOON, block, explained, open, server};

const LEASE: Duration = Duration::from_secs(3);

/// Makes a network of three machines. Moves this thread to its hub, and starts the server and the resource there.
fn start() -> Option<(Network, Server, Resource)> {
    let network = Network::new(3)?;
    network.enter(0);
    // Nothing outside reaches the network.
    Some((network, server::at("0.0.0.0", true), Resource::start_at(Ipv4Addr::UNSPECIFIED)))
}

/// Starts a worker on a machine. Each of its tasks lasts for `task`.
fn work(
    network: &Network,
    machine: u8,
    server: &Server,
    resource: &Resource,
    task: Duration,
) -> Process {
    let (at, nats, resource) = (Network::address(0), server.port, resource.port);
    let work = Work { at, nats, resource, local: 4, task, heeds: true };
    network.on(machine, || worker::start(&work))
}

/// Cuts a machine off while it holds all permits. Another machine must get its tasks, and the first machine must cancel them by its
/// own clock.
fn cut_off(only_answers: bool) {
    let Some((network, server, resource)) = start() else { return };
    let job = open(server.port, 2, LEASE);
    (0..2_u64).for_each(|number| block(job.push(&number)).unwrap());
    let long = Duration::from_secs(600);
    let _cut = work(&network, 1, &server, &resource, long);
    within(SOON, "the first machine has all permits", || resource.now() == 2);
    network.cut(1, server.port, only_answers);
    let _other = work(&network, 2, &server, &resource, long);
    within(SOON, "the tasks run on another machine", || resource.visits() == 4);
    within(SOON, "the tasks of the first machine stop", || resource.now() == 2);
    resource.forget();
    // What the first machine has sent meanwhile arrives late, and frees no permit.
    network.mend(1);
    std::thread::sleep(2 * LEASE);
    explained(&job, "the other machine holds both", |state| {
        state.leases == 2 && state.held.len() == 2 && state.held.iter().all(|held| held.attempt > 1)
    });
    assert_eq!((resource.most(), resource.visits()), (2, 4));
}

#[test]
fn fleet_limit_holds_over_a_partition() {
    cut_off(false);
}

#[test]
fn fleet_limit_holds_over_a_partition_of_one_direction() {
    cut_off(true);
}

#[test]
fn fleet_nothing_lost_over_partitions_of_each_machine_in_turn() {
    let Some((network, server, resource)) = start() else { return };
    let job = open(server.port, 3, LEASE);
    (0..600_u64).for_each(|number| block(job.push(&number)).unwrap());
    let workers = [1, 2, 3]
        .map(|machine| work(&network, machine, &server, &resource, Duration::from_millis(20)));
    for (machine, only_answers) in [(1, false), (2, true), (3, false)] {
        network.cut(machine, server.port, only_answers);
        let before = resource.visits();
        within(SOON, "the others go on", || resource.visits() > before + 40);
        network.mend(machine);
    }
    explained(&job, "all is done", |state| state.leases == 0 && state.queued == 0);
    let mut begun = resource.begun();
    begun.sort_unstable();
    begun.dedup();
    assert_eq!(begun.len(), 600);
    workers.into_iter().for_each(Process::end);
}
