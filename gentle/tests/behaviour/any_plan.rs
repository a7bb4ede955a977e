//! What must hold when any bytes are read as a plan: an error on one line that names the line and, where the text is TOML, the
//! mend; or a plan that says what the text says, that can be run, and that is read again from its own spelling.
//!
//! The tests of the reader use it, and the fuzz target `plan` with its corpus.

use http::Uri;
use toml::{Table, Value};

use crate::plan::{
    AutoLimit, Capture, Expect, JobPlan, Phrase, Plan, Rate, StageTime, Statuses, StepPlan,
    Targets, Values, parse, parse_bytes,
};

/// Reads bytes as a plan.
///
/// # Panics
/// If what must hold does not.
pub fn read(bytes: &[u8]) {
    match parse_bytes("plan.toml", bytes, &Values::default()) {
        Ok(plan) => {
            let text = std::str::from_utf8(bytes).expect("a plan is UTF-8");
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            let mut said = text.parse::<Table>().expect("a plan is TOML");
            put_defaults_into_jobs(&mut said);
            can_be_run(&plan);
            says_the_same(&plan, &said);
            is_read_again(&plan);
        }
        Err(error) => helps(&error.to_string(), bytes),
    }
}

/// What every mend has in it; those that serde writes say what belongs in the place.
const MENDS: [&str; 22] = [
    ": add ",
    ": did you mean ",
    ": use ",
    ": make it ",
    ": write ",
    ": name ",
    ": keep ",
    ": lower ",
    ": raise ",
    ": remove ",
    ": give ",
    ": list ",
    ": save ",
    ": cut ",
    ": put ",
    ": leave ",
    ": percent-encode",
    ", it follows from body",
    "CONNECT is for proxies",
    " belongs here",
    "expected ",
    "missing field",
];

/// An error is one line with a place in the text; of a text that is TOML, it says what to change.
fn helps(error: &str, bytes: &[u8]) {
    assert!(!error.contains(char::is_control), "{error:?}");
    let rest = error.strip_prefix("plan.toml:").unwrap_or_else(|| panic!("no name: {error:?}"));
    let (line, message) = rest.split_once(": ").unwrap_or_else(|| panic!("no line: {error:?}"));
    let line: usize = line.parse().unwrap_or_else(|_| panic!("no line: {error:?}"));
    let lines = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
    assert!((1..=lines).contains(&line), "of {lines} lines: {error:?}");
    assert!(!message.trim().is_empty(), "{error:?}");
    let is_toml = std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<Table>().is_ok());
    if is_toml {
        assert!(MENDS.iter().any(|mend| error.contains(mend)), "no mend: {error:?}");
    }
}

/// Every value of the plan can be used as it stands.
fn can_be_run(plan: &Plan) {
    assert!(plan.workers.is_none_or(|workers| (1..=1_024).contains(&workers)));
    assert!(!plan.jobs.is_empty());
    for job in &plan.jobs {
        assert!(!job.limits.is_empty());
        assert!(job.limits.iter().all(|limit| (1..=100_000).contains(limit)));
        let requests = job.requests().unwrap_or(job.limits.len() as u64);
        assert!((job.limits.len() as u64..=1_000_000_000).contains(&requests));
        if let Targets::Paths { urls, .. } = &job.targets {
            let is_http = |url: &Uri| {
                matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()
            };
            assert!(urls.iter().all(is_http));
        }
        assert!(!job.expect.statuses.is_empty());
        assert!(!job.timeout.is_zero());
    }
    assert!(plan.hosts.iter().all(|host| {
        host.limit.is_none_or(|limit| (1..=100_000).contains(&limit))
            && (host.limit.is_some() || host.rate.is_some())
    }));
    let rates = plan.jobs.iter().filter_map(|job| job.rate).chain(plan.rate);
    assert!(rates.into_iter().all(|rate| rate.per_second > 0.0 && rate.burst > 0));
    assert!(plan.most_at_once() >= plan.jobs.len());
    assert!(!plan.to_string().is_empty());
}

