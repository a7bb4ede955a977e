//! Each bad input is an error that says what to do.

use std::error::Error;
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use tollgate_nats::{Fleet, FleetError, OpenError, async_nats};

use crate::{block, open, server};

const LEASE: Duration = Duration::from_secs(30);

#[test]
fn refusal_is_loud_for_names_limits_and_leases() {
    let server = server::start();
    let fleet = block(Fleet::connect(server::address(server.port))).unwrap();
    let long = "x".repeat(101);
    for name in ["", "a.b", "a*", ">", "a b", "ä", &long] {
        let error = block(fleet.job(name).limit(1).open()).unwrap_err();
        assert!(matches!(&error, OpenError::Name(bad) if bad == name), "{error}");
    }
    let zero = block(fleet.job("g").limit(0).open()).unwrap_err();
    assert!(matches!(zero, OpenError::ZeroLimit), "{zero}");
    let none = block(fleet.job("g").open()).unwrap_err();
    assert_eq!(none.to_string(), "the job does not exist yet: open it with a limit");
    for lease in [Duration::from_millis(999), Duration::from_secs(86_401)] {
        let error = block(fleet.job("g").limit(1).lease(lease).open()).unwrap_err();
        assert!(matches!(error, OpenError::Lease(bad) if bad == lease), "{error}");
    }
    let none = block(fleet.job("g").open()).unwrap_err();
    assert!(matches!(none, OpenError::NoLimit), "half made: {none}");
    let job = block(fleet.job("g").limit(1).lease(LEASE).open()).unwrap();
    let other = block(fleet.job("g").lease(LEASE * 2).open()).unwrap_err();
    assert!(matches!(other, OpenError::OtherLease(lease) if lease == LEASE), "{other}");
    assert!(matches!(block(job.set_limit(0)), Err(FleetError::ZeroLimit)));
    assert_eq!(block(job.limit()).unwrap(), 1);
}

#[test]
fn refusal_is_loud_without_a_server_or_jetstream() {
    let mut server = server::start();
    server.kill();
    let error = block(Fleet::connect(server::address(server.port))).unwrap_err();
    assert!(matches!(error, OpenError::Unreachable(_)) && error.source().is_some(), "{error}");

    let plain = server::with(false);
    let error = block(Fleet::connect(server::address(plain.port))).unwrap_err();
    assert!(
        matches!(error, OpenError::NoJetStream) && error.to_string().contains("-js"),
        "{error}"
    );
}

#[test]
fn refusal_is_loud_for_an_old_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let hello = r#"INFO {"server_id":"A","version":"2.8.4","proto":1,"max_payload":1048576,"headers":true}"#;
            let _ = stream.write_all(format!("{hello}\r\nPONG\r\n").as_bytes());
            std::thread::sleep(Duration::from_secs(20));
        }
    });
    let error = block(Fleet::connect(server::address(port))).unwrap_err();
    assert!(matches!(&error, OpenError::OldServer(version) if version == "2.8.4"), "{error}");
}

/// Sends one request of the server's API.
pub fn api(port: u16, what: &str, body: &str) -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(server::address(port)).await.unwrap();
        let answer =
            client.request(format!("$JS.API.{what}"), body.to_owned().into()).await.unwrap();
        String::from_utf8(answer.payload.to_vec()).unwrap()
    })
}

