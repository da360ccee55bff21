//! The pager of the shell: a program that shows long output page by page.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};

use crate::cli::config::environment;

/// The pager if `PAGER` is not set: it ends by itself if everything fits on the screen, keeps text styles, does not
/// wrap long lines, and leaves its output on the screen.
const DEFAULT_PAGER: &str = "less -FRSX";

/// Output that goes to a pager. The pager starts with the first byte, and is waited for at the end.
pub struct Pager<'o> {
    /// The command of the pager; `None` if the output is not paged.
    command: Option<String>,
    process: Option<Child>,
    /// The terminal.
    out: &'o mut (dyn Write + Send),
}

impl<'o> Pager<'o> {
    /// Returns output through `command`, or else directly to `out`.
    pub fn new(command: Option<String>, out: &'o mut (dyn Write + Send)) -> Self {
        Self { command, process: None, out }
    }

    /// Returns the command for the value of `PAGER`; `None` if it is empty, so that nothing is paged.
    pub fn command(variable: Option<String>) -> Option<String> {
        variable
            .map_or_else(|| Some(DEFAULT_PAGER.to_owned()), |text| Some(text).filter(|text| !text.trim().is_empty()))
    }

    /// Starts the pager if there is one. If that fails, the output is not paged.
    fn start(&mut self) -> io::Result<()> {
        let Some(command) = self.command.take() else { return Ok(()) };
        self.out.flush()?;
        let program = command.split_whitespace().next().unwrap_or_default();
        if !is_program(program) {
            return writeln!(self.out, "there is no pager {program}: set PAGER, or turn it off with PAGER=");
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).stdin(Stdio::piped());
        if environment("LESSCHARSET").is_none() {
            // Without a locale, less shows the bytes of a character such as `…` as escapes.
            shell.env("LESSCHARSET", "utf-8");
        }
        self.process = shell.spawn().ok();
        Ok(())
    }

    /// Waits until the pager has been left.
    pub fn close(&mut self) {
        let _ = self.out.flush();
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }
}

/// Whether `sh` knows a program of this name.
fn is_program(name: &str) -> bool {
    let mut check = Command::new("sh");
    check.args(["-c", "command -v \"$1\"", "sh", name]).stdin(Stdio::null()).stdout(Stdio::null());
    check.status().is_ok_and(|status| status.success())
}

impl Write for Pager<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.start()?;
        match self.process.as_mut().map(|process| &mut process.stdin) {
            Some(Some(pager)) => pager.write(bytes),
            Some(None) | None => self.out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.process.as_mut().map(|process| &mut process.stdin) {
            Some(Some(pager)) => pager.flush(),
            Some(None) | None => self.out.flush(),
        }
    }
}

impl Drop for Pager<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_turns_the_pager_off() {
        assert_eq!(Pager::command(None).as_deref(), Some(DEFAULT_PAGER));
        assert_eq!(Pager::command(Some("more".to_owned())).as_deref(), Some("more"));
        assert_eq!(Pager::command(Some(" ".to_owned())), None);
    }

    #[test]
    fn without_a_pager_the_output_is_printed() {
        for command in [None, Some("no-such-pager --now".to_owned())] {
            let mut out = Vec::new();
            let is_missing = command.is_some();
            let mut pager = Pager::new(command, &mut out);
            pager.write_all(b"rows\n").expect("bytes");
            drop(pager);
            let text = String::from_utf8(out).expect("text");
            assert!(text.ends_with("rows\n"), "{text}");
            assert_eq!(text.contains("there is no pager no-such-pager"), is_missing, "{text}");
        }
    }

    #[test]
    fn the_pager_gets_the_output_and_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("paged");
        let mut out = Vec::new();
        let mut pager = Pager::new(Some(format!("cat > {}", file.display())), &mut out);
        pager.write_all(b"rows\n").expect("bytes");
        drop(pager);
        assert_eq!(std::fs::read(&file).expect("a file"), b"rows\n");
        assert!(out.is_empty());
    }
}
