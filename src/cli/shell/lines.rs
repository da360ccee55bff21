//! The input of a shell: an editor of whole statements with history and completion.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};

use crate::cli::config;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use tokio::sync::oneshot;

use super::completion::CompletionWords;
use super::statements::is_complete;

/// The number of statements in the history.
const HISTORY_SIZE: usize = 2000;

/// The result of reading a statement or command.
#[derive(Debug)]
pub enum InputLine {
    /// The text, which can have several lines.
    Text(String),
    /// Ctrl-C: the typed input is discarded.
    Interrupted,
    /// Ctrl-D, or the end of a file.
    End,
    /// Nothing can be read, with the reason.
    Failed(String),
}

/// A source of input for a shell.
pub trait LineSource {
    /// Shows `prompt` and reads up to the end of a statement.
    async fn read_line(&mut self, prompt: &str) -> InputLine;

    /// Adds a statement or command to the history.
    fn add_to_history(&mut self, text: &str);

    /// Sets the words that can be completed.
    fn set_words(&mut self, words: CompletionWords);
}

/// An interactive line editor. Waiting for a key blocks, so the editor runs on its own thread.
pub struct LineEditor {
    requests: Sender<EditorRequest>,
    words: Arc<RwLock<CompletionWords>>,
}

/// A request to the editor thread.
enum EditorRequest {
    ReadLine { prompt: String, reply: oneshot::Sender<InputLine> },
    AddToHistory(String),
}

impl LineEditor {
    /// Starts the editor thread.
    pub fn start() -> Self {
        let (requests, received) = channel();
        let words = Arc::new(RwLock::new(CompletionWords::default()));
        let helper = CompletionHelper(Arc::clone(&words));
        std::thread::spawn(move || serve(&received, helper, history_file().as_deref()));
        Self { requests, words }
    }
}

impl LineSource for LineEditor {
    async fn read_line(&mut self, prompt: &str) -> InputLine {
        let (reply, line) = oneshot::channel();
        let _ = self.requests.send(EditorRequest::ReadLine { prompt: prompt.to_owned(), reply });
        line.await.unwrap_or(InputLine::End)
    }

    fn add_to_history(&mut self, text: &str) {
        let _ = self.requests.send(EditorRequest::AddToHistory(text.to_owned()));
    }

    fn set_words(&mut self, words: CompletionWords) {
        *self.words.write().unwrap_or_else(PoisonError::into_inner) = words;
    }
}

/// Serves requests until the [`LineEditor`] is dropped.
fn serve(requests: &Receiver<EditorRequest>, helper: CompletionHelper, history: Option<&Path>) {
    let mut editor = editor(helper);
    if let (Ok(editor), Some(history)) = (&mut editor, history) {
        // The file does not exist the first time.
        let _ = editor.load_history(history);
    }
    while let Ok(request) = requests.recv() {
        match (request, &mut editor) {
            (EditorRequest::ReadLine { prompt, reply }, Ok(editor)) => drop(reply.send(read_line(editor, &prompt))),
            (EditorRequest::ReadLine { reply, .. }, Err(error)) => {
                drop(reply.send(InputLine::Failed(error.to_string())));
            }
            (EditorRequest::AddToHistory(text), Ok(editor)) => add_to_history(editor, &text, history),
            (EditorRequest::AddToHistory(_), Err(_)) => {}
        }
    }
}

fn editor(helper: CompletionHelper) -> rustyline::Result<Editor<CompletionHelper, DefaultHistory>> {
    let config = Config::builder().completion_type(CompletionType::List).max_history_size(HISTORY_SIZE)?.build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(helper));
    Ok(editor)
}

fn read_line(editor: &mut Editor<CompletionHelper, DefaultHistory>, prompt: &str) -> InputLine {
    match editor.readline(prompt) {
        Ok(text) => InputLine::Text(text),
        Err(ReadlineError::Interrupted) => InputLine::Interrupted,
        Err(ReadlineError::Eof) => InputLine::End,
        Err(error) => InputLine::Failed(error.to_string()),
    }
}

fn add_to_history(editor: &mut Editor<CompletionHelper, DefaultHistory>, text: &str, history: Option<&Path>) {
    let added = editor.add_history_entry(text).unwrap_or(false);
    if let (true, Some(history)) = (added, history)
        && editor.append_history(history).is_ok()
    {
        restrict_permissions(history);
    }
}

/// Returns the history file. It is in a directory that only the user can read; creates that directory.
fn history_file() -> Option<PathBuf> {
    let directory = |variable| config::environment(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = directory("XDG_STATE_HOME").or_else(|| directory("HOME").map(|home| home.join(".local/state")))?;
    let folder = state.join("clerk-lake");
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder).ok()?;
    Some(folder.join("history"))
}

/// Makes the history readable only by the user, because statements may contain personal data.
fn restrict_permissions(file: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = fs::set_permissions(file, fs::Permissions::from_mode(0o600));
    }
    #[cfg(not(unix))]
    let _ = file;
}

/// Completes names and keywords, and tells whether a statement has ended.
struct CompletionHelper(Arc<RwLock<CompletionWords>>);

impl Completer for CompletionHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let words = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (start, found) = words.complete(line.get(..at).unwrap_or_default(), line.get(at..).unwrap_or_default());
        let pair = |word: String| Pair { display: word.clone(), replacement: word };
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

impl Hinter for CompletionHelper {
    type Hint = String;
}

impl Highlighter for CompletionHelper {}

/// Enter adds a line until the statement ends with a `;`.
impl Validator for CompletionHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let is_whole = is_exit(context.input()) || is_complete(context.input());
        Ok(if is_whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

/// Whether `text` leaves the shell without a backslash, as in other shells.
pub fn is_exit(text: &str) -> bool {
    matches!(text.trim().trim_end_matches(';'), "exit" | "quit")
}

impl Helper for CompletionHelper {}
