//! How a request gets to its server: from this machine, or from one of a fleet.

use std::time::Duration;

use http::Uri;

use crate::client::{Answer, Client, Failure, Template};
#[cfg(feature = "fleet")]
use crate::{check::Check, fleet::Coordinator, plan::Host};

/// An answer, or why there was none; and how long the request took, if another machine has measured it.
pub(crate) type Answered = (Result<Answer, Failure>, Option<Duration>);

/// How a request is sent.
pub(crate) enum Way<'a> {
    /// This machine sends it.
    Here(&'a Client),
    /// A worker of a fleet sends it, for the job `check`. If there is a `host`, the fleet enforces its limit, too.
    #[cfg(feature = "fleet")]
    Fleet { coordinator: &'a Coordinator, check: &'a Check, host: Option<&'a Host> },
}

impl Way<'_> {
    /// Sends one request, and returns what came of it.
    pub(crate) async fn send(&self, template: &Template, url: &Uri) -> Answered {
        match self {
            Way::Here(client) => (client.send(template, url).await, None),
            #[cfg(feature = "fleet")]
            Way::Fleet { coordinator, check, host } => {
                Box::pin(coordinator.send(check, *host, template, url)).await
            }
        }
    }
}
