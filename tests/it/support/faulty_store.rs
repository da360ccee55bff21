//! A fault-injecting object store. It refuses operations, loses responses, is slow, and simulates crashes.
//!
//! Every run gets its own handle on the shared store. A handle can crash at a named point: the operation at that point
//! and all later ones get no response. A store sees the same when a process is killed. The test then drops the run and
//! [disconnects](Control::disconnect) the handle: background tasks that still wait get an error, and nothing of that
//! run reaches the store again.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use clerk_lake::sync::CancellationToken;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use tokio::sync::Notify;

/// Duration of a slow operation.
const SLOW: Duration = Duration::from_millis(5);

/// Time that an operation of a crashed run waits for a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(300);

/// A point at which a run can crash, in terms of its store operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// After a data file is staged.
    AfterDataFile,
    /// After the resume point of a listing is written.
    AfterResumePoint,
    /// Before the first file of a commit is moved into the table's directory.
    BeforeMove,
    /// Between two moves: some files of a commit are in place and others are not, or one is in both places.
    BetweenMoves,
    /// After all files of a commit are in place, before the log entry is written.
    BeforeCommit,
    /// After the log entry is written, before the run receives the response.
    AfterCommit,
    /// Before the first superseded or orphan file is deleted.
    BeforeCleanUp,
    /// Between two such deletions.
    BetweenCleanUps,
}

impl CrashPoint {
    pub const ALL: [Self; 8] = [
        Self::AfterDataFile,
        Self::AfterResumePoint,
        Self::BeforeMove,
        Self::BetweenMoves,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::BeforeCleanUp,
        Self::BetweenCleanUps,
    ];
}

/// A fault of a store operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// The operation fails without an effect.
    Refused,
    /// The operation takes effect, but fails because the response is lost.
    ResponseLost,
    /// The put of a commit fails and takes effect later: see [`Control::apply_delayed_puts`]. So does every further put
    /// of the same commit. Any other operation is refused.
    Delayed,
    /// The operation is slow.
    Slow,
    /// The run crashes before the operation takes effect.
    Crash,
}

/// The faults of the handle of one run.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    /// The point at which the run crashes, and at which of its visits to that point, counted from 1.
    pub crash: Option<(CrashPoint, u64)>,
    /// Ranges of operation numbers, counted from 1, and the fault of each range.
    pub store_faults: Vec<(Range<u64>, StoreFault)>,
    /// The delayed puts of another run that take effect during this run.
    pub delayed_puts: Option<DelayedPuts>,
}

/// The delayed puts of the run of `of`. They take effect before operation number `at` of this run, counted from 1.
#[derive(Clone, Debug)]
pub struct DelayedPuts {
    pub at: u64,
    pub of: Arc<Control>,
}

/// A put that takes effect later.
#[derive(Debug)]
struct DelayedPut {
    location: Path,
    payload: PutPayload,
    opts: PutOptions,
}

/// The kind of an operation, in terms of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OperationKind {
    DataFile,
    ResumePoint,
    /// Any other write.
    Write,
    Move,
    Commit,
    /// A deletion from a table.
    CleanUp,
    /// A read, or the deletion of a staged file.
    Other,
}

impl OperationKind {
    /// Returns the kind of a put at `place`. `creates` says whether the put fails if the object exists.
    fn put(place: &Path, creates: bool) -> Self {
        let name = place.filename().unwrap_or_default();
        let version = name.strip_suffix(".json").unwrap_or_default();
        let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
        match run_of(place) {
            Some(_) if name == "checkpoint.json" => Self::ResumePoint,
            Some(_) if name.ends_with(".parquet") => Self::DataFile,
            None if creates && is_version => Self::Commit,
            _ => Self::Write,
        }
    }

    fn copy(to: &Path) -> Self {
        if run_of(to).is_none() { Self::Move } else { Self::Write }
    }

    fn delete(place: &Path) -> Self {
        if run_of(place).is_none() { Self::CleanUp } else { Self::Other }
    }
}

/// Returns the run whose staging area contains `place`; `None` if it is not in a staging area.
pub fn run_of(place: &Path) -> Option<String> {
    place.parts().skip_while(|part| part.as_ref() != "_staged").nth(1).map(|run| run.as_ref().to_owned())
}

/// The fate of an operation, decided before it begins.
enum Fate {
    Proceeds,
    Fails(StoreFault),
    Crashes,
}

#[derive(Debug, Default)]
struct State {
    operations: u64,
    faults: u64,
    crashed: bool,
    /// Number of visits to the crash point.
    visits: u64,
    /// Files moved into place since the last commit.
    moves: u64,
    committed: bool,
    /// Files deleted from tables since the last commit.
    clean_ups: u64,
    runs: BTreeSet<String>,
    /// Numbers of the operations that write a log entry.
    commits: Vec<u64>,
    delayed: Vec<DelayedPut>,
}

