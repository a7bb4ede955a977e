//! One job at the server: a stream with the tasks, and a durable pull consumer whose `max_ack_pending` is the limit.
//!
//! The requests are JetStream's own, as JSON, so that they mean the same on each version of the server.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Client, RequestErrorKind, Subscriber};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::error::{FleetError, OpenError};
use crate::fleet::Link;
use crate::job::SetAside;

pub(crate) const ATTEMPTS: &str = "Tollgate-Attempts";
pub(crate) const REASON: &str = "Tollgate-Reason";
/// The most messages in which `free_orphans` searches, counted back from the last one that was handed out.
const MOST_ORPHANS: u64 = 10_000;

/// Why a request to the server failed: no answer, or an answer with an error.
#[derive(Debug)]
pub(crate) enum Trouble {
    NoResponders,
    Unreachable(Box<dyn std::error::Error + Send + Sync>),
    Api { code: u64, words: String },
}

impl From<Trouble> for FleetError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::NoResponders => Self::Unreachable("no server with JetStream answers".into()),
            Trouble::Unreachable(error) => Self::Unreachable(error),
            Trouble::Api { code: 404, .. } => Self::Gone,
            Trouble::Api { code, words, .. } if code >= 500 => Self::Unreachable(words.into()),
            Trouble::Api { words, .. } => Self::Refused(words),
        }
    }
}

pub(crate) fn answer(
    result: Result<async_nats::Message, async_nats::RequestError>,
) -> Result<Value, Trouble> {
    let message = result.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => Trouble::NoResponders,
        _ => Trouble::Unreachable(Box::new(error)),
    })?;
    let value: Value = serde_json::from_slice(&message.payload)
        .map_err(|error| Trouble::Unreachable(Box::new(error)))?;
    match value.get("error") {
        Some(error) => Err(Trouble::Api {
            code: error["code"].as_u64().unwrap_or(0),
            words: error["description"].as_str().unwrap_or_default().to_owned(),
        }),
        None => Ok(value),
    }
}

/// Sends one request of JetStream's API.
pub(crate) async fn api(
    client: &Client,
    what: &str,
    body: Option<Value>,
) -> Result<Value, Trouble> {
    let body = body.map_or(Vec::new(), |body| body.to_string().into_bytes());
    answer(client.request(format!("$JS.API.{what}"), body.into()).await)
}

/// What each stream's name begins with.
const PREFIX: &str = "tollgate-";

/// Returns the names of all jobs at the server, in alphabetical order.
pub(crate) async fn jobs(client: &Client) -> Result<Vec<String>, Trouble> {
    let mut names = Vec::new();
    let mut read = 0;
    loop {
        // The server sends the names in parts.
        let part = api(client, "STREAM.NAMES", Some(json!({ "offset": read }))).await?;
        let streams = part["streams"].as_array().map_or(&[][..], Vec::as_slice);
        let jobs = streams.iter().filter_map(|name| name.as_str()?.strip_prefix(PREFIX));
        names.extend(jobs.map(str::to_owned));
        read += streams.len();
        if streams.is_empty() || read as u64 >= part["total"].as_u64().unwrap_or(0) {
            names.sort_unstable();
            return Ok(names);
        }
    }
}

/// What the server says of the job.
#[derive(Clone, Debug)]
pub(crate) struct Overview {
    pub(crate) limit: u32,
    /// Tasks that are handed out and not acknowledged.
    pub(crate) held: usize,
    /// Tasks that were never handed out.
    pub(crate) queued: u64,
    /// The number of the consumer's last delivery.
    pub(crate) delivered: u64,
    /// The numbers in the stream of the messages that may be handed out and not acknowledged.
    unsettled: RangeInclusive<u64>,
    config: Value,
}

impl Overview {
    /// Returns the greatest number in the stream of a message that was handed out.
    pub(crate) fn handed_out(&self) -> u64 {
        *self.unsettled.end()
    }

    /// Returns the greatest number up to which all messages that were handed out are acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        *self.unsettled.start() - 1
    }
}

/// One job at the server.
pub(crate) struct Engine {
    pub(crate) link: Arc<Link>,
    pub(crate) name: String,
    pub(crate) stream: String,
    /// The server process whose numbers have been checked (`js-7`).
    checked_server: Mutex<String>,
}

const CONSUMER: &str = "workers";

