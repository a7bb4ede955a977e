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
/// The pause before a request is sent again.
const PAUSE: Duration = Duration::from_millis(100);

impl Engine {
    /// Stores a message, once for each id. Returns when the server has confirmed it.
    ///
    /// The message is stored a second time if the server would never hand it out (`js-7`).
    async fn store(
        &self,
        subject: String,
        id: String,
        mut headers: HeaderMap,
        payload: Vec<u8>,
    ) -> Result<(), FleetError> {
        headers.insert(ID, id.as_str());
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
        let number = self.store_once(&subject, &headers, &payload).await?;
        let Some(handed_out) = self.passes_over(number).await? else { return Ok(()) };
        self.skip_numbers(handed_out).await?;
        // With the same id, the server would take the copy for the same message. Each id has a `-`, and the id of the copy is as long,
        // so the copy is no larger.
        headers.insert(ID, id.replacen('-', "+", 1));
        self.store_once(&subject, &headers, &payload).await?;
        // A message that stays is never handed out. It only takes room.
        let body = json!({ "seq": number });
        let _removed = self.api(format!("STREAM.MSG.DELETE.{}", self.stream), Some(body)).await;
        Ok(())
    }

    /// Stores a message, and returns its number in the stream. Sends it again if no answer comes.
    async fn store_once(
        &self,
        subject: &str,
        headers: &HeaderMap,
        payload: &Bytes,
    ) -> Result<u64, FleetError> {
        let mut attempt = 1;
        loop {
            let sent = self.link.client.request_with_headers(
                subject.to_owned(),
                headers.clone(),
                payload.clone(),
            );
            match answer(sent.await) {
                Ok(stored) => return Ok(stored["seq"].as_u64().unwrap_or(u64::MAX)),
                Err(Trouble::Api { words, .. }) => return Err(FleetError::Refused(words)),
                Err(Trouble::NoResponders) if attempt >= PUSH_ATTEMPTS => {
                    return Err(FleetError::Gone);
                }
                Err(other) if attempt >= PUSH_ATTEMPTS => return Err(other.into()),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
            attempt += 1;
        }
    }

    /// Checks whether a server process that this client has not checked before hands out the message `number`, which it has just
    /// stored. If the server passes over that message, returns the number up to which it passes over all messages (`js-7`).
    async fn passes_over(&self, number: u64) -> Result<Option<u64>, FleetError> {
        let mut attempt = 1;
        loop {
            let server = self.server();
            if *self.checked_server() == server {
                return Ok(None);
            }
            match self.is_passed_over(number).await {
                // The answers might be those of two server processes.
                Ok(_) if self.server() != server => {}
                Ok(None) => {
                    *self.checked_server() = server;
                    return Ok(None);
                }
                Ok(handed_out) => return Ok(handed_out),
                Err(gone @ Trouble::Api { code: 404, .. }) => return Err(gone.into()),
                Err(trouble) if attempt >= PUSH_ATTEMPTS => return Err(trouble.into()),
                Err(_) => attempt += 1,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Does one check of [`passes_over`](Self::passes_over).
    ///
    /// A message that was handed out is stored until it is acknowledged, and is held until then. So the server passes over messages
    /// in two cases: a stored message counts as acknowledged, or more messages are stored than held.
    async fn is_passed_over(&self, number: u64) -> Result<Option<u64>, Trouble> {
        if number > self.overview().await?.handed_out() {
            return Ok(None);
        }
        let (mut seen, mut stored) = self.free_orphans().await?;
        if stored < seen.held {
            // The difference was orphans, which are freed now (js-6).
            tokio::time::sleep(PAUSE).await;
            (seen, stored) = self.free_orphans().await?;
        }
        if number > seen.acknowledged() && stored <= seen.held || !self.is_stored(number).await? {
            return Ok(None);
        }
        // The server removes a message shortly after it has counted the acknowledgement.
        tokio::time::sleep(PAUSE).await;
        Ok(self.is_stored(number).await?.then(|| seen.handed_out()))
    }

    /// Stores fillers until the stream has used the numbers up to `last`, and removes them (`js-7`).
    async fn skip_numbers(&self, last: u64) -> Result<(), Trouble> {
        let filled = self.fill_numbers(last).await;
        // Fillers that stay are never handed out. They only take room.
        let body = json!({ "filter": self.filler_subject() });
        let _removed = self.api(format!("STREAM.PURGE.{}", self.stream), Some(body)).await;
        filled
    }

    /// Stores fillers until the stream has used the numbers up to `last`. The last filler of each round is confirmed by the server,
    /// which confirms that it has stored the others, too.
    async fn fill_numbers(&self, last: u64) -> Result<(), Trouble> {
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
        Ok(())
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