/// The plan has each value that the text has, under the key that the text has it, and the defaults elsewhere.
fn says_the_same(plan: &Plan, said: &Table) {
    assert_eq!(plan.workers.map(|workers| workers as i64), whole(said, "workers"));
    let hosts = said.get("host").and_then(Value::as_table).map_or(0, Table::len);
    assert_eq!(plan.hosts.len() + usize::from(plan.other_hosts.is_some()), hosts);
    let jobs = said["job"].as_array().expect("the jobs are a list");
    assert_eq!(plan.jobs.len(), jobs.len());
    for (job, said) in plan.jobs.iter().zip(jobs) {
        job_says_the_same(job, said.as_table().expect("a job is a table"));
    }
}

/// Gives each job the defaults that it takes, as the manual says.
fn put_defaults_into_jobs(said: &mut Table) {
    let defaults = said.get("defaults").and_then(Value::as_table).cloned().unwrap_or_default();
    let jobs = said.get_mut("job").and_then(Value::as_array_mut).expect("the jobs are a list");
    for job in jobs.iter_mut().filter_map(Value::as_table_mut) {
        for (key, value) in &defaults {
            let other = match key.as_str() {
                "limit" => "ramp",
                "rate" => "burst",
                "burst" => "rate",
                "base" | "repeat" => "urls",
                "cert" => "key",
                "key" => "cert",
                key => key,
            };
            if let (Some(own), Some(defaults)) = (job.get_mut("headers"), value.as_table()) {
                let own = own.as_table_mut().expect("headers are a table");
                for (name, value) in defaults {
                    if !own.keys().any(|own| own.eq_ignore_ascii_case(name)) {
                        own.insert(name.clone(), value.clone());
                    }
                }
            } else if !job.contains_key(key) && (other == key || !job.contains_key(other)) {
                job.insert(key.clone(), value.clone());
            }
        }
    }
}

fn job_says_the_same(job: &JobPlan, said: &Table) {
    let text = |key| said.get(key).and_then(Value::as_str);
    assert_eq!(Some(job.name.as_str()), text("name"));
    let of_stages = |stages: &Vec<Value>| {
        let limit = |stage: &Value| {
            let own = stage.get("limit").and_then(Value::as_integer);
            own.or_else(|| whole(said, "limit"))
        };
        stages.iter().map(limit).collect::<Option<Vec<_>>>()
    };
    let stages = said.get("stage").and_then(Value::as_array).and_then(of_stages);
    let limits = stages.or(wholes(said, "ramp")).or(wholes(said, "limit"));
    let limits = limits.or(job.auto.map(|auto| vec![auto.max as i64]));
    assert_eq!(Some(job.limits.iter().map(|limit| *limit as i64).collect()), limits);
    assert_eq!(job.method.as_str(), text("method").unwrap_or("GET"));
    if let Targets::Session { steps, .. } = &job.targets {
        return session_says_the_same(job, steps, said);
    }
    assert_eq!(job.body, text("body").map(unescaped));
    let expect = said.get("expect").cloned().unwrap_or(Value::Integer(200));
    let statuses = match expect {
        Value::Array(list) => list,
        one => vec![one],
    };
    let spelled = |status: &Value| status.to_string().replace(['"', '\''], "");
    assert_eq!(
        job.expect.statuses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        statuses.iter().map(spelled).collect::<Vec<_>>()
    );
    assert_eq!(job.expect.contains.as_ref().map(Phrase::spelled), text("body_contains"));
    assert_eq!(job.redirects as i64, whole(said, "redirects").unwrap_or(0));
    let json = said.get("json").and_then(Value::as_table);
    assert_eq!(job.expect.json.len(), json.map_or(0, Table::len));
    let timeout = text("timeout").unwrap_or("5s");
    let spells = |(unit, ms): (&str, f64)| {
        let number = timeout.strip_suffix(unit).and_then(|number| number.parse::<f64>().ok());
        number.is_some_and(|number| (number * ms).round() == job.timeout.as_millis() as f64)
    };
    let units = [("ms", 1.0), ("s", 1_000.0), ("m", 60_000.0), ("h", 3_600_000.0)];
    assert!(units.into_iter().any(spells), "{:?} is not {timeout}", job.timeout);
    let headers = said.get("headers").and_then(Value::as_table);
    assert_eq!(job.headers.len(), headers.map_or(0, Table::len));
    for (name, value) in headers.into_iter().flatten() {
        let value = value.as_str().map(unescaped).expect("a header's value is a text");
        assert_eq!(job.headers[name.as_str()].as_bytes(), value.as_bytes());
    }
    match &job.targets {
        Targets::Paths { urls, repeat, .. } => {
            assert_eq!(*repeat as i64, whole(said, "repeat").unwrap_or(1));
            let base = text("base").map(unescaped).expect("paths have a base");
            let base = base.trim_end_matches('/');
            let paths = said["paths"].as_array().expect("the paths are a list");
            let url = |path: &Value| {
                format!("{base}{}", unescaped(path.as_str().expect("a path is a text")))
            };
            let due: Vec<Uri> = paths.iter().map(|path| url(path).parse().unwrap()).collect();
            assert_eq!(*urls, due);
        }
        Targets::List(list) => {
            assert_eq!(Some(list.file.as_str()), text("urls"));
            let base = text("base").map(unescaped);
            assert_eq!(
                list.base.as_deref(),
                base.as_deref().map(|base| base.trim_end_matches('/'))
            );
        }
        Targets::Session { .. } => unreachable!("a session has been looked at"),
    }
}

