//! Runs on more threads than one.

use std::sync::Barrier;

use crate::peers::{Speaks, serve};
use crate::program::{check, job, plan_job};
use crate::servers::{OK, Server};

/// So many requests at once are sent on two threads, where there are two cores.
const MANY: usize = 64;

#[test]
fn a_limit_over_some_threads_is_used_and_holds() {
    for workers in ["", "workers = 3\n"] {
        let all = Barrier::new(MANY);
        let server = Server::start(move |_| {
            all.wait();
            OK
        });
        let plan = plan_job("a", MANY, &server.base(), 3 * MANY, "");
        let (ended, results) = check(&format!("{workers}{plan}"));
        assert_eq!(ended.status, Some(0), "{ended:?}");
        assert_eq!(job(&results, "a")["most_in_flight"], MANY);
        assert_eq!(server.seen().len(), 3 * MANY);
        assert!(server.seen().iter().all(|seen| seen.inside <= MANY));
    }
}

#[test]
fn each_lane_keeps_one_connection() {
    for workers in ["workers = 1\n", "workers = 3\n"] {
        let (address, visits) =
            serve(&Speaks { tls: None, asks_for_certificate: false, protocols: &["http/1.1"] });
        let plan = plan_job("a", MANY, &format!("http://{address}"), 10 * MANY, "");
        let (ended, _) = check(&format!("{workers}{plan}"));
        assert_eq!(ended.status, Some(0), "{ended:?}");
        assert_eq!(visits.versions().len(), 10 * MANY);
        assert!(visits.connections() <= MANY, "{} connections", visits.connections());
    }
}
