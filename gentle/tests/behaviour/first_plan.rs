//! A stranger's first plan, and the schema that helps to write it.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::plan::parse;
use crate::program::{Scratch, gentle};
use crate::servers::{Server, ok};

#[test]
fn a_first_plan_is_written_checked_and_run() {
    let file = Scratch::file("my.toml", "");
    let path = file.path().to_str().unwrap();
    let ended = gentle(["init", path]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains(": name a file that does not exist"), "{ended:?}");
    fs::remove_file(path).unwrap();
    let ended = gentle(["init", path]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(gentle(["init"]).stdout, fs::read_to_string(path).unwrap());
    assert_eq!(gentle(["--dry-run", path]).status, Some(0));
    let server = Server::start(ok);
    let host = server.base().replace("http://", "");
    let plan = fs::read_to_string(path).unwrap().replace("127.0.0.1:8080", &host);
    fs::write(path, plan).unwrap();
    let ended = gentle([path]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(server.seen().len(), 20);
}

/// The schema, as the command prints it.
fn schema() -> Value {
    serde_json::from_str(&gentle(["schema"]).stdout).unwrap()
}

/// The keys that the reader knows where `text` has an unknown one.
fn known(text: &str) -> BTreeSet<String> {
    let error = parse("plan.toml", text).unwrap_err().to_string();
    let (_, known) = error.split_once("use one of ").unwrap_or_else(|| panic!("{error}"));
    known.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_schema_has_the_keys_that_the_reader_knows() {
    let schema = schema();
    let keys = |pointer: &str| -> BTreeSet<String> {
        let properties = schema.pointer(pointer).and_then(Value::as_object).unwrap();
        properties.keys().cloned().collect()
    };
    let job = "[[job]]\nname = 'a'\n";
    assert_eq!(keys("/properties"), known("zzzzzz = 1"));
    assert_eq!(keys("/$defs/job/properties"), known(&format!("{job}zzzzzz = 1")));
    let stage = "/$defs/job/properties/stage/items/properties";
    assert_eq!(keys(stage), known(&format!("{job}[[job.stage]]\nzzzzzz = 1")));
    let step = "/$defs/job/properties/step/items/properties";
    assert_eq!(keys(step), known(&format!("{job}[[job.step]]\nzzzzzz = 1")));
    let capture = format!("{step}/capture/additionalProperties/properties");
    let captures = format!("{job}[[job.step]]\ncapture = {{ a = {{ zzzzzz = 1 }} }}");
    let error = parse("plan.toml", &captures).unwrap_err().to_string();
    assert!(error.contains("use one of json, header"), "{error}");
    assert_eq!(keys(&capture), ["header", "json"].map(str::to_owned).into());
    let host = "/properties/host/additionalProperties/properties";
    assert_eq!(keys(host), known("[host.a]\nzzzzzz = 1"));
    let of_one_job = ["name", "ramp", "stage", "step", "urls", "paths"].map(str::to_owned);
    let defaults = keys("/properties/defaults/properties");
    assert_eq!(&keys("/$defs/job/properties") - &BTreeSet::from(of_one_job), defaults);
}

/// Why the schema refuses a plan, if it does.
fn refusal(plan: &str) -> Option<String> {
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("plan.json", schema()).unwrap();
    let mut schemas = boon::Schemas::new();
    let compiled = compiler.compile("plan.json", &mut schemas).unwrap();
    let plan: toml::Table = plan.parse().unwrap();
    let plan = serde_json::to_value(plan).unwrap();
    schemas.validate(&plan, compiled).err().map(|error| error.to_string())
}

#[test]
fn the_schema_takes_each_plan_that_the_reader_takes() {
    let readme = include_str!("../../README.md");
    let plans = readme.split("```toml\n").skip(1).map(|plan| plan.split("```").next().unwrap());
    let own = [include_str!("../../src/built_in.toml"), include_str!("../../src/init.toml")];
    for plan in plans.chain(own).chain([crate::plan_reader::FULL]) {
        assert_eq!(refusal(plan), None, "{plan}");
    }
}

#[test]
fn the_schema_refuses_wrong_plans() {
    let job = "[[job]]\nname = 'a'\n";
    for line in [
        "limit = 0",
        "limit = 'many'",
        "limit = {}",
        "limit = { min = 0 }",
        "limit = { mim = 1 }",
        "limt = 2",
        "paths = ['x']",
        "expect = '1xx'",
        "timeout = '5'",
        "rate = '20'",
        "redirects = 11",
        "thresholds = { p33 = '< 1s' }",
        "stage = [{ limit = 1 }]",
        "after_timeout = 'never'",
        "step = []",
        "step = [{ path = 'x' }]",
        "step = [{ path = '/', capture = { a = {} } }]",
        "step = [{ path = '/', capture = { '1' = { json = '' } } }]",
        "cookies = 1",
    ] {
        assert!(refusal(&format!("{job}{line}")).is_some(), "{line}");
    }
    assert!(refusal("").is_some() && refusal("[defaults]\nname = 'a'\njob = []").is_some());
    assert_eq!(refusal(job), None);
    for limit in ["'auto'", "{ max = 9 }", "{ min = 1, max = 64 }", "7"] {
        assert_eq!(refusal(&format!("{job}limit = {limit}\n[host.a]\nlimit = {limit}")), None);
    }
}