impl Engine {
    pub(crate) fn new(link: Arc<Link>, name: &str) -> Self {
        Self {
            link,
            name: name.to_owned(),
            stream: format!("{PREFIX}{name}"),
            checked_server: Mutex::default(),
        }
    }

    pub(crate) fn task_subject(&self) -> String {
        format!("tollgate.job.{}.task", self.name)
    }

    pub(crate) fn aside_subject(&self) -> String {
        format!("tollgate.job.{}.aside", self.name)
    }

    /// The subject of the messages that only use up numbers of the stream (`js-7`). The consumer does not hand them out.
    pub(crate) fn filler_subject(&self) -> String {
        format!("tollgate.job.{}.filler", self.name)
    }

    /// Returns the name of the server process whose numbers have been checked (`js-7`), to read it or to replace it.
    pub(crate) fn checked_server(&self) -> MutexGuard<'_, String> {
        self.checked_server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The subject on which each process that serves the job tells what it holds. No stream has it.
    pub(crate) fn who_subject(&self) -> String {
        format!("tollgate.who.{}", self.name)
    }

    pub(crate) async fn api(&self, what: String, body: Option<Value>) -> Result<Value, Trouble> {
        api(&self.link.client, &what, body).await
    }

    fn stream_config(&self) -> Value {
        json!({
            "name": self.stream,
            "subjects": [format!("tollgate.job.{}.*", self.name)],
            "retention": "workqueue",
            "storage": "file",
            "discard": "new",
            "num_replicas": 1,
            "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msg_size": -1, "max_consumers": -1,
        })
    }

    fn consumer_config(&self, limit: u32, lease: Duration) -> Value {
        json!({
            "durable_name": CONSUMER,
            "filter_subject": self.task_subject(),
            "ack_policy": "explicit",
            "deliver_policy": "all",
            "replay_policy": "instant",
            "ack_wait": lease.as_nanos() as u64,
            "max_ack_pending": limit,
            "max_deliver": -1, // attempts are counted by the workers: a task is never dropped with its permit kept
            "max_waiting": 4096,
        })
    }

    /// Makes the job, or checks that the job which exists is one of this crate. Returns the job's lease.
    pub(crate) async fn prepare(
        &self,
        limit: Option<u32>,
        lease: Option<Duration>,
    ) -> Result<Duration, OpenError> {
        let not_found = |answer: Result<Value, Trouble>| match answer {
            Ok(value) => Ok(Some(value)),
            Err(Trouble::Api { code: 404, .. }) => Ok(None),
            Err(other) => Err(OpenError::from(FleetError::from(other))),
        };
        let wanted = self.stream_config();
        let stream = not_found(self.api(format!("STREAM.INFO.{}", self.stream), None).await)?;
        if let Some(stream) = &stream {
            check(&wanted, &stream["config"], &["num_replicas"])?;
            let consumer = not_found(
                self.api(format!("CONSUMER.INFO.{}.{CONSUMER}", self.stream), None).await,
            )?;
            if let Some(consumer) = consumer {
                return self.check_consumer(&consumer["config"], lease);
            }
        }
        let limit = limit.ok_or(OpenError::NoLimit)?;
        let lease = lease.unwrap_or(Duration::from_secs(30));
        if stream.is_none() {
            let made = self.api(format!("STREAM.CREATE.{}", self.stream), Some(wanted)).await;
            match made {
                Ok(_) => {}
                Err(Trouble::Api { words, .. }) => return Err(OpenError::OtherSettings(words)),
                Err(other) => return Err(FleetError::from(other).into()),
            }
        }
        let body = json!({ "stream_name": self.stream, "config": self.consumer_config(limit, lease), "action": "create" });
        let what = format!("CONSUMER.DURABLE.CREATE.{}.{CONSUMER}", self.stream);
        let made = match self.api(what, Some(body)).await {
            Ok(made) => made,
            // Another process has made the consumer meanwhile.
            Err(Trouble::Api { .. }) => {
                let what = format!("CONSUMER.INFO.{}.{CONSUMER}", self.stream);
                self.api(what, None).await.map_err(FleetError::from)?
            }
            Err(other) => return Err(FleetError::from(other).into()),
        };
        self.check_consumer(&made["config"], Some(lease))
    }

