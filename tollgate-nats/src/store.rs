//! Stores messages in a job's stream: tasks that are pushed, put back, or set aside.

use std::time::Duration;

use async_nats::HeaderMap;

use crate::engine::{ATTEMPTS, Engine, REASON, Trouble, answer};
use crate::error::FleetError;

/// The number of times that a push is sent if no answer comes. The server stores a repeated push once, because its id is the same.
const PUSH_ATTEMPTS: usize = 3;
const ID: &str = "Nats-Msg-Id";

impl Engine {
    /// Stores a message, once for each id. Returns when the server has confirmed it.
    async fn store(
        &self,
        subject: String,
        id: String,
        mut headers: HeaderMap,
        payload: Vec<u8>,
    ) -> Result<(), FleetError> {
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
        let payload = bytes::Bytes::from(payload);
        let mut attempt = 1;
        loop {
            let sent = self.link.client.request_with_headers(
                subject.clone(),
                headers.clone(),
                payload.clone(),
            );
            match answer(sent.await) {
                Ok(_) => return Ok(()),
                Err(Trouble::Api { words, .. }) => return Err(FleetError::Refused(words)),
                Err(Trouble::NoResponders) if attempt >= PUSH_ATTEMPTS => {
                    return Err(FleetError::Gone);
                }
                Err(other) if attempt >= PUSH_ATTEMPTS => return Err(other.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
            attempt += 1;
        }
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
