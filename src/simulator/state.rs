//! State that all connections share: the settings, which may change at any time, the model, the clock and the
//! request records.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::Utc;

use super::config::SimulatorConfig;
use super::faults::{FaultCounter, FaultKind};
use super::limit::{Verdict, Window};
use super::model::Model;

/// Maximum number of recorded requests.
const MAX_RECORDS: usize = 100_000;

/// Record of one API request. It never contains the key.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// The URL path.
    pub path: String,
    /// The query parameters, decoded.
    pub query: Vec<(String, String)>,
    /// The response status; 0 if the connection was closed instead.
    pub status: u16,
    /// The injected fault, if any.
    pub fault: Option<FaultKind>,
    /// The `Clerk-API-Version` header.
    pub api_version: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// The `Accept-Encoding` header.
    pub accept_encoding: Option<String>,
    /// Whether the request had an `Authorization` header.
    pub authorized: bool,
}

pub(super) struct Shared {
    settings: Mutex<SimulatorConfig>,
    model: Mutex<Model>,
    window: Mutex<Window>,
    counter: Mutex<FaultCounter>,
    list_requests: Mutex<u64>,
    cursor_requests: Mutex<u64>,
    records: Mutex<(u64, VecDeque<RequestRecord>)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(config: SimulatorConfig) -> Self {
        let mut model = Model::new(config.seed, now_ms(&config));
        model.activity_days = config.activity_days;
        super::generate::fill(&mut model, config.users, config.organizations);
        super::lists::fill(&mut model, &config.counts);
        Self {
            settings: Mutex::new(config),
            model: Mutex::new(model),
            window: Mutex::default(),
            counter: Mutex::default(),
            list_requests: Mutex::default(),
            cursor_requests: Mutex::default(),
            records: Mutex::default(),
        }
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, SimulatorConfig> {
        lock(&self.settings)
    }

    /// Locks the model and sets its clock to now.
    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        let now = self.now_ms();
        let mut model = lock(&self.model);
        model.now = now;
        model
    }

    pub(super) fn now_ms(&self) -> i64 {
        now_ms(&self.settings())
    }

    /// Counts a request against the rate limit; `None` if there is no limit.
    pub(super) fn admit(&self) -> Option<(super::limit::RequestLimit, Verdict)> {
        let limit = self.settings().rate_limit?;
        Some((limit, lock(&self.window).admit(limit, Instant::now())))
    }

    pub(super) fn fault(&self, path: &str) -> Option<FaultKind> {
        let faults = self.settings().faults.clone();
        lock(&self.counter).next(&faults, path)
    }

    /// Deletes the user that a cursor points to, if `cursor_deleted_every` applies to this request.
    pub(super) fn delete_cursor(&self, cursor: &str) {
        let every = self.settings().faults.cursor_deleted_every;
        let mut requests = lock(&self.cursor_requests);
        *requests += 1;
        if every > 0 && requests.is_multiple_of(every) {
            self.model().delete_user(cursor);
        }
    }

    pub(super) fn reset_list_counter(&self) {
        *lock(&self.list_requests) = 0;
    }

    pub(super) fn reset_fault_counter(&self) {
        *lock(&self.counter) = FaultCounter::default();
    }

    /// Makes the changes that are due before a list request.
    pub(super) fn change_before_list(&self) {
        let Some(changes) = self.settings().changes.clone() else { return };
        let due = {
            let mut requests = lock(&self.list_requests);
            *requests += 1;
            let steps = *requests / changes.every.max(1);
            let left = changes.most.is_none_or(|most| steps * changes.per_step as u64 <= most);
            changes.every > 0 && requests.is_multiple_of(changes.every) && left
        };
        if due && !changes.kinds.is_empty() {
            let mut model = self.model();
            for _ in 0..changes.per_step {
                let at = rand::RngExt::random_range(&mut model.random, 0..changes.kinds.len());
                model.change(changes.kinds[at]);
            }
        }
    }

    pub(super) fn record(&self, record: RequestRecord) {
        let mut records = lock(&self.records);
        records.0 += 1;
        if records.1.len() == MAX_RECORDS {
            records.1.pop_front();
        }
        records.1.push_back(record);
    }

    pub(super) fn records(&self) -> Vec<RequestRecord> {
        lock(&self.records).1.iter().cloned().collect()
    }

    pub(super) fn record_count(&self) -> u64 {
        lock(&self.records).0
    }

    pub(super) fn clear_records(&self) {
        *lock(&self.records) = (0, VecDeque::new());
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the simulated server")]
fn now_ms(config: &SimulatorConfig) -> i64 {
    config.now.unwrap_or_else(|| Utc::now().timestamp_millis()) + config.clock_offset_ms
}
