//! What all connections share: settings that may change while it runs, the model, the clock and the records.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::Utc;

use super::config::SimulatorConfig;
use super::faults::{FaultCounter, FaultKind};
use super::limit::{Verdict, Window};
use super::model::Model;

/// How many requests are remembered.
const REMEMBERED: usize = 100_000;

/// A request that came in. The key itself is never kept.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// The path.
    pub path: String,
    /// The parameters, decoded.
    pub query: Vec<(String, String)>,
    /// The status that was sent; 0 where the connection was closed instead.
    pub status: u16,
    /// What went wrong on purpose.
    pub fault: Option<FaultKind>,
    /// `Clerk-API-Version`.
    pub api_version: Option<String>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// `Accept-Encoding`.
    pub accept_encoding: Option<String>,
    /// Whether there was an `Authorization` header.
    pub authorized: bool,
}

pub(super) struct Shared {
    settings: Mutex<SimulatorConfig>,
    model: Mutex<Model>,
    window: Mutex<Window>,
    counter: Mutex<FaultCounter>,
    lists: Mutex<u64>,
    cursors: Mutex<u64>,
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
        Self {
            settings: Mutex::new(config),
            model: Mutex::new(model),
            window: Mutex::default(),
            counter: Mutex::default(),
            lists: Mutex::default(),
            cursors: Mutex::default(),
            records: Mutex::default(),
        }
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, SimulatorConfig> {
        lock(&self.settings)
    }

    /// The model, its clock brought up to now.
    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        let now = self.now_ms();
        let mut model = lock(&self.model);
        model.now = now;
        model
    }

    pub(super) fn now_ms(&self) -> i64 {
        now_ms(&self.settings())
    }

    /// Asks the rate limit, where there is one.
    pub(super) fn admit(&self) -> Option<(super::limit::RateLimit, Verdict)> {
        let limit = self.settings().rate_limit?;
        Some((limit, lock(&self.window).admit(limit, Instant::now())))
    }

    pub(super) fn fault(&self, path: &str) -> Option<FaultKind> {
        let faults = self.settings().faults.clone();
        lock(&self.counter).next(&faults, path)
    }

    /// Deletes the user whom a cursor names, if it is that cursor's turn.
    pub(super) fn delete_cursor(&self, cursor: &str) {
        let every = self.settings().faults.cursor_deleted_every;
        let mut cursors = lock(&self.cursors);
        *cursors += 1;
        if every > 0 && cursors.is_multiple_of(every) {
            self.model().delete_user(cursor);
        }
    }

    pub(super) fn reset_list_counter(&self) {
        *lock(&self.lists) = 0;
    }

    pub(super) fn reset_fault_counter(&self) {
        *lock(&self.counter) = FaultCounter::default();
    }

    /// Makes the changes that are due before a list request.
    pub(super) fn change_before_list(&self) {
        let Some(changes) = self.settings().changes.clone() else { return };
        let due = {
            let mut lists = lock(&self.lists);
            *lists += 1;
            let steps = *lists / changes.every.max(1);
            let left = changes.most.is_none_or(|most| steps * changes.per_step as u64 <= most);
            changes.every > 0 && lists.is_multiple_of(changes.every) && left
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
        if records.1.len() == REMEMBERED {
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

#[expect(clippy::disallowed_methods, reason = "the simulated server's own clock")]
fn now_ms(config: &SimulatorConfig) -> i64 {
    config.now.unwrap_or_else(|| Utc::now().timestamp_millis()) + config.clock_offset_ms
}
