//! Each bad input is an error that says what to do.

use std::error::Error;
use std::time::{Duration, Instant};

use fleet_testing::within;
use tollgate_redis::{Gate, GateError, OpenError, redis};

use crate::server::Server;

#[test]
fn refusal_is_loud_for_names_limits_and_leases() {
    let server = Server::start();
    let long = "x".repeat(201);
    for name in ["", "a{b", "a}b", "a\nb", &long] {
        let error = Gate::open(server.client(), name).limit(1).build().unwrap_err();
        assert!(matches!(&error, OpenError::Name(bad) if bad == name), "{error}");
    }
    let zero = Gate::open(server.client(), "g").limit(0).build().unwrap_err();
    assert!(matches!(zero, OpenError::ZeroLimit), "{zero}");
    let none = Gate::open(server.client(), "g").build().unwrap_err();
    assert_eq!(none.to_string(), "the gate does not exist yet: open it with a limit");
    for lease in [Duration::from_millis(99), Duration::from_secs(86_401)] {
        let error = Gate::open(server.client(), "g").limit(1).lease(lease).build().unwrap_err();
        assert!(matches!(error, OpenError::Lease(bad) if bad == lease), "{error}");
    }
    let mut connection = server.client().get_connection().unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    assert!(keys.is_empty(), "half made: {keys:?}");
    let gate = Gate::open(server.client(), "g").limit(1).build().unwrap();
    assert!(matches!(gate.set_limit(0), Err(GateError::ZeroLimit)));
    assert_eq!(gate.limit().unwrap(), 1);
}

#[test]
fn refusal_is_loud_for_servers_that_may_forget() {
    let server = Server::with(&["--appendonly", "no"]);
    let error = Gate::open(server.client(), "g").limit(1).build().unwrap_err();
    assert!(
        matches!(error, OpenError::NoAppendOnlyFile)
            && error.to_string().contains("appendonly yes"),
        "{error}"
    );

    let evicts =
        ["--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"];
    let server = Server::with(&evicts);
    let error = Gate::open(server.client(), "g").limit(1).build().unwrap_err();
    assert!(matches!(&error, OpenError::Evicts(policy) if policy == "allkeys-lru"), "{error}");

    let master = Server::start();
    let port = master.port.to_string();
    let replica = Server::with(&["--appendonly", "yes", "--replicaof", "127.0.0.1", &port]);
    let error = Gate::open(replica.client(), "g").limit(1).build().unwrap_err();
    assert!(matches!(&error, OpenError::NotMaster(role) if role == "slave"), "{error}");
}

#[test]
fn refusal_is_loud_without_a_server_or_its_permission() {
    let mut server = Server::start();
    let client = server.client();
    server.kill();
    let start = Instant::now();
    let error = Gate::open(client, "g").limit(1).build().unwrap_err();
    assert!(matches!(error, OpenError::Unreachable(_)) && error.source().is_some(), "{error}");
    assert!(start.elapsed() < Duration::from_secs(6));

    let locked = Server::start();
    let mut connection = locked.client().get_connection().unwrap();
    redis::cmd("ACL").arg(&["SETUSER", "default", "-info"]).exec(&mut connection).unwrap();
    let error = Gate::open(locked.client(), "g").limit(1).build().unwrap_err();
    assert!(matches!(error, OpenError::Refused(_)), "{error}");
}

#[test]
fn refusal_is_loud_for_foreign_keys_and_keys_that_vanish() {
    let server = Server::start();
    let mut connection = server.client().get_connection().unwrap();
    redis::cmd("SET").arg("tollgate:{text}:gate").arg("x").exec(&mut connection).unwrap();
    let error = Gate::open(server.client(), "text").limit(1).build().unwrap_err();
    assert!(matches!(error, OpenError::Refused(_)), "{error}");
    redis::cmd("HSET")
        .arg("tollgate:{next}:gate")
        .arg("version")
        .arg("2")
        .arg("limit")
        .arg("1")
        .exec(&mut connection)
        .unwrap();
    let error = Gate::open(server.client(), "next").limit(1).build().unwrap_err();
    assert!(matches!(&error, OpenError::OtherVersion(version) if version == "2"), "{error}");

    let gate = Gate::open(server.client(), "g")
        .limit(1)
        .lease(Duration::from_millis(300))
        .build()
        .unwrap();
    let lease = gate.acquire().unwrap();
    redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
    assert!(matches!(gate.try_acquire(), Err(GateError::Gone)));
    assert!(matches!(gate.acquire(), Err(GateError::Gone)));
    assert!(matches!(gate.limit(), Err(GateError::Gone)));
    assert!(matches!(gate.set_limit(2), Err(GateError::Gone)));
    within(Duration::from_secs(2), "the lease is lost", || lease.is_lost());
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    let task = gate.spawn(&pool.job(1), |_| unreachable!());
    assert!(matches!(task.join().unwrap(), Err::<(), _>(GateError::Gone)));
}
