//! Stores messages in a job's stream: tasks that are pushed, put back, or set aside.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::json;

use crate::engine::{ATTEMPTS, Engine, REASON, Trouble, answer};
use crate::error::FleetError;

/// The number of times that a push is sent if no answer comes. The server stores a repeated push once, because its id is the same.
const PUSH_ATTEMPTS: usize = 3;
const ID: &str = "Nats-Msg-Id";

/// The most fillers that are sent before the server is asked for a confirmation.
const MOST_FILLERS: u64 = 1000;

/// Where the server has stored a message.
enum Stored {
    /// Where the server hands it out.
    Ahead,
    /// Under a number up to which the server hands out no new message (`js-7`).
    Behind { number: u64, handed_out: u64 },
}

impl Engine {
    /// Stores a message, once for each id. Returns when the server has confirmed it.
    ///
    /// The message is stored again if the server would never hand it out (`js-7`).
    async fn store(
        &self,
        subject: String,
        id: String,
        others: HeaderMap,
        payload: Vec<u8>,
    ) -> Result<(), FleetError> {
        let mut headers = others.clone();
        headers.insert(ID, id);
        // The lines of the headers, and what the protocol adds.
        let extra: usize = headers
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
            .map(|(name, value)| name.to_string().len() + value.as_str().len() + 4)
            .sum();
        let (size, most) = (payload.len() + extra + 12, self.link.client.server_info().max_payload);
        if size > most {
            return Err(FleetError::TooLarge { size, most });
        }
        let payload = Bytes::from(payload);
        let (mut attempt, mut floor, mut behind) = (1, Default::default(), Vec::new());
        loop {
            let stored = match self.store_once(&subject, &headers, &payload, &mut floor).await {
                Ok(Stored::Behind { number, handed_out }) => {
                    behind.push(number);
                    // With its id, the server would take the copy for the same message.
                    headers = others.clone();
                    self.skip_numbers(handed_out).await.map(|()| false)
                }
                Ok(Stored::Ahead) => Ok(true),
                Err(trouble) => Err(trouble),
            };
            match stored {
                Ok(true) => break,
                Ok(false) => continue,
                Err(Trouble::Api { code: 404, .. }) => return Err(FleetError::Gone),
                Err(Trouble::Api { words, .. }) => return Err(FleetError::Refused(words)),
                Err(Trouble::NoResponders) if attempt >= PUSH_ATTEMPTS => {
                    return Err(FleetError::Gone);
                }
                Err(other) if attempt >= PUSH_ATTEMPTS => return Err(other.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
            attempt += 1;
        }
        for number in behind {
            let body = json!({ "seq": number });
            // A message that stays is never handed out. It only takes room.
            let _removed = self.api(format!("STREAM.MSG.DELETE.{}", self.stream), Some(body)).await;
        }
        Ok(())
    }

    /// Stores a message, and compares its number with the last that its server process had handed out before (`js-7`).
    ///
    /// `floor` is that last number and its server process, kept for the next attempt: only a number that was read before the
    /// first attempt tells nothing of the message itself.
    async fn store_once(
        &self,
        subject: &str,
        headers: &HeaderMap,
        payload: &Bytes,
        floor: &mut (String, u64),
    ) -> Result<Stored, Trouble> {
        let server = self.server();
        if floor.0 != server {
            let is_checked = *self.checked_server() == server;
            let last = if is_checked { 0 } else { self.overview().await?.handed_out() };
            *floor = (server, last);
        }
        let (subject, headers, payload) = (subject.to_owned(), headers.clone(), payload.clone());
        let sent = self.link.client.request_with_headers(subject, headers, payload);
        let number = answer(sent.await)?["seq"].as_u64().unwrap_or(u64::MAX);
        let (server, handed_out) = floor;
        if self.server() != *server {
            return Err(Trouble::Unreachable("the server was restarted meanwhile".into()));
        }
        if number <= *handed_out {
            return Ok(Stored::Behind { number, handed_out: *handed_out });
        }
        self.checked_server().clone_from(server);
        Ok(Stored::Ahead)
    }

    /// Stores fillers until the stream has used the numbers up to `last`, and removes them (`js-7`).
    async fn skip_numbers(&self, last: u64) -> Result<(), Trouble> {
        let (client, subject) = (&self.link.client, self.filler_subject());
        let mut used = 0;
        while used < last {
            for _ in 1..(last - used).min(MOST_FILLERS) {
                let sent = client.publish(subject.clone(), Bytes::new()).await;
                sent.map_err(|error| Trouble::Unreachable(Box::new(error)))?;
            }
            let confirmed = answer(client.request(subject.clone(), Bytes::new()).await)?;
            used = confirmed["seq"].as_u64().unwrap_or(last);
        }
        let body = json!({ "filter": subject });
        self.api(format!("STREAM.PURGE.{}", self.stream), Some(body)).await.map(drop)
    }

    pub(crate) async fn push(&self, id: String, payload: Vec<u8>) -> Result<(), FleetError> {
        self.store(self.task_subject(), id, HeaderMap::new(), payload).await
    }

    /// Stores a copy of a task at the back of the queue. A second copy of the same message is not stored.
    pub(crate) async fn copy_back(
        &self,
        sequence: u64,
        attempts: u64,
        payload: &[u8],
    ) -> Result<(), FleetError> {
        let mut headers = HeaderMap::new();
        headers.insert(ATTEMPTS, attempts.to_string());
        self.store(self.task_subject(), format!("back-{sequence}"), headers, payload.to_vec()).await
    }

    /// Stores a copy of a task where no worker takes it.
    pub(crate) async fn copy_aside(
        &self,
        sequence: u64,
        attempts: u64,
        reason: &str,
        payload: &[u8],
    ) -> Result<(), FleetError> {
        let mut headers = HeaderMap::new();
        headers.insert(ATTEMPTS, attempts.to_string());
        let plain: String =
            reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
        headers.insert(REASON, plain);
        self.store(self.aside_subject(), format!("aside-{sequence}"), headers, payload.to_vec())
            .await
    }
}
