//! The store in Redis: five keys with one hash tag, and one script for each request.

use std::time::Duration;

use redis::{Cmd, Connection, ConnectionLike, ErrorKind, RedisError, ServerErrorKind, Value};

use crate::book::{Due, Id, Micros};
use crate::error::{GateError, OpenError};
use crate::store::{Answer, Ask, Backend, HeldRow, Overview, Store};

/// The version of the keys' layout.
const VERSION: &str = "1";

const COMMON: &str = include_str!("scripts/common.lua");

/// The index of a script in [`SOURCES`].
#[derive(Clone, Copy)]
enum Script {
    Acquire,
    Renew,
    Release,
    Leave,
    Open,
    SetLimit,
    Explain,
}

const SOURCES: [&str; 7] = [
    include_str!("scripts/acquire.lua"),
    include_str!("scripts/renew.lua"),
    include_str!("scripts/release.lua"),
    include_str!("scripts/leave.lua"),
    include_str!("scripts/open.lua"),
    include_str!("scripts/set_limit.lua"),
    include_str!("scripts/explain.lua"),
];

/// The names of a gate's keys. The braces put all of them into one slot of a cluster.
#[derive(Clone, Debug)]
struct Keys([String; 4]);

impl Keys {
    fn new(name: &str) -> Self {
        Self(
            ["gate", "leases", "about", "waiters"]
                .map(|part| format!("tollgate:{{{name}}}:{part}")),
        )
    }

    fn waiters(&self) -> &str {
        &self.0[3]
    }
}

/// Connects to one gate of a server.
pub(crate) struct RedisBackend {
    client: redis::Client,
    keys: Keys,
    /// The text of each script.
    pub(crate) scripts: [String; SOURCES.len()],
}

impl RedisBackend {
    pub(crate) fn new(client: redis::Client, name: &str) -> Self {
        Self {
            client,
            keys: Keys::new(name),
            scripts: SOURCES.map(|source| format!("{COMMON}{source}")),
        }
    }

    pub(crate) fn open(&self, timeout: Duration) -> Result<RedisStore, GateError> {
        let mut connection = self.client.get_connection_with_timeout(timeout).map_err(sort)?;
        limit_time(&connection, timeout)?;
        let mut load = redis::pipe();
        for script in &self.scripts {
            load.cmd("SCRIPT").arg("LOAD").arg(script);
        }
        let hashes: Vec<String> = load.query(&mut connection).map_err(sort)?;
        let hashes = hashes.try_into().map_err(|_| unexpected())?;
        Ok(RedisStore { connection, keys: self.keys.clone(), hashes, timeout })
    }

    /// Checks the server, and makes the gate if it does not exist. Returns its limit.
    pub(crate) fn prepare(&self, limit: Option<u32>, timeout: Duration) -> Result<u32, OpenError> {
        let mut connection = self.client.get_connection_with_timeout(timeout).map_err(sort)?;
        limit_time(&connection, timeout)?;
        let info: String = redis::cmd("INFO").query(&mut connection).map_err(sort)?;
        check_server(&info)?;
        let mut store = self.open(timeout)?;
        let limit = limit.map_or(String::new(), |limit| limit.to_string());
        let (version, limit): (String, String) = store.run(Script::Open, |call| {
            call.arg(VERSION).arg(limit);
        })?;
        match version.as_str() {
            "" => Err(OpenError::NoLimit),
            VERSION => limit.parse().map_err(|_| OpenError::OtherVersion(version)),
            _ => Err(OpenError::OtherVersion(version)),
        }
    }
}

impl Backend for RedisBackend {
    fn connect(&self, timeout: Duration) -> Result<Box<dyn Store>, GateError> {
        Ok(Box::new(self.open(timeout)?))
    }
}

/// Returns an error if the server may forget leases.
fn check_server(info: &str) -> Result<(), OpenError> {
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map_or("", str::trim)
    };
    let version = field("redis_version");
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(6), Some(2)) {
        return Err(OpenError::OldServer(version.to_owned()));
    }
    if field("role") != "master" {
        return Err(OpenError::NotMaster(field("role").to_owned()));
    }
    if field("aof_enabled") != "1" {
        return Err(OpenError::NoAppendOnlyFile);
    }
    let policy = field("maxmemory_policy");
    if field("maxmemory") != "0" && policy.starts_with("allkeys") {
        return Err(OpenError::Evicts(policy.to_owned()));
    }
    Ok(())
}

/// Sets the connection's timeouts. A timeout of zero would mean no timeout, so it is raised.
fn limit_time(connection: &Connection, timeout: Duration) -> Result<(), GateError> {
    let timeout = Some(timeout.max(Duration::from_millis(1)));
    connection
        .set_read_timeout(timeout)
        .and_then(|()| connection.set_write_timeout(timeout))
        .map_err(sort)
}

/// Converts an error. Separates errors after which another connection may succeed from errors that a person must mend.
fn sort(error: RedisError) -> GateError {
    let passing = match error.kind() {
        ErrorKind::Io | ErrorKind::Parse => true,
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::NoScript
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
        ),
        _ => error.code() == Some("BUSY"),
    };
    if passing { GateError::Unreachable(error) } else { GateError::Refused(error) }
}

