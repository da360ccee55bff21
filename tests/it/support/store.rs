//! An object store that has bad days: operations that are refused, answers that are lost, slowness, and death.
//!
//! Every run gets a handle of its own over the store that all share. A handle may die at a named point: the operation
//! there, and every one after it, gets no answer, which is what a store sees of a process that is killed. The test
//! then drops the run and [buries](Control::bury) the handle: whatever still waits in the background gets an error
//! instead of waiting for ever, and nothing of that run ever reaches the store again.

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

/// How long a slow operation takes.
const SLOW: Duration = Duration::from_millis(5);

/// How long a dead run waits for the answer that does not come.
const SILENCE: Duration = Duration::from_millis(300);

/// Where a run may die, as its store sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A data file is staged.
    AfterDataFile,
    /// It is written down how far a listing has come.
    AfterCheckpoint,
    /// Nothing of a commit lies in the table's directory yet.
    BeforeMove,
    /// Some of a commit's files lie there, others do not, or one lies at both places.
    BetweenMoves,
    /// All of a commit's files lie there, and the log does not name them.
    BeforeCommit,
    /// The commit is in the log; nobody was told.
    AfterCommit,
    /// What a commit superseded, or what another run left, is all there still.
    BeforeCleanUp,
    /// Some of it is gone.
    BetweenCleanUps,
}

impl Point {
    pub const ALL: [Self; 8] = [
        Self::AfterDataFile,
        Self::AfterCheckpoint,
        Self::BeforeMove,
        Self::BetweenMoves,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::BeforeCleanUp,
        Self::BetweenCleanUps,
    ];
}

/// What is wrong with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It fails, and nothing was done.
    Refused,
    /// It is done, and yet it fails: the answer was lost on the way.
    AnswerLost,
    /// A put of a commit that fails, and is carried out later: see [`Control::carry_out_late`]. So is every further put
    /// of the same commit. Any other operation is refused.
    Late,
    /// It takes its time.
    Slow,
    /// It is the one at which the run dies, nothing done.
    Fatal,
}

/// What befalls one run's handle.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Where the run dies, and at which time that it comes there, counted from 1.
    pub death: Option<(Point, u64)>,
    /// Which of the run's operations are in trouble, counted from 1, and in which.
    pub troubles: Vec<(Range<u64>, Trouble)>,
    /// At which of the run's operations the late puts of another run are carried out, counted from 1.
    pub landing: Option<Landing>,
}

/// The late puts of another run, and before which operation of this one they are carried out.
#[derive(Clone, Debug)]
pub struct Landing {
    pub at: u64,
    pub of: Arc<Control>,
}

/// A put that is carried out later.
#[derive(Debug)]
struct LatePut {
    location: Path,
    payload: PutPayload,
    opts: PutOptions,
}

/// What an operation is to a lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    DataFile,
    Checkpoint,
    /// Anything else that is written.
    Write,
    Move,
    Commit,
    /// Something is deleted from a table.
    CleanUp,
    /// Reading, and deleting what was staged.
    Other,
}

