//! `Fleet`: the connection to the server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::builder::FleetJobBuilder;
use crate::error::{FleetError, OpenError};

/// The connection of a process to the server. A clone is another handle of the same connection.
///
/// A fleet has one thread of its own. It talks to the server and renews leases, so a busy task delays no renewal. The calls may
/// be awaited on any executor.
///
/// # Examples
///
/// ```
#[doc = include_str!("../tests/common/hidden.md")]
/// # block_on(async {
/// let fleet = tollgate_nats::Fleet::connect(address).await?;
/// let search = fleet.job("search").limit(4).open().await?;
/// assert_eq!(search.limit().await?, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Fleet {
    pub(crate) link: Arc<Link>,
}

/// A connection, and the thread that serves it.
pub(crate) struct Link {
    pub(crate) client: Client,
    runtime: Option<Runtime>,
    pub(crate) handle: Handle,
}

impl Drop for Link {
    fn drop(&mut self) {
        // The last handle may be dropped on the runtime's own thread, which must not wait for itself.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Fleet {
    /// Connects to the server at `address`, such as `nats://127.0.0.1:4222`, and checks that it has JetStream.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](OpenError::Unreachable), [`OldServer`](OpenError::OldServer), [`NoJetStream`](OpenError::NoJetStream).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// # block_on(async {
    /// use tollgate_nats::{Fleet, OpenError};
    ///
    /// assert!(Fleet::connect(address).await.is_ok());
    /// let nowhere = Fleet::connect("nats://127.0.0.1:1").await;
    /// assert!(matches!(nowhere, Err(OpenError::Unreachable(_))));
    /// # });
    /// ```
    pub async fn connect(address: impl Into<String>) -> Result<Self, OpenError> {
        Self::connect_with(ConnectOptions::new(), address).await
    }

    /// Connects with options of one's own: credentials, certificates, a name.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// # block_on(async {
    /// use tollgate_nats::{Fleet, async_nats::ConnectOptions};
    ///
    /// let options = ConnectOptions::new().name("crawler-7");
    /// assert!(Fleet::connect_with(options, address).await.is_ok());
    /// # });
    /// ```
    pub async fn connect_with(
        options: ConnectOptions,
        address: impl Into<String>,
    ) -> Result<Self, OpenError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("tollgate-nats")
            .enable_all()
            .build()
            .map_err(OpenError::Thread)?;
        let handle = runtime.handle().clone();
        let options = options
            .connection_timeout(Duration::from_secs(5))
            .request_timeout(Some(Duration::from_secs(5)))
            .reconnect_delay_callback(|attempt| {
                Duration::from_millis(20 * attempt as u64).min(Duration::from_secs(1))
            });
        let address = address.into();
        let connected = handle.spawn(async move { options.connect(address).await }).await;
        let client = match connected {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => {
                runtime.shutdown_background();
                return Err(OpenError::Unreachable(Box::new(error)));
            }
            Err(error) => {
                runtime.shutdown_background();
                return Err(OpenError::Unreachable(Box::new(error)));
            }
        };
        let link = Arc::new(Link { client, runtime: Some(runtime), handle });
        let version = link.client.server_info().version;
        let mut numbers = version.split('.').map(|number| number.parse::<u64>().unwrap_or(0));
        let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if (major, minor) < (2, 9) {
            return Err(OpenError::OldServer(version));
        }
        let asker = Arc::clone(&link);
        let answer =
            link.run(async move { crate::engine::api(&asker.client, "INFO", None).await }).await;
        match answer {
            Ok(_) => Ok(Self { link }),
            Err(crate::engine::Trouble::Api { .. } | crate::engine::Trouble::NoResponders) => {
                Err(OpenError::NoJetStream)
            }
            Err(other) => Err(FleetError::from(other).into()),
        }
    }

    /// Starts to open the job `name`. All processes that open the same name share one queue and one limit.
    ///
    /// A name has 1 to 100 ASCII letters, digits, `-` and `_`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// # block_on(async {
    /// let fleet = tollgate_nats::Fleet::connect(address).await?;
    /// let search = fleet.job("search").limit(4).open().await?;
    /// assert_eq!(search.name(), "search");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn job(&self, name: impl Into<String>) -> FleetJobBuilder {
        FleetJobBuilder::new(self.clone(), name.into())
    }

    /// Returns the names of all jobs at the server, in alphabetical order.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](FleetError::Unreachable), [`Refused`](FleetError::Refused).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// # block_on(async {
    /// let fleet = tollgate_nats::Fleet::connect(address).await?;
    /// fleet.job("search").limit(4).open().await?;
    /// fleet.job("images").limit(2).open().await?;
    /// assert_eq!(fleet.jobs().await?, ["images", "search"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn jobs(&self) -> Result<Vec<String>, FleetError> {
        let link = Arc::clone(&self.link);
        Ok(self.link.run(async move { crate::engine::jobs(&link.client).await }).await?)
    }
}

impl Link {
    /// Runs a future on the fleet's thread, and waits for it on any executor.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.handle.spawn(future).await {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}
