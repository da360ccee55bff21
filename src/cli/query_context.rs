//! Queries over one or more lakes. A snapshot is opened for the first query, and reopened if a sync has replaced its
//! files.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clerk_lake::clock::Clock;
use clerk_lake::lake::{At, Lake};
use clerk_lake::query::{Engine, Parameters, Queries, Query, Since, Snapshot, context_of_changes, tables_asked};
use clerk_lake::{Error, ErrorKind, Result};
use datafusion::dataframe::DataFrame;

use super::arguments::LimitArguments;
use super::output::{Sink, TableLayout, Target};

/// The age at which a shell reopens its snapshot.
const MAX_SNAPSHOT_AGE: Duration = Duration::from_mins(1);

/// Returns the built-in queries and those in `directory`.
pub fn queries(directory: Option<&Path>, limits: &LimitArguments) -> Result<Queries> {
    let queries = match directory {
        Some(directory) => Queries::builtin()?.with_directory(directory)?,
        None => Queries::builtin()?,
    };
    Ok(if limits.no_files { queries.without_files() } else { queries })
}

/// Returns `lakes`, whose queries use no more memory than `limits` allow.
pub fn limited(lakes: Vec<Lake>, limits: &LimitArguments) -> Vec<Lake> {
    lakes.into_iter().map(|lake| lake.with_memory_limit(Some(limits.memory_limit))).collect()
}

/// The lakes, the available queries and how they are run.
pub struct QueryContext {
    lakes: Vec<Lake>,
    at: Option<At>,
    engine: Engine,
    queries: Queries,
    /// The tables that are queried as their changes since a version.
    since: Vec<Since>,
    clock: Clock,
    /// The age at which the snapshot is reopened; `None` if it is kept until the end.
    max_snapshot_age: Option<Duration>,
    /// The open snapshot, and when it was opened.
    open: Option<(Snapshot, Instant)>,
    /// The tables that the queries read; `None` if unknown.
    tables: Option<Vec<&'static str>>,
}

impl QueryContext {
    /// Creates a context. Opens no lake yet.
    pub fn new(lakes: Vec<Lake>, at: Option<At>, engine: Engine, queries: Queries) -> Self {
        Self {
            lakes,
            at,
            engine,
            queries,
            since: Vec::new(),
            clock: Clock::system(),
            max_snapshot_age: None,
            open: None,
            tables: None,
        }
    }

    /// Opens only the tables that `sql` names. All later queries must read only these tables.
    pub fn open_only_tables_of(&mut self, sql: &str) {
        self.tables = tables_asked(sql, &self.queries);
    }

    /// Returns a context for a shell, which reopens a snapshot that is older than a minute.
    pub fn with_snapshot_renewal(self) -> Self {
        Self { max_snapshot_age: Some(MAX_SNAPSHOT_AGE), ..self }
    }

    /// Returns a context in which the tables of `since` contain their changes since a version.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) if there are several lakes, or if the engine is not the local one.
    pub fn with_changes_since(self, since: Vec<Since>) -> Result<Self> {
        if !since.is_empty() && self.engine != Engine::Local {
            return Err(Error::settings("--changes-since works only with the local engine").with_hint("omit --engine"));
        }
        if !since.is_empty() && self.lakes.len() > 1 {
            return Err(Error::settings("--changes-since works only with one lake")
                .with_hint("give one --lake: each lake has its own table versions"));
        }
        Ok(Self { since, ..self })
    }

    /// Returns the queries that can be run by name.
    pub fn queries(&self) -> &Queries {
        &self.queries
    }

    /// Returns the timestamp that is queried, or else the current time.
    pub fn now(&self) -> DateTime<Utc> {
        match self.at {
            Some(At::Moment(moment)) => moment,
            Some(At::Version(_)) | None => self.clock.now(),
        }
    }

    /// Returns the lakes as they are, or as they were at the version or timestamp that is queried.
    ///
    /// # Errors
    /// As [`Snapshot::open`].
    pub async fn snapshot(&mut self) -> Result<&Snapshot> {
        let open = match self.open.take() {
            Some((snapshot, opened))
                if self.at.is_some() || self.max_snapshot_age.is_none_or(|max| opened.elapsed() < max) =>
            {
                (snapshot, opened)
            }
            _ => {
                let now = self.now();
                let tables = self.tables.as_deref();
                let opening = Snapshot::open(&self.lakes, self.at, &self.engine, &self.queries, now, tables);
                (Box::pin(opening).await?, Instant::now())
            }
        };
        Ok(&self.open.insert(open).0)
    }

    /// Closes the snapshot, so that the next query sees the latest sync.
    pub fn close_snapshot(&mut self) {
        self.open = None;
    }

    async fn plan(&mut self, query: &Query, parameters: &Parameters) -> Result<Vec<DataFrame>> {
        match self.lakes.as_slice() {
            [lake] if !self.since.is_empty() => {
                let context = context_of_changes(lake, &query.sql, &self.since, &self.queries, self.now()).await?;
                Ok(vec![query.plan(&context, parameters).await?])
            }
            _ => self.snapshot().await?.answers(query, parameters).await,
        }
    }

    /// Runs `query` and writes its rows to `target`, below those that a file already has if it `continues`. Returns the
    /// number of rows. `out` is standard output.
    ///
    /// # Errors
    /// As [`Snapshot::answers`]. Also if the query fails while it runs, or if its rows cannot be written.
    pub async fn print(
        &mut self,
        query: &Query,
        parameters: &Parameters,
        (target, layout): (&Target, &TableLayout),
        continues: bool,
        out: &mut (dyn Write + Send),
    ) -> Result<u64> {
        let mut retries_left = 1;
        loop {
            let frames = Box::pin(self.plan(query, parameters)).await?;
            let mut sink = Sink::open(target, layout, continues, &mut *out)?;
            match Box::pin(sink.print(frames)).await {
                Err(error) if error.kind() == ErrorKind::Conflict && self.at.is_some() => return Err(version_removed()),
                // A sync has replaced files of this snapshot. The query can run again if nothing has been printed.
                Err(error) if error.kind() == ErrorKind::Conflict && sink.can_retry() && retries_left > 0 => {
                    retries_left -= 1;
                    self.close_snapshot();
                }
                Ok(()) => return sink.finish(),
                Err(error) => {
                    return Err(match &self.open {
                        Some((snapshot, _)) => snapshot.damage_behind(error).await,
                        None => error,
                    });
                }
            }
        }
    }
}

fn version_removed() -> Error {
    Error::new(ErrorKind::Query, "the lake no longer has the data files of that version")
        .with_hint("to keep old versions for longer, sync with a longer --history, such as --history 30d")
}
