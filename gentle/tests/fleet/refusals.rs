//! What `--fleet` refuses, with one line and exit status 2.

use crate::program::{Ended, Scratch, gentle, plan_job};

fn refused(plan: Option<&str>, options: &[&str], what: &str) {
    refused_at("nats://secret@127.0.0.1:1", plan, options, what);
}

fn refused_at(address: &str, plan: Option<&str>, options: &[&str], what: &str) {
    let plan = plan.map(|plan| Scratch::file("plan.toml", plan));
    let path = plan.as_ref().map(|plan| plan.path().display().to_string());
    let fleet = ["--fleet".to_owned(), address.to_owned()];
    let options = options.iter().map(|option| (*option).to_owned());
    let ended = gentle(path.into_iter().chain(fleet).chain(options));
    let Ended { status, stdout, stderr, .. } = &ended;
    assert_eq!((*status, stdout.as_str(), stderr.lines().count()), (Some(2), "", 1), "{ended:?}");
    assert!(stderr.contains(what) && !stderr.contains("secret"), "{what:?} in {ended:?}");
}

#[test]
fn what_cannot_go_over_a_fleet_is_named() {
    let plan = |more: &str| plan_job("a", 1, "https://127.0.0.1:1", 1, more);
    let certificate = plan("cert = \"c.pem\"\nkey = \"k.pem\"");
    refused(Some(&certificate), &[], ":7: cert and key cannot go over a fleet");
    refused(Some(&plan("cacert = \"ca.pem\"")), &[], "give --cacert to the workers");
    refused(Some(&plan("")), &["--cacert", "ca.pem"], "give it to the workers");
    refused(Some(&plan("")), &["--at-once", "3"], "give it to the workers");
    let long = format!("[host.\"{}.example\"]\nlimit = 1\n", "a".repeat(90));
    refused(Some(&(plan("") + &long)), &[], "is too long a name");
    refused(Some(&plan("")), &[], "the server cannot be reached");
}

#[test]
fn an_address_that_is_none_is_named() {
    let plan = plan_job("a", 1, "https://127.0.0.1:1", 1, "");
    // The first one is what `gentle --fleet my.toml` gives.
    for address in ["my.toml", "", "nats://", "tls://", "127.0.0.1:1", "http://secret@127.0.0.1:1"]
    {
        for plan in [None, Some(plan.as_str())] {
            refused_at(address, plan, &[], "the URL must be like nats://");
            refused_at(address, plan, &["--dry-run"], "the URL must be like nats://");
        }
    }
    for address in ["nats://a b", "nats://secret@127.0.0.1:99999"] {
        refused_at(address, Some(&plan), &[], "or change the URL");
        refused_at(address, None, &[], "or change the URL");
    }
}

#[test]
fn what_is_not_for_a_worker_is_named() {
    refused(None, &["--json", "-"], "a worker has no results");
    refused(None, &["--set", "A=b"], "give it to the coordinator");
    refused(None, &["--cacert", "/no/such/file"], "--cacert /no/such/file");
    refused(None, &["--at-once", "0"], "at-once");
    refused(None, &[], "the server cannot be reached");
}
