//! A simulated Clerk instance: a real server with a real model, for the demo, the tests and the benches.
//!
//! It implements the API contract: lists with their filters, orders and errors, counts, error bodies and a rate limit.
//! It can also misbehave as real networks do: it fails, stalls, cuts bodies off, and changes its data between two
//! pages. One random seed determines all generated data. The simulator does not know about syncing or storage.
//!
//! The endpoints under `/_simulator` inspect and control the simulator. They need no key:
//! `GET truth?lookback_days=N`, `GET users`, `GET rows?list=NAME`, `POST faults`, `POST changes`, `POST change?kind=K&count=N`,
//! `POST clock?now=MS|advance=MS`.

mod activity;
mod answer;
mod change_kind;
mod changes;
mod config;
mod corruption;
mod device;
mod faults;
mod generate;
mod json_text;
mod life;
mod limit;
mod list;
mod listing;
mod lists;
pub mod model;
mod ordered;
mod organizations;
mod render;
mod render_accounts;
mod routes;
mod selections;
mod server;
mod state;
mod stored;
mod truth;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use change_kind::{ChangeKind, Changes};
pub use config::SimulatorConfig;
pub use corruption::Corruption;
pub use faults::{FaultKind, Faults, UnknownCursor};
pub use json_text::PRIVATE_MARKER;
pub use life::Life;
pub use limit::RequestLimit;
pub use list::{List, ListRefusal};
pub use model::Model;
pub use state::RequestRecord;
pub use truth::Truth;

use state::Shared;

/// A running simulated instance. Dropping it stops the server.
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Simulator {
    /// Generates an instance and starts the server.
    ///
    /// # Errors
    /// If the server cannot listen on the configured address.
    pub async fn start(config: SimulatorConfig) -> std::io::Result<Self> {
        let listener = TcpListener::bind(config.address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(config));
        let server = tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { shared, address, server })
    }

    /// Returns the server's base URL, for `--api-url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the secret key that the server accepts.
    #[must_use]
    pub fn key(&self) -> String {
        self.shared.settings().key.clone()
    }

    /// Returns the time of the fixed clock in Unix milliseconds; `None` if the server uses the real clock.
    #[must_use]
    pub fn standing_clock(&self) -> Option<i64> {
        self.shared.settings().now
    }

    /// Calls `act` with the locked model, to read or change it.
    pub fn with_model<T>(&self, act: impl FnOnce(&mut Model) -> T) -> T {
        act(&mut self.shared.model())
    }

    /// Returns the instance's true counts and metrics as of now.
    #[must_use]
    pub fn truth(&self, lookback_days: u32) -> Truth {
        Truth::of(&self.shared.model(), lookback_days)
    }

    /// Returns all rows of a list as the API shows them, oldest first.
    ///
    /// No parameter leaves rows out: revoked invitations and free subscription items are among them, and organizations
    /// have `members_count`. No row is corrupted.
    #[must_use]
    pub fn listed(&self, list: List) -> Vec<serde_json::Value> {
        routes::listed(&self.shared, list)
    }

    /// Changes the settings. They take effect with the next request.
    ///
    /// If `changes` differs afterwards, the counter of list requests restarts at zero.
    pub fn set(&self, change: impl FnOnce(&mut SimulatorConfig)) {
        let mut settings = self.shared.settings();
        let before = settings.changes.clone();
        change(&mut settings);
        if settings.changes != before {
            self.shared.reset_list_counter();
        }
    }

    /// Replaces the fault settings. Requests are counted from the next one.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.settings().faults = faults;
        self.shared.reset_fault_counter();
    }

    /// Returns the latest API requests, oldest first, up to 100,000.
    ///
    /// Requests to `/_simulator` are not recorded.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shared.records()
    }

    /// Returns the number of API requests so far.
    #[must_use]
    pub fn request_count(&self) -> u64 {
        self.shared.record_count()
    }

    /// Clears the recorded requests and their count.
    pub fn clear_requests(&self) {
        self.shared.clear_records();
    }

    /// Waits until the server ends. The server never ends by itself.
    pub async fn stopped(&self) {
        while !self.server.is_finished() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.server.abort();
    }
}