#[test]
fn refusal_is_loud_for_streams_and_consumers_with_other_settings() {
    let server = server::start();
    let fleet = block(Fleet::connect(server::address(server.port))).unwrap();
    let own = r#"{"name":"tollgate-a","subjects":["tollgate.job.a.*"],"retention":"limits","storage":"file"}"#;
    assert!(!api(server.port, "STREAM.CREATE.tollgate-a", own).contains("\"error\""));
    let error = block(fleet.job("a").limit(1).open()).unwrap_err();
    assert!(
        matches!(&error, OpenError::OtherSettings(what) if what.contains("retention is \"limits\"")),
        "{error}"
    );
    // Another stream has the subjects.
    let other = r#"{"name":"other","subjects":["tollgate.job.b.*"],"storage":"file"}"#;
    assert!(!api(server.port, "STREAM.CREATE.other", other).contains("\"error\""));
    let error = block(fleet.job("b").limit(1).open()).unwrap_err();
    assert!(matches!(&error, OpenError::OtherSettings(_)), "{error}");
    // A consumer that drops a task after three attempts.
    let job = block(fleet.job("c").limit(1).open()).unwrap();
    let changed = r#"{"stream_name":"tollgate-c","config":{"durable_name":"workers","filter_subject":"tollgate.job.c.task","ack_policy":"explicit","deliver_policy":"all","replay_policy":"instant","ack_wait":30000000000,"max_ack_pending":1,"max_deliver":3,"max_waiting":4096}}"#;
    let answer = api(server.port, "CONSUMER.DURABLE.CREATE.tollgate-c.workers", changed);
    assert!(!answer.contains("\"error\""), "{answer}");
    let error = block(fleet.job("c").limit(1).open()).unwrap_err();
    assert!(
        matches!(&error, OpenError::OtherSettings(what) if what.contains("max_deliver is 3")),
        "{error}"
    );
    assert_eq!(block(job.limit()).unwrap(), 1, "the job was changed by a refused call");
}

#[test]
fn refusal_is_loud_for_large_messages_and_nothing_is_stored() {
    let server = server::start();
    let job = open(server.port, 1, LEASE);
    let error = block(job.push(&"x".repeat(1_048_576))).unwrap_err();
    assert!(
        matches!(error, FleetError::TooLarge { size, most: 1_048_576 } if size > 1_048_576),
        "{error}"
    );
    let error = block(job.push(&std::collections::HashMap::from([((1, 2), 3)]))).unwrap_err();
    assert!(matches!(error, FleetError::Encode(_)), "{error}");
    block(job.push(&"x".repeat(1_048_000))).unwrap();
    assert_eq!(block(job.explain()).unwrap().queued, 1);
}

#[test]
fn refusal_is_loud_when_the_job_is_removed() {
    let server = server::start();
    let job = open(server.port, 1, LEASE);
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    std::thread::scope(|scope| {
        let serves = scope.spawn(|| block(job.serve(&pool.job(1), |_: u64, _| async {})));
        assert!(api(server.port, "STREAM.DELETE.tollgate-fleet", "").contains("true"));
        let ended = serves.join().unwrap();
        assert!(matches!(ended, Err(FleetError::Gone)), "{ended:?}");
    });
    assert!(matches!(block(job.push(&1)), Err(FleetError::Gone)));
    assert!(matches!(block(job.limit()), Err(FleetError::Gone)));
    assert!(matches!(block(job.set_limit(2)), Err(FleetError::Gone)));
    assert!(matches!(block(job.explain()), Err(FleetError::Gone)));
}

#[test]
fn a_job_that_is_removed_takes_its_tasks_with_it_and_can_be_opened_again() {
    let server = server::start();
    let fleet = block(Fleet::connect(server::address(server.port))).unwrap();
    assert!(block(fleet.jobs()).unwrap().is_empty());
    let job = open(server.port, 1, LEASE);
    let other = block(fleet.job("another").limit(2).open()).unwrap();
    assert_eq!(block(fleet.jobs()).unwrap(), ["another", "fleet"]);
    block(job.push(&1)).unwrap();
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    std::thread::scope(|scope| {
        let serves = scope.spawn(|| block(other.serve(&pool.job(1), |_: u64, _| async {})));
        block(job.remove()).unwrap();
        block(job.remove()).unwrap();
        block(other.remove()).unwrap();
        let ended = serves.join().unwrap();
        assert!(matches!(ended, Err(FleetError::Gone)), "{ended:?}");
    });
    assert!(block(fleet.jobs()).unwrap().is_empty());
    let again = open(server.port, 3, LEASE);
    let seen = block(again.explain()).unwrap();
    assert_eq!((seen.limit, seen.leases, seen.queued), (3, 0, 0), "{seen}");
}
