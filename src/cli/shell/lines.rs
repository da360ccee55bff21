//! Where a shell's lines come from: somebody who types, with history and completion.

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
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use tokio::sync::oneshot;

use super::completion::Words;

/// How many statements are remembered.
const HISTORY: usize = 2000;

/// What comes when a line is asked for.
#[derive(Debug)]
pub enum Line {
    /// A line, without its end.
    Text(String),
    /// Ctrl-C: what has been typed is not wanted.
    Interrupted,
    /// Ctrl-D, or the end of a file.
    End,
    /// There can be no lines.
    Failed(String),
}

/// Where a shell's lines come from.
pub trait Lines {
    /// The next line, asked for with `prompt`.
    async fn next(&mut self, prompt: &str) -> Line;

    /// Takes a statement or command into the history.
    fn remember(&mut self, text: &str);

    /// Takes in what there is to complete.
    fn know(&mut self, words: Words);
}

/// Somebody who types. Waiting for a key blocks, so it has a thread of its own.
pub struct Typed {
    asks: Sender<Ask>,
    words: Arc<RwLock<Words>>,
}

enum Ask {
    Line { prompt: String, reply: oneshot::Sender<Line> },
    Remember(String),
}

impl Typed {
    /// Begins to listen.
    pub fn listen() -> Self {
        let (asks, asked) = channel();
        let words = Arc::new(RwLock::new(Words::default()));
        let helper = Completing(Arc::clone(&words));
        std::thread::spawn(move || answer(&asked, helper, history().as_deref()));
        Self { asks, words }
    }
}

impl Lines for Typed {
    async fn next(&mut self, prompt: &str) -> Line {
        let (reply, line) = oneshot::channel();
        let _ = self.asks.send(Ask::Line { prompt: prompt.to_owned(), reply });
        line.await.unwrap_or(Line::End)
    }

    fn remember(&mut self, text: &str) {
        let _ = self.asks.send(Ask::Remember(text.to_owned()));
    }

    fn know(&mut self, words: Words) {
        *self.words.write().unwrap_or_else(PoisonError::into_inner) = words;
    }
}

/// Reads lines as long as they are asked for.
fn answer(asked: &Receiver<Ask>, helper: Completing, history: Option<&Path>) {
    let mut editor = editor(helper);
    if let (Ok(editor), Some(history)) = (&mut editor, history) {
        // There is none the first time.
        let _ = editor.load_history(history);
    }
    while let Ok(ask) = asked.recv() {
        match (ask, &mut editor) {
            (Ask::Line { prompt, reply }, Ok(editor)) => drop(reply.send(read(editor, &prompt))),
            (Ask::Line { reply, .. }, Err(error)) => drop(reply.send(Line::Failed(error.to_string()))),
            (Ask::Remember(text), Ok(editor)) => remember(editor, &text, history),
            (Ask::Remember(_), Err(_)) => {}
        }
    }
}

fn editor(helper: Completing) -> rustyline::Result<Editor<Completing, DefaultHistory>> {
    let config = Config::builder().completion_type(CompletionType::List).max_history_size(HISTORY)?.build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(helper));
    Ok(editor)
}

fn read(editor: &mut Editor<Completing, DefaultHistory>, prompt: &str) -> Line {
    match editor.readline(prompt) {
        Ok(text) => Line::Text(text),
        Err(ReadlineError::Interrupted) => Line::Interrupted,
        Err(ReadlineError::Eof) => Line::End,
        Err(error) => Line::Failed(error.to_string()),
    }
}

fn remember(editor: &mut Editor<Completing, DefaultHistory>, text: &str, history: Option<&Path>) {
    let added = editor.add_history_entry(text).unwrap_or(false);
    if let (true, Some(history)) = (added, history)
        && editor.append_history(history).is_ok()
    {
        keep_private(history);
    }
}

/// The file of what has been typed before, in a folder that only the user can read.
fn history() -> Option<PathBuf> {
    let named = |variable| config::environment(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = named("XDG_STATE_HOME").or_else(|| named("HOME").map(|home| home.join(".local/state")))?;
    let folder = state.join("clerk-lake");
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder).ok()?;
    Some(folder.join("history"))
}

/// Statements may hold people's data.
fn keep_private(file: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = fs::set_permissions(file, fs::Permissions::from_mode(0o600));
    }
    #[cfg(not(unix))]
    let _ = file;
}

/// Completes names and keywords.
struct Completing(Arc<RwLock<Words>>);

impl Completer for Completing {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let words = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (start, found) = words.completing(line.get(..at).unwrap_or_default());
        let pair = |word: String| Pair { display: word.clone(), replacement: word };
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

impl Hinter for Completing {
    type Hint = String;
}

impl Highlighter for Completing {}

impl Validator for Completing {}

impl Helper for Completing {}