fn unexpected() -> GateError {
    GateError::Refused(RedisError::from((
        ErrorKind::UnexpectedReturnType,
        "the answer of a script has another form",
    )))
}

/// Returns the text form of an id, as the server stores it.
pub(crate) fn text(id: Id) -> String {
    format!("{:032x}-{:x}", id.client, id.number)
}

/// One connection to one gate.
pub(crate) struct RedisStore {
    connection: Connection,
    keys: Keys,
    hashes: [String; SOURCES.len()],
    timeout: Duration,
}

impl RedisStore {
    fn call(&self, script: Script) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.hashes[script as usize]).arg(self.keys.0.len()).arg(&self.keys.0);
        call
    }

    fn run<T: redis::FromRedisValue>(
        &mut self,
        script: Script,
        fill: impl FnOnce(&mut Cmd),
    ) -> Result<T, GateError> {
        let mut call = self.call(script);
        fill(&mut call);
        call.query(&mut self.connection).map_err(sort)
    }
}

impl Store for RedisStore {
    fn acquire(&mut self, ask: &Ask<'_>) -> Result<Answer, GateError> {
        let (state, number): (i64, u64) = self.run(Script::Acquire, |call| {
            call.arg(text(ask.id)).arg(ask.length).arg(ask.holder).arg(ask.waiter.unwrap_or(""));
        })?;
        match state {
            1 => Ok(Answer::Granted { fence: number }),
            0 => Ok(Answer::Full { next_end: number }),
            _ => Err(GateError::Gone),
        }
    }

    fn wait(&mut self, waiter: &str, pause: Duration) -> Result<(), GateError> {
        let pause = pause.max(Duration::from_millis(1)); // 0 would mean for ever
        limit_time(&self.connection, pause + self.timeout)?;
        let mailbox = format!("{}:{waiter}", self.keys.waiters());
        let _woken: Value = redis::cmd("BLPOP")
            .arg(mailbox)
            .arg(pause.as_secs_f64())
            .query(&mut self.connection)
            .map_err(sort)?;
        limit_time(&self.connection, self.timeout)
    }

    fn leave(&mut self, waiter: &str) -> Result<(), GateError> {
        self.run::<i64>(Script::Leave, |call| {
            call.arg(waiter);
        })
        .map(drop)
    }

    fn settle(&mut self, due: &Due, length: Micros) -> Result<Vec<bool>, GateError> {
        let mut both = redis::pipe();
        let texts = |ids: &[Id]| ids.iter().map(|id| text(*id)).collect::<Vec<_>>();
        if !due.release.is_empty() {
            let mut call = self.call(Script::Release);
            call.arg(texts(&due.release));
            both.add_command(call).ignore();
        }
        if !due.renew.is_empty() {
            let mut call = self.call(Script::Renew);
            call.arg(length).arg(texts(&due.renew));
            both.add_command(call);
        }
        let answers: Vec<Vec<bool>> = both.query(&mut self.connection).map_err(sort)?;
        let renewed = answers.into_iter().next().unwrap_or_default();
        if renewed.len() == due.renew.len() { Ok(renewed) } else { Err(unexpected()) }
    }

    fn set_limit(&mut self, limit: u32, revision: u64) -> Result<bool, GateError> {
        match self.run::<i64>(Script::SetLimit, |call| {
            call.arg(limit).arg(revision);
        })? {
            1 => Ok(true),
            0 => Ok(false),
            _ => Err(GateError::Gone),
        }
    }

    fn explain(&mut self) -> Result<Overview, GateError> {
        type Row = (String, u64, String);
        let answer: Vec<Value> = self.run(Script::Explain, |_| {})?;
        let Ok([limit, revision, waiting, now, rows]) = <[Value; 5]>::try_from(answer) else {
            return Err(GateError::Gone);
        };
        let number = |value: Value| redis::from_redis_value::<u64>(value).map_err(|_| unexpected());
        let (limit, revision, waiting, now) =
            (number(limit)?, number(revision)?, number(waiting)?, number(now)?);
        let rows: Vec<Value> = redis::from_redis_value(rows).map_err(|_| unexpected())?;
        let held = rows.chunks(3).map(|row| {
            let (id, end, about): Row =
                redis::from_redis_value(Value::Array(row.to_vec())).map_err(|_| unexpected())?;
            let mut about = about.splitn(3, ' ');
            let mut word = || about.next().unwrap_or("");
            let (fence, since) = (word().parse().unwrap_or(0), word().parse().unwrap_or(now));
            Ok(HeldRow {
                id,
                fence,
                holder: word().to_owned(),
                since: Duration::from_micros(now.saturating_sub(since)),
                left: Duration::from_micros(end.saturating_sub(now)),
            })
        });
        Ok(Overview {
            limit: limit as u32,
            revision,
            waiting: waiting as usize,
            held: held.collect::<Result<_, GateError>>()?,
        })
    }
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore")
            .field("open", &self.connection.is_open())
            .finish_non_exhaustive()
    }
}
