//! A simulated Clerk instance: a real server with a real model, for the demo, the tests and the benches.
//!
//! It is written from the contract: listings with its filters, orders and refusals, counts, error bodies, a rate
//! limit. It also does what the contract does not promise and networks do: it fails, stalls, cuts bodies, and its
//! data change between two pages. Everything is drawn from one seed. It knows nothing of syncing or storage.
//!
//! Under `/_simulator` it tells the truth and takes orders, without a key: `GET truth?lookback_days=N`,
//! `GET users`, `POST faults`, `POST changes`, `POST change?kind=K&count=N`, `POST clock?now=MS|advance=MS`.

mod activity;
mod answer;
mod change_kind;
mod changes;
mod config;
mod corruption;
mod faults;
mod generate;
mod limit;
mod listing;
pub mod model;
mod ordered;
mod render;
mod routes;
mod server;
mod state;
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
pub use limit::RateLimit;
pub use model::Model;
pub use render::PRIVATE_MARKER;
pub use state::RequestRecord;
pub use truth::Truth;

use state::Shared;

/// A simulated instance that listens; dropping it stops it.
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Simulator {
    /// Makes up an instance and listens.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub async fn start(config: SimulatorConfig) -> std::io::Result<Self> {
        let listener = TcpListener::bind(config.address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(config));
        let server = tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { shared, address, server })
    }

    /// Where it listens, for `--api-url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The key that it takes.
    #[must_use]
    pub fn key(&self) -> String {
        self.shared.settings().key.clone()
    }

    /// What time it is there, Unix milliseconds, if its clock stands still.
    #[must_use]
    pub fn standing_clock(&self) -> Option<i64> {
        self.shared.settings().now
    }

    /// Looks at the model, or changes it.
    pub fn with_model<T>(&self, act: impl FnOnce(&mut Model) -> T) -> T {
        act(&mut self.shared.model())
    }

    /// What a perfect reader would know now.
    #[must_use]
    pub fn truth(&self, lookback_days: u32) -> Truth {
        Truth::of(&self.shared.model(), lookback_days)
    }

    /// Changes the settings, from the next request on. Other changes between lists are counted anew.
    pub fn set(&self, change: impl FnOnce(&mut SimulatorConfig)) {
        let mut settings = self.shared.settings();
        let before = settings.changes.clone();
        change(&mut settings);
        if settings.changes != before {
            self.shared.reset_list_counter();
        }
    }

    /// Lets these requests go wrong, counted from the next one.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.settings().faults = faults;
        self.shared.reset_fault_counter();
    }

    /// The requests that came in so far, the simulator's own left out.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shared.records()
    }

    /// How many came in so far.
    #[must_use]
    pub fn request_count(&self) -> u64 {
        self.shared.record_count()
    }

    /// Forgets the requests that came in so far.
    pub fn clear_requests(&self) {
        self.shared.clear_records();
    }

    /// Ends when the server does, which it does not by itself.
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