/// A text in which no value is: `$${` is how `${` is spelled.
fn unescaped(text: &str) -> String {
    text.replace("$${", "${")
}

fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

fn session_says_the_same(job: &JobPlan, steps: &[StepPlan], said: &Table) {
    let said_steps = said["step"].as_array().expect("the steps are a list");
    assert_eq!(steps.len(), said_steps.len());
    for (step, said_step) in steps.iter().zip(said_steps) {
        let text = |key| said_step.get(key).or_else(|| said.get(key)).and_then(Value::as_str);
        assert_eq!(Some(step.path.spelled()), text("path"));
        assert_eq!(step.method.as_str(), text("method").unwrap_or("GET"));
        assert_eq!(step.body.as_ref().map(Phrase::spelled), text("body"));
        assert_eq!(step.expect.contains.as_ref().map(Phrase::spelled), text("body_contains"));
        let captures = said_step.get("capture").and_then(Value::as_table).map_or(0, Table::len);
        assert_eq!(step.captures.len(), captures);
    }
    assert_eq!(job.requests().is_none(), said.contains_key("for") || said.contains_key("stage"));
}

fn whole(said: &Table, key: &str) -> Option<i64> {
    said.get(key).and_then(Value::as_integer)
}

/// A number, or a list of them.
fn wholes(said: &Table, key: &str) -> Option<Vec<i64>> {
    match said.get(key)? {
        Value::Array(list) => list.iter().map(Value::as_integer).collect(),
        one => Some(vec![one.as_integer()?]),
    }
}