    fn check_consumer(
        &self,
        config: &Value,
        lease: Option<Duration>,
    ) -> Result<Duration, OpenError> {
        let there = Duration::from_nanos(config["ack_wait"].as_u64().unwrap_or(0));
        let own = self.consumer_config(1, there);
        check(&own, config, &["max_ack_pending", "max_waiting"])?;
        match lease {
            Some(lease) if lease != there => Err(OpenError::OtherLease(there)),
            _ => Ok(there),
        }
    }

    pub(crate) async fn overview(&self) -> Result<Overview, Trouble> {
        let info = self.api(format!("CONSUMER.INFO.{}.{CONSUMER}", self.stream), None).await?;
        Ok(Overview {
            limit: info["config"]["max_ack_pending"].as_u64().unwrap_or(0) as u32,
            held: info["num_ack_pending"].as_u64().unwrap_or(0) as usize,
            queued: info["num_pending"].as_u64().unwrap_or(0),
            delivered: info["delivered"]["consumer_seq"].as_u64().unwrap_or(0),
            unsettled: info["ack_floor"]["stream_seq"].as_u64().unwrap_or(0) + 1
                ..=info["delivered"]["stream_seq"].as_u64().unwrap_or(0),
            config: info["config"].clone(),
        })
    }

    /// Frees the permits that the server counts for messages which it does not store any more (`js-6`). Returns what the server said
    /// before that, and how many of the unsettled messages it stores.
    pub(crate) async fn free_orphans(&self) -> Result<(Overview, usize), Trouble> {
        let overview = self.overview().await?;
        let (mut next, end) = overview.unsettled.clone().into_inner();
        next = next.max(end.saturating_sub(MOST_ORPHANS));
        let mut found = 0;
        while overview.held > 0 && next <= end {
            let stored = self.next_task(next).await?.map_or(end + 1, |stored| stored.min(end + 1));
            for orphan in next..stored {
                // The server finds the lease by the message's number. No delivery has the number 0, so no other lease changes.
                let subject = format!("$JS.ACK.{}.{CONSUMER}.1.{orphan}.0.0.0", self.stream);
                let sent = self.link.client.publish(subject, "+ACK".into()).await;
                sent.map_err(|error| Trouble::Unreachable(Box::new(error)))?;
            }
            found += usize::from(stored <= end);
            next = stored + 1;
        }
        Ok((overview, found))
    }