impl State {
    fn begin(&mut self, plan: &FaultPlan, kind: OperationKind, place: &Path) -> Fate {
        if self.crashed {
            return Fate::Crashes;
        }
        self.operations += 1;
        if kind == OperationKind::Commit {
            self.commits.push(self.operations);
        }
        let point = match kind {
            OperationKind::Move if self.moves == 0 => Some(CrashPoint::BeforeMove),
            OperationKind::Move => Some(CrashPoint::BetweenMoves),
            OperationKind::Commit => Some(CrashPoint::BeforeCommit),
            OperationKind::CleanUp if !self.committed => None,
            OperationKind::CleanUp if self.clean_ups == 0 => Some(CrashPoint::BeforeCleanUp),
            OperationKind::CleanUp => Some(CrashPoint::BetweenCleanUps),
            OperationKind::DataFile | OperationKind::ResumePoint | OperationKind::Write | OperationKind::Other => None,
        };
        let fault = plan.store_faults.iter().find(|(which, _)| which.contains(&self.operations)).map(|(_, what)| *what);
        let is_delayed = kind == OperationKind::Commit && self.delayed.iter().any(|put| put.location == *place);
        let fault = match fault.or(is_delayed.then_some(StoreFault::Delayed)) {
            Some(StoreFault::Delayed) if kind != OperationKind::Commit => Some(StoreFault::Refused),
            fault => fault,
        };
        if self.visits_crash_point(plan, point) || fault == Some(StoreFault::Crash) {
            self.crashed = true;
            return Fate::Crashes;
        }
        // A run writes only to its own staging area. It cleans up those of other runs.
        if fault.is_some()
            || matches!(kind, OperationKind::DataFile | OperationKind::ResumePoint | OperationKind::Write)
        {
            self.runs.extend(run_of(place));
        }
        self.faults += u64::from(fault.is_some());
        fault.map_or(Fate::Proceeds, Fate::Fails)
    }

    /// Records that an operation is done. Returns whether the run crashes after it.
    fn end(&mut self, plan: &FaultPlan, kind: OperationKind) -> bool {
        let point = match kind {
            OperationKind::DataFile => Some(CrashPoint::AfterDataFile),
            OperationKind::ResumePoint => Some(CrashPoint::AfterResumePoint),
            OperationKind::Commit => Some(CrashPoint::AfterCommit),
            OperationKind::Write | OperationKind::Move | OperationKind::CleanUp | OperationKind::Other => None,
        };
        match kind {
            OperationKind::Move => self.moves += 1,
            OperationKind::CleanUp => self.clean_ups += 1,
            OperationKind::Commit => (self.moves, self.committed, self.clean_ups) = (0, true, 0),
            OperationKind::DataFile | OperationKind::ResumePoint | OperationKind::Write | OperationKind::Other => {}
        }
        let crashes = self.visits_crash_point(plan, point);
        self.crashed |= crashes;
        crashes
    }

    fn visits_crash_point(&mut self, plan: &FaultPlan, point: Option<CrashPoint>) -> bool {
        let Some((_, time)) = plan.crash.filter(|(crash, _)| point == Some(*crash)) else { return false };
        self.visits += 1;
        self.visits == time
    }
}

/// Observes and controls a handle.
#[derive(Debug)]
pub struct Control {
    plan: FaultPlan,
    state: Mutex<State>,
    on_crash: Notify,
    disconnected: CancellationToken,
}

impl Control {
    /// Waits until the run has crashed.
    pub async fn crashed(&self) {
        self.on_crash.notified().await;
    }

    /// Makes the run crash now.
    pub fn crash(&self) {
        self.state().crashed = true;
        self.on_crash.notify_one();
    }

    /// Fails all operations that still wait for a response, and all later ones.
    pub fn disconnect(&self) {
        self.state().crashed = true;
        self.disconnected.cancel();
    }

    /// Returns the number of operations begun.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Whether any operation had a fault.
    pub fn had_faults(&self) -> bool {
        self.state().faults > 0
    }

    /// Returns the numbers of the operations that wrote a log entry or tried to.
    pub fn commits(&self) -> Vec<u64> {
        self.state().commits.clone()
    }

    /// Whether the put of a commit has not taken effect yet.
    pub fn has_delayed_puts(&self) -> bool {
        !self.state().delayed.is_empty()
    }

    /// Applies the delayed puts to `store`.
    pub async fn apply_delayed_puts(&self, store: &dyn ObjectStore) {
        let delayed = std::mem::take(&mut self.state().delayed);
        for DelayedPut { location, payload, opts } in delayed {
            // No client receives the result.
            let _ = store.put_opts(&location, payload, opts).await;
        }
    }

