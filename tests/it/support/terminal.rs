//! A real terminal (PTY) around the real program, and what a person sees on it.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// How long the program may take until it shows what a test waits for.
const PATIENCE: Duration = Duration::from_mins(1);

/// The rows of the terminal. They are so many that nothing scrolls out of view.
const ROWS: u16 = 250;

/// Key presses.
pub const ENTER: &str = "\r";
pub const TAB: &str = "\t";
pub const UP: &str = "\u{1b}[A";
pub const CTRL_C: &str = "\u{3}";
pub const CTRL_D: &str = "\u{4}";

/// What the program has written so far.
#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    has_ended: bool,
}

/// A program that runs on a terminal.
pub struct PseudoTerminal {
    child: Box<dyn Child + Send + Sync>,
    keyboard: Box<dyn Write + Send>,
    received: Arc<(Mutex<Received>, Condvar)>,
    columns: u16,
    /// The number of bytes in which earlier calls have found what they waited for.
    seen: usize,
    _master: Box<dyn MasterPty + Send>,
}

impl PseudoTerminal {
    /// Starts `command` on a terminal with this many columns.
    pub fn start(command: &Command, columns: u16) -> Self {
        let size = PtySize { rows: ROWS, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let mut builder = CommandBuilder::new(command.get_program());
        builder.env_clear();
        builder.args(command.get_args());
        for (name, value) in command.get_envs() {
            builder.env(name, value.unwrap_or_default());
        }
        if command.get_envs().all(|(name, _)| name != "TERM") {
            builder.env("TERM", "xterm");
        }
        builder.cwd(command.get_current_dir().expect("a directory"));
        let child = pair.slave.spawn_command(builder).expect("the program starts");
        drop(pair.slave);
        let received = Arc::<(Mutex<Received>, Condvar)>::default();
        let mut output = pair.master.try_clone_reader().expect("a reader");
        let shared = Arc::clone(&received);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Linux reports the end of a terminal as an error.
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                shared.0.lock().expect("the bytes").bytes.extend_from_slice(&buffer[..length]);
                shared.1.notify_all();
            }
            shared.0.lock().expect("the bytes").has_ended = true;
            shared.1.notify_all();
        });
        let keyboard = pair.master.take_writer().expect("a writer");
        Self { child, keyboard, received, columns, seen: 0, _master: pair.master }
    }

    /// Presses `keys`.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).and_then(|()| self.keyboard.flush()).expect("the program reads");
    }

    /// Waits until the program has written `text` after what earlier calls waited for.
    pub fn wait_for(&mut self, text: &str) {
        let seen = self.seen;
        let end = |bytes: &[u8]| {
            let at = bytes[seen..].windows(text.len()).position(|window| window == text.as_bytes())?;
            Some(seen + at + text.len())
        };
        self.seen = self.wait_until(&format!("{text:?}"), end);
    }

    /// Waits until the screen shows `prompt` for the time with this `number`, with nothing typed after it. An editor
    /// writes its prompt again while a line is typed, so the bytes alone do not tell.
    pub fn wait_for_prompt(&mut self, prompt: &str, number: usize) {
        let columns = self.columns;
        let is_shown = |bytes: &[u8]| {
            let screen = screen_of(bytes, columns);
            let count = screen.lines().filter(|line| line.starts_with(prompt.trim_end())).count();
            let is_last = screen.lines().last() == Some(prompt.trim_end());
            (count == number && is_last).then_some(bytes.len())
        };
        self.seen = self.wait_until(&format!("prompt {number}"), is_shown);
    }

    /// Waits until `find` finds something in the bytes received so far.
    fn wait_until<T>(&self, what: &str, find: impl Fn(&[u8]) -> Option<T>) -> T {
        let begun = Instant::now();
        let mut received = self.received.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = find(&received.bytes) {
                return found;
            }
            let is_late = received.has_ended || begun.elapsed() > PATIENCE;
            assert!(!is_late, "{what} does not come:\n{}", String::from_utf8_lossy(&received.bytes));
            let waited = self.received.1.wait_timeout(received, Duration::from_millis(100));
            received = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the program has ended. Returns its exit code.
    pub fn exit_code(&mut self) -> u32 {
        let code = self.child.wait().expect("the program ends").exit_code();
        let mut received = self.received.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !received.has_ended {
            received = self.received.1.wait(received).unwrap_or_else(PoisonError::into_inner);
        }
        code
    }

    /// Returns all that the program has written, with its control sequences.
    pub fn written(&self) -> String {
        let received = self.received.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(received.bytes.clone()).expect("text")
    }

    /// Returns what a person sees.
    pub fn screen(&self) -> String {
        let received = self.received.0.lock().unwrap_or_else(PoisonError::into_inner);
        screen_of(&received.bytes, self.columns)
    }
}

/// Returns what a terminal shows after `bytes`, without empty lines at the end.
fn screen_of(bytes: &[u8], columns: u16) -> String {
    let size = |size: u16| size.try_into().expect("a size");
    let mut parser = vt100::Parser::new(size(ROWS), size(columns), 0);
    parser.process(bytes);
    let lines: String = parser.screen().contents().lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    lines.trim_end().to_owned() + "\n"
}

impl Drop for PseudoTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
