//! Asking the lakes: they are opened for the first question, and anew where a sync has replaced files meanwhile.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clerk_lake::clock::Clock;
use clerk_lake::lake::{At, Lake};
use clerk_lake::query::{Catalogue, Engine, Parameters, Query, Since, Snapshot, session_of_changes, tables_asked};
use clerk_lake::{Error, ErrorKind, Result};
use datafusion::dataframe::DataFrame;

use super::output::{Sink, Target};

/// For how long a snapshot is asked by somebody who types.
const FRESH_FOR: Duration = Duration::from_mins(1);

/// The queries that come with the program, and those of the user's folder.
pub fn catalogue(directory: Option<&Path>) -> Result<Catalogue> {
    let builtin = Catalogue::builtin()?;
    match directory {
        Some(directory) => builtin.with_directory(directory),
        None => Ok(builtin),
    }
}

/// Lakes, and what is asked of them.
pub struct Asking {
    lakes: Vec<Lake>,
    at: Option<At>,
    engine: Engine,
    catalogue: Catalogue,
    /// The tables that are asked about as what has changed in them.
    since: Vec<Since>,
    clock: Clock,
    /// For how long a snapshot is asked, where not to the end.
    fresh_for: Option<Duration>,
    open: Option<(Snapshot, Instant)>,
    /// The tables that are asked about, if it is known.
    only: Option<Vec<&'static str>>,
}

impl Asking {
    /// Nothing is opened yet.
    pub fn new(lakes: Vec<Lake>, at: Option<At>, engine: Engine, catalogue: Catalogue) -> Self {
        Self {
            lakes,
            at,
            engine,
            catalogue,
            since: Vec::new(),
            clock: Clock::system(),
            fresh_for: None,
            open: None,
            only: None,
        }
    }

    /// Opens no other tables than those that `sql` names, which is all that will be asked.
    pub fn narrow(&mut self, sql: &str) {
        self.only = tables_asked(sql, &self.catalogue);
    }

    /// The same for somebody who asks now and then: questions see what has been synced a minute before them.
    pub fn renewing(self) -> Self {
        Self { fresh_for: Some(FRESH_FOR), ..self }
    }

    /// The same with some tables as what has changed in them.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) where there are several lakes, or another engine is to answer.
    pub fn of_changes(self, since: Vec<Since>) -> Result<Self> {
        if !since.is_empty() && self.engine != Engine::Local {
            return Err(
                Error::settings("--changes-since cannot be asked of another engine").with_hint("leave --engine out")
            );
        }
        if !since.is_empty() && self.lakes.len() > 1 {
            return Err(Error::settings("--changes-since cannot be asked of several lakes")
                .with_hint("give one --lake: versions are those of its tables"));
        }
        Ok(Self { since, ..self })
    }

    /// The queries that can be asked by name.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// What time it is, or was at the moment that is asked for.
    pub fn now(&self) -> DateTime<Utc> {
        match self.at {
            Some(At::Moment(moment)) => moment,
            Some(At::Version(_)) | None => self.clock.now(),
        }
    }

    /// The lakes as they are, or were at the moment that is asked for.
    ///
    /// # Errors
    /// As [`Snapshot::open`].
    pub async fn snapshot(&mut self) -> Result<&Snapshot> {
        let open = match self.open.take() {
            Some((snapshot, since))
                if self.at.is_some() || self.fresh_for.is_none_or(|most| since.elapsed() < most) =>
            {
                (snapshot, since)
            }
            _ => {
                let now = self.now();
                let only = self.only.as_deref();
                let opening = Snapshot::open(&self.lakes, self.at, &self.engine, &self.catalogue, now, only);
                (Box::pin(opening).await?, Instant::now())
            }
        };
        Ok(&self.open.insert(open).0)
    }

    /// The next question sees what has been synced until then.
    pub fn forget(&mut self) {
        self.open = None;
    }

    async fn answers(&mut self, query: &Query, parameters: &Parameters) -> Result<Vec<DataFrame>> {
        match self.lakes.as_slice() {
            [lake] if !self.since.is_empty() => {
                let session = session_of_changes(lake, &query.sql, &self.since, &self.catalogue, self.now()).await?;
                Ok(vec![query.plan(&session, parameters).await?])
            }
            _ => self.snapshot().await?.answers(query, parameters).await,
        }
    }

    /// Runs `query` and sends its rows where `to` says, `out` being standard output; gives how many.
    ///
    /// # Errors
    /// As [`Snapshot::answers`], and where the query fails on the way or its rows cannot be written.
    pub async fn print(
        &mut self,
        query: &Query,
        parameters: &Parameters,
        to: &Target,
        out: &mut (dyn Write + Send),
    ) -> Result<u64> {
        let mut again = 1;
        loop {
            let answers = Box::pin(self.answers(query, parameters)).await?;
            let mut sink = Sink::open(to, &mut *out)?;
            match Box::pin(sink.print(answers)).await {
                Err(error) if error.kind() == ErrorKind::Conflict && self.at.is_some() => return Err(not_kept()),
                // A sync has replaced files that this snapshot reads; as long as nothing is printed, start anew.
                Err(error) if error.kind() == ErrorKind::Conflict && sink.is_untouched() && again > 0 => {
                    again -= 1;
                    self.forget();
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

fn not_kept() -> Error {
    Error::new(ErrorKind::Query, "the lake no longer has the files that it had then")
        .with_hint("a lake keeps as much of its past as --history says: sync with --history 30d, for example")
}