/// Written with all its keys and read again, it is the same plan.
fn is_read_again(plan: &Plan) {
    let text = spelled(plan).to_string();
    let again = parse("again.toml", &text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(spelled(&again).to_string(), text);
}

fn spelled(plan: &Plan) -> Table {
    let mut whole = Table::new();
    if let Some(workers) = plan.workers {
        whole.insert("workers".into(), (workers as i64).into());
    }
    put_rate(&mut whole, plan.rate);
    whole.insert("job".into(), plan.jobs.iter().map(spelled_job).collect::<Vec<_>>().into());
    let hosts = plan.hosts.iter().chain(&plan.other_hosts).map(|host| {
        let mut keys = Table::new();
        let limit = |limit| host.auto.map_or(Value::from(limit as i64), spelled_auto);
        keys.extend(host.limit.map(|most| ("limit".to_owned(), limit(most))));
        put_rate(&mut keys, host.rate);
        if host.host.is_any() {
            let by = if plan.by_address { "address" } else { "name" };
            keys.insert("by".to_owned(), by.into());
        }
        (host.host.to_string(), Value::from(keys))
    });
    whole.insert("host".into(), hosts.collect::<Table>().into());
    whole
}

fn spelled_statuses(expect: &Expect) -> Value {
    let status = |status: &Statuses| match status.to_string().parse::<i64>() {
        Ok(status) => Value::from(status),
        Err(_) => Value::from(status.to_string()),
    };
    expect.statuses.iter().map(status).collect::<Vec<_>>().into()
}

fn spelled_step(step: &StepPlan) -> Value {
    let mut keys = Table::from_iter([
        ("path".to_owned(), step.path.spelled().into()),
        ("method".to_owned(), step.method.as_str().into()),
        ("expect".to_owned(), spelled_statuses(&step.expect)),
    ]);
    let header = |(name, value): &(http::HeaderName, Phrase)| {
        (name.to_string(), Value::from(value.spelled()))
    };
    keys.insert("headers".into(), step.headers.iter().map(header).collect::<Table>().into());
    if let Some(body) = &step.body {
        keys.insert("body".into(), body.spelled().into());
    }
    if let Some(text) = &step.expect.contains {
        keys.insert("body_contains".into(), text.spelled().into());
    }
    let capture = |(name, capture): &(String, Capture)| {
        let (kind, place) = match capture {
            Capture::Json(pointer) => ("json", pointer.clone()),
            Capture::Header(header) => ("header", header.to_string()),
        };
        (name.clone(), Table::from_iter([(kind.to_owned(), place.into())]).into())
    };
    keys.insert("capture".into(), step.captures.iter().map(capture).collect::<Table>().into());
    keys.into()
}

fn put_rate(keys: &mut Table, rate: Option<Rate>) {
    if let Some(Rate { per_second, burst }) = rate {
        keys.insert("rate".into(), format!("{per_second}/s").into());
        keys.insert("burst".into(), i64::from(burst).into());
    }
}

fn spelled_auto(auto: AutoLimit) -> Value {
    let ends = [("min", auto.min), ("max", auto.max)];
    Value::from(Table::from_iter(ends.map(|(key, end)| (key.to_owned(), Value::from(end as i64)))))
}

fn spelled_job(job: &JobPlan) -> Table {
    let mut keys: Vec<(&str, Value)> = vec![
        ("name", job.name.clone().into()),
        ("method", job.method.as_str().into()),
        ("timeout", format!("{}ms", job.timeout.as_millis()).into()),
    ];
    let limits: Vec<Value> = job.limits.iter().map(|limit| (*limit as i64).into()).collect();
    let stage = |(limit, time): (&Value, &StageTime)| {
        let lasts = format!("{}ms", time.lasts.as_millis());
        let mut keys = Table::from_iter([
            ("limit".to_owned(), limit.clone()),
            ("for".to_owned(), lasts.into()),
        ]);
        put_rate(&mut keys, time.rate);
        Value::from(keys)
    };
    match limits.as_slice() {
        _ if job.times.is_some() => {
            let times = job.times.iter().flatten();
            keys.push(("stage", limits.iter().zip(times).map(stage).collect::<Vec<_>>().into()));
        }
        [limit] => keys.push(("limit", job.auto.map_or(limit.clone(), spelled_auto))),
        _ => keys.push(("ramp", limits.into())),
    }
    keys.push(("cookies", job.cookies.into()));
    if !matches!(job.targets, Targets::Session { .. }) {
        keys.push(("expect", spelled_statuses(&job.expect)));
    }
    keys.push(("redirects", (job.redirects as i64).into()));
    let contains = job.expect.contains.as_ref();
    keys.extend(contains.map(|text| ("body_contains", text.spelled().into())));
    let headers = job.headers.iter();
    let headers = headers.map(|(name, value)| {
        (name.to_string(), Value::from(escaped(value.to_str().expect("a header is ASCII"))))
    });
    keys.push(("headers", headers.collect::<Table>().into()));
    if let Some(body) = &job.body {
        keys.push(("body", escaped(body).into()));
    }
    match &job.targets {
        Targets::Paths { urls, repeat, .. } => {
            let origin = urls[0].authority().expect("a URL has a host");
            let scheme = urls[0].scheme_str().expect("a URL has a scheme");
            keys.push(("base", format!("{scheme}://{origin}").into()));
            let path =
                |url: &Uri| escaped(url.path_and_query().expect("a URL has a path").as_str());
            keys.push(("paths", urls.iter().map(path).collect::<Vec<_>>().into()));
            if job.times.is_none() {
                keys.push(("repeat", (*repeat as i64).into()));
            }
        }
        Targets::List(list) => {
            keys.push(("urls", list.file.clone().into()));
            keys.extend(list.base.clone().map(|base| ("base", escaped(&base).into())));
        }
        Targets::Session { steps, repeat, .. } => {
            keys.push(("base", escaped(&steps[0].base).into()));
            keys.push(("step", steps.iter().map(spelled_step).collect::<Vec<_>>().into()));
            if job.times.is_none() {
                keys.push(("repeat", (*repeat as i64).into()));
            }
        }
    }
    keys.push(("backoff", job.backoff.into()));
    let mut keys: Table = keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    put_rate(&mut keys, job.rate);
    keys
}