    /// Returns the number of the first stored task that is `from` or more.
    async fn next_task(&self, from: u64) -> Result<Option<u64>, Trouble> {
        let body = json!({ "seq": from, "next_by_subj": self.task_subject() });
        match self.api(format!("STREAM.MSG.GET.{}", self.stream), Some(body)).await {
            Ok(answer) => Ok(answer["message"]["seq"].as_u64()),
            Err(Trouble::Api { code: 404, .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    pub(crate) async fn set_limit(&self, limit: u32) -> Result<(), Trouble> {
        let mut config = self.overview().await?.config;
        config["max_ack_pending"] = limit.into();
        let body = json!({ "stream_name": self.stream, "config": config, "action": "update" });
        let what = format!("CONSUMER.DURABLE.CREATE.{}.{CONSUMER}", self.stream);
        self.api(what, Some(body)).await.map(drop)
    }

    /// Removes the stream, and its consumer with it.
    pub(crate) async fn remove(&self) -> Result<(), Trouble> {
        match self.api(format!("STREAM.DELETE.{}", self.stream), None).await {
            Ok(_) | Err(Trouble::Api { code: 404, .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Returns the first of the tasks set aside whose number in the stream is `from` or more.
    pub(crate) async fn next_aside(&self, from: u64) -> Result<Option<SetAside>, Trouble> {
        let body = json!({ "seq": from, "next_by_subj": self.aside_subject() });
        let message = match self.api(format!("STREAM.MSG.GET.{}", self.stream), Some(body)).await {
            Ok(answer) => answer["message"].clone(),
            Err(Trouble::Api { code: 404, .. }) => return Ok(None),
            Err(other) => return Err(other),
        };
        let bytes = |name: &str| {
            let text = message[name].as_str().unwrap_or_default();
            BASE64_STANDARD.decode(text).map_err(|error| Trouble::Unreachable(Box::new(error)))
        };
        let headers = String::from_utf8_lossy(&bytes("hdrs")?).into_owned();
        let header = |name: &str| {
            let mut lines = headers.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        Ok(Some(SetAside {
            sequence: message["seq"].as_u64().unwrap_or(0),
            task: String::from_utf8_lossy(&bytes("data")?).into_owned(),
            attempts: header(ATTEMPTS).and_then(|text| text.parse().ok()).unwrap_or(0),
            reason: header(REASON).unwrap_or_default(),
        }))
    }

    /// Returns the number of tasks that were set aside.
    pub(crate) async fn count_aside(&self) -> Result<u64, Trouble> {
        let body = json!({ "subjects_filter": self.aside_subject() });
        let info = self.api(format!("STREAM.INFO.{}", self.stream), Some(body)).await?;
        Ok(info["state"]["subjects"][self.aside_subject()].as_u64().unwrap_or(0))
    }

    /// Returns true if the message is in the stream: it was not acknowledged.
    pub(crate) async fn is_stored(&self, sequence: u64) -> Result<bool, Trouble> {
        let body = json!({ "seq": sequence });
        match self.api(format!("STREAM.MSG.GET.{}", self.stream), Some(body)).await {
            Ok(_) => Ok(true),
            Err(Trouble::Api { code: 404, .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Asks for up to `batch` tasks. The server drops the request after `expires`.
    pub(crate) async fn pull(
        &self,
        batch: usize,
        expires: Duration,
    ) -> Result<Subscriber, async_nats::Error> {
        let client = &self.link.client;
        let inbox = client.new_inbox();
        let answers = client.subscribe(inbox.clone()).await?;
        let body = json!({ "batch": batch, "expires": expires.as_nanos() as u64 }).to_string();
        let what = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{CONSUMER}", self.stream);
        client.publish_with_reply(what, inbox, body.into_bytes().into()).await?;
        Ok(answers)
    }

    /// Sends a renewal or an acknowledgement. Returns true if the server has confirmed it within `patience`.
    pub(crate) async fn confirm(
        &self,
        reply: &async_nats::Subject,
        word: &'static str,
        patience: Duration,
    ) -> bool {
        let request = self.link.client.request(reply.clone(), word.into());
        matches!(tokio::time::timeout(patience, request).await, Ok(Ok(_)))
    }

    /// The name of the running server. A restarted server has another name.
    pub(crate) fn server(&self) -> String {
        self.link.client.server_info().server_id
    }
}

/// Compares the settings that matter. A setting that the server leaves out has its zero value.
fn check(own: &Value, there: &Value, free: &[&str]) -> Result<(), OpenError> {
    let same = |a: &Value, b: &Value| {
        a == b || b.is_null() && (a == &json!(0) || a == &json!(-1) || a == &json!(""))
    };
    let fields = own.as_object().into_iter().flatten();
    let differ: Vec<String> = fields
        .filter(|(name, _)| !free.contains(&name.as_str()))
        .filter(|(name, value)| !same(value, &there[name.as_str()]))
        .map(|(name, value)| format!("{name} is {}, not {value}", there[name.as_str()]))
        .collect();
    if differ.is_empty() { Ok(()) } else { Err(OpenError::OtherSettings(differ.join(", "))) }
}

/// The numbers in the reply subject of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// How often the message was handed out, from 1 on.
    pub(crate) delivered: u64,
    /// The number of the message in the stream.
    pub(crate) sequence: u64,
    /// The number of the delivery.
    pub(crate) delivery: u64,
}

impl Numbers {
    /// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<delivery>.…`, which has a domain and an account hash before
    /// the stream in its newer form.
    pub(crate) fn read(reply: &str) -> Option<Self> {
        let words: Vec<&str> = reply.split('.').collect();
        let first = match words.len() {
            9 => 4,
            11.. => 6,
            _ => return None,
        };
        if words[..2] != ["$JS", "ACK"] {
            return None;
        }
        let number = |place: usize| words[place].parse().ok();
        Some(Self {
            delivered: number(first)?,
            sequence: number(first + 1)?,
            delivery: number(first + 2)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_of_a_reply_subject() {
        let numbers = Numbers { delivered: 2, sequence: 10, delivery: 25 };
        let old = "$JS.ACK.tollgate-a.workers.2.10.25.1796025174233122313.28";
        let new = "$JS.ACK._.hash.tollgate-a.workers.2.10.25.1796025174233122313.28.x";
        assert_eq!(Numbers::read(old), Some(numbers));
        assert_eq!(Numbers::read(new), Some(numbers));
        assert_eq!(Numbers::read("$JS.ACK.a.b"), None);
    }
}