    /// Returns the run that used this handle, and the runs in whose staging areas it had faults.
    pub fn runs(&self) -> BTreeSet<String> {
        self.state().runs.clone()
    }

    /// Returns the delayed puts that take effect before the next operation.
    fn due_puts(&self) -> Option<DelayedPuts> {
        self.plan.delayed_puts.clone().filter(|puts| self.operations() + 1 >= puts.at)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work`, an operation of this kind at `place`, with the faults of the plan.
    async fn run<T: Send>(
        &self,
        kind: OperationKind,
        place: &Path,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let fate = self.state().begin(&self.plan, kind, place);
        match fate {
            Fate::Crashes | Fate::Fails(StoreFault::Crash) => return self.no_response().await,
            Fate::Fails(StoreFault::Refused) => return Err(injected("refused")),
            Fate::Fails(StoreFault::Delayed) => return Err(injected("no response yet")),
            Fate::Fails(StoreFault::Slow) => tokio::time::sleep(SLOW).await,
            Fate::Proceeds | Fate::Fails(StoreFault::ResponseLost) => {}
        }
        let done = work.await?;
        let crashes = self.state().end(&self.plan, kind);
        if crashes {
            return self.no_response().await;
        }
        if matches!(fate, Fate::Fails(StoreFault::ResponseLost)) {
            Err(injected("the response was lost"))
        } else {
            Ok(done)
        }
    }

    /// Gives no response until the handle is disconnected or a timeout ends the wait. Callers that block the thread
    /// while they wait, such as the writer of a Delta checkpoint, need the timeout.
    async fn no_response<T>(&self) -> Result<T> {
        self.on_crash.notify_one();
        let _ = tokio::time::timeout(RESPONSE_TIMEOUT, self.disconnected.cancelled()).await;
        Err(injected("the run has crashed"))
    }
}

fn injected(what: &'static str) -> Error {
    Error::Generic { store: "FaultyStore", source: what.into() }
}

/// The handle of one run on a store. See the [module](self).
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    control: Arc<Control>,
}

impl FaultyStore {
    /// Returns a handle on `inner` with the faults of `plan`.
    pub fn over(inner: Arc<dyn ObjectStore>, plan: FaultPlan) -> Self {
        let (on_crash, disconnected) = (Notify::new(), CancellationToken::new());
        let control = Control { plan, state: Mutex::default(), on_crash, disconnected };
        Self { inner, control: Arc::new(control) }
    }

    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

/// `rename` is the default of the trait: a copy and a deletion, each of which can fail, as on S3.
#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let kind = OperationKind::put(location, opts.mode == PutMode::Create);
        if let Some(due) = self.control.due_puts() {
            due.of.apply_delayed_puts(&self.inner).await;
        }
        let put = self.inner.put_opts(location, payload.clone(), opts.clone());
        let put = self.control.run(kind, location, put).await;
        if put.as_ref().is_err_and(|error| error.to_string().contains("no response yet")) {
            self.control.state().delayed.push(DelayedPut { location: location.clone(), payload, opts });
        }
        put
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let begun = self.inner.put_multipart_opts(location, opts);
        let inner = self.control.run(OperationKind::Write, location, begun).await?;
        Ok(Box::new(FaultyUpload { inner, control: self.control(), place: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if let Some(due) = self.control.due_puts() {
            due.of.apply_delayed_puts(&self.inner).await;
        }
        self.control.run(OperationKind::Other, location, self.inner.get_opts(location, options)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, control) = (Arc::clone(&self.inner), self.control());
        locations.and_then(move |place| delete(Arc::clone(&inner), Arc::clone(&control), place)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, control, prefix) = (Arc::clone(&self.inner), self.control(), prefix.cloned());
        stream::once(list(inner, control, prefix)).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let place = prefix.cloned().unwrap_or_default();
        self.control.run(OperationKind::Other, &place, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.control.run(OperationKind::copy(to), to, self.inner.copy_opts(from, to, options)).await
    }
}

async fn delete(inner: Arc<dyn ObjectStore>, control: Arc<Control>, place: Path) -> Result<Path> {
    control.run(OperationKind::delete(&place), &place, inner.delete(&place)).await?;
    Ok(place)
}

async fn list(
    inner: Arc<dyn ObjectStore>,
    control: Arc<Control>,
    prefix: Option<Path>,
) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
    let place = prefix.clone().unwrap_or_default();
    control.run(OperationKind::Other, &place, std::future::ready(Ok(()))).await?;
    Ok(inner.list(prefix.as_ref()))
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    control: Arc<Control>,
    place: Path,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.control.run(OperationKind::put(&self.place, false), &self.place, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.control.run(OperationKind::Other, &self.place, self.inner.abort()).await
    }
}