impl Act {
    /// Something is written at `place`; whether it must not be there yet.
    fn put(place: &Path, creates: bool) -> Self {
        let name = place.filename().unwrap_or_default();
        let version = name.strip_suffix(".json").unwrap_or_default();
        let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
        match run_of(place) {
            Some(_) if name == "checkpoint.json" => Self::Checkpoint,
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

/// The run in whose staging area `place` lies, if it is in one.
pub fn run_of(place: &Path) -> Option<String> {
    place.parts().skip_while(|part| part.as_ref() != "_staged").nth(1).map(|run| run.as_ref().to_owned())
}

/// What becomes of an operation that begins.
enum Fate {
    Goes,
    Troubled(Trouble),
    Dies,
}

#[derive(Debug, Default)]
struct State {
    operations: u64,
    troubled: u64,
    dead: bool,
    /// How often the run has come to the point of its death.
    reached: u64,
    /// Files moved into place since the last commit.
    moves: u64,
    committed: bool,
    /// Files deleted from tables since the last commit.
    clean_ups: u64,
    runs: BTreeSet<String>,
    /// The numbers of the operations that put a commit into a log.
    commits: Vec<u64>,
    late: Vec<LatePut>,
}

impl State {
    fn begins(&mut self, plan: &Plan, act: Act, place: &Path) -> Fate {
        if self.dead {
            return Fate::Dies;
        }
        self.operations += 1;
        if act == Act::Commit {
            self.commits.push(self.operations);
        }
        let point = match act {
            Act::Move if self.moves == 0 => Some(Point::BeforeMove),
            Act::Move => Some(Point::BetweenMoves),
            Act::Commit => Some(Point::BeforeCommit),
            Act::CleanUp if !self.committed => None,
            Act::CleanUp if self.clean_ups == 0 => Some(Point::BeforeCleanUp),
            Act::CleanUp => Some(Point::BetweenCleanUps),
            Act::DataFile | Act::Checkpoint | Act::Write | Act::Other => None,
        };
        let trouble = plan.troubles.iter().find(|(which, _)| which.contains(&self.operations)).map(|(_, what)| *what);
        let is_late = act == Act::Commit && self.late.iter().any(|put| put.location == *place);
        let trouble = match trouble.or(is_late.then_some(Trouble::Late)) {
            Some(Trouble::Late) if act != Act::Commit => Some(Trouble::Refused),
            trouble => trouble,
        };
        if self.reaches(plan, point) || trouble == Some(Trouble::Fatal) {
            self.dead = true;
            return Fate::Dies;
        }
        // A run writes to its own area only, and clears up those of others.
        if trouble.is_some() || matches!(act, Act::DataFile | Act::Checkpoint | Act::Write) {
            self.runs.extend(run_of(place));
        }
        self.troubled += u64::from(trouble.is_some());
        trouble.map_or(Fate::Goes, Fate::Troubled)
    }

    /// Takes in that `act` has been done; says whether the run dies of it.
    fn ends(&mut self, plan: &Plan, act: Act) -> bool {
        let point = match act {
            Act::DataFile => Some(Point::AfterDataFile),
            Act::Checkpoint => Some(Point::AfterCheckpoint),
            Act::Commit => Some(Point::AfterCommit),
            Act::Write | Act::Move | Act::CleanUp | Act::Other => None,
        };
        match act {
            Act::Move => self.moves += 1,
            Act::CleanUp => self.clean_ups += 1,
            Act::Commit => (self.moves, self.committed, self.clean_ups) = (0, true, 0),
            Act::DataFile | Act::Checkpoint | Act::Write | Act::Other => {}
        }
        let dies = self.reaches(plan, point);
        self.dead |= dies;
        dies
    }

    fn reaches(&mut self, plan: &Plan, point: Option<Point>) -> bool {
        let Some((_, time)) = plan.death.filter(|(death, _)| point == Some(*death)) else { return false };
        self.reached += 1;
        self.reached == time
    }
}

/// What a test knows of a handle, and does to it.
#[derive(Debug)]
pub struct Control {
    plan: Plan,
    state: Mutex<State>,
    died: Notify,
    buried: CancellationToken,
}

impl Control {
    /// Waits until the run is dead.
    pub async fn died(&self) {
        self.died.notified().await;
    }

    /// Lets the run die now.
    pub fn die(&self) {
        self.state().dead = true;
        self.died.notify_one();
    }

    /// Lets everything fail that still waits for an answer, and everything that comes after it: the run is gone.
    pub fn bury(&self) {
        self.state().dead = true;
        self.buried.cancel();
    }

    /// How many operations have begun.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Whether any operation was in trouble.
    pub fn was_troubled(&self) -> bool {
        self.state().troubled > 0
    }

    /// The numbers of the operations that put a commit into a log, or tried to.
    pub fn commits(&self) -> Vec<u64> {
        self.state().commits.clone()
    }

    /// Whether a commit is still to be carried out.
    pub fn is_awaited(&self) -> bool {
        !self.state().late.is_empty()
    }

    /// Carries out, over `store`, the puts that failed and come late.
    pub async fn carry_out_late(&self, store: &dyn ObjectStore) {
        let late = std::mem::take(&mut self.state().late);
        for LatePut { location, payload, opts } in late {
            // Nobody hears what becomes of it.
            let _ = store.put_opts(&location, payload, opts).await;
        }
    }

    /// The run that used this handle, and others whose staging areas it was troubled in.
    pub fn runs(&self) -> BTreeSet<String> {
        self.state().runs.clone()
    }

    /// The late puts that are due before the operation that begins now.
    fn landing(&self) -> Option<Landing> {
        self.plan.landing.clone().filter(|landing| self.operations() + 1 >= landing.at)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work`, which is an `act` at `place`, as far as the plan lets it.
    async fn through<T: Send>(
        &self,
        act: Act,
        place: &Path,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let fate = self.state().begins(&self.plan, act, place);
        match fate {
            Fate::Dies | Fate::Troubled(Trouble::Fatal) => return self.silence().await,
            Fate::Troubled(Trouble::Refused) => return Err(on_purpose("refused")),
            Fate::Troubled(Trouble::Late) => return Err(on_purpose("no answer yet")),
            Fate::Troubled(Trouble::Slow) => tokio::time::sleep(SLOW).await,
            Fate::Goes | Fate::Troubled(Trouble::AnswerLost) => {}
        }
        let done = work.await?;
        let dies = self.state().ends(&self.plan, act);
        if dies {
            return self.silence().await;
        }
        if matches!(fate, Fate::Troubled(Trouble::AnswerLost)) {
            Err(on_purpose("the answer was lost"))
        } else {
            Ok(done)
        }
    }

    /// No answer for as long as anybody could wait for it. Whoever waits for one without letting others go on, as the
    /// writer of a log's checkpoint does, is let go soon, to find that the run is dead.
    async fn silence<T>(&self) -> Result<T> {
        self.died.notify_one();
        let _ = tokio::time::timeout(SILENCE, self.buried.cancelled()).await;
        Err(on_purpose("the run is dead"))
    }
}

fn on_purpose(what: &'static str) -> Error {
    Error::Generic { store: "FaultyStore", source: what.into() }
}

/// One run's handle on a store. See the [module](self).
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    control: Arc<Control>,
}

impl FaultyStore {
    /// A handle on `inner` to which befalls what `plan` says.
    pub fn over(inner: Arc<dyn ObjectStore>, plan: Plan) -> Self {
        let control = Control { plan, state: Mutex::default(), died: Notify::new(), buried: CancellationToken::new() };
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

/// `rename` is the trait's own: a copy and a deletion, each of which may fail, as on S3.
#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let act = Act::put(location, opts.mode == PutMode::Create);
        if let Some(landing) = self.control.landing() {
            landing.of.carry_out_late(&self.inner).await;
        }
        let put = self.inner.put_opts(location, payload.clone(), opts.clone());
        let put = self.control.through(act, location, put).await;
        if put.as_ref().is_err_and(|error| error.to_string().contains("no answer yet")) {
            self.control.state().late.push(LatePut { location: location.clone(), payload, opts });
        }
        put
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let begun = self.inner.put_multipart_opts(location, opts);
        let inner = self.control.through(Act::Write, location, begun).await?;
        Ok(Box::new(FaultyUpload { inner, control: self.control(), place: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if let Some(landing) = self.control.landing() {
            landing.of.carry_out_late(&self.inner).await;
        }
        self.control.through(Act::Other, location, self.inner.get_opts(location, options)).await
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
        self.control.through(Act::Other, &place, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.control.through(Act::copy(to), to, self.inner.copy_opts(from, to, options)).await
    }
}

async fn delete(inner: Arc<dyn ObjectStore>, control: Arc<Control>, place: Path) -> Result<Path> {
    control.through(Act::delete(&place), &place, inner.delete(&place)).await?;
    Ok(place)
}

async fn list(
    inner: Arc<dyn ObjectStore>,
    control: Arc<Control>,
    prefix: Option<Path>,
) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
    let place = prefix.clone().unwrap_or_default();
    control.through(Act::Other, &place, std::future::ready(Ok(()))).await?;
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
        self.control.through(Act::put(&self.place, false), &self.place, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.control.through(Act::Other, &self.place, self.inner.abort()).await
    }
}
