//! A directory in which the examples of one page run, with a lake, a simulated instance and a bucket.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::TimeDelta;
use clerk_lake::clock::Clock;
use tempfile::TempDir;

use super::exceptions::{Replacement, replacements};
use crate::support::s3::S3;
use crate::support::terminal::PseudoTerminal;
use crate::support::{World, files, output, program, stderr, stdout};

/// The secret key that the pages use with the simulator.
const KEY: &str = "sk_live_simulated";

/// The lakes that the pages name. Each sandbox has them.
const LAKES: [&str; 3] = ["clerk-lake-data", "production", "staging"];

/// The other files that the examples need.
const FILES: [(&str, &str); 6] = [
    // Without it, curl succeeds whatever the server answers.
    (".curlrc", "fail\nsilent\n"),
    ("key", KEY),
    ("plans.csv", "id,plan\ncrm-00000000,pro\n"),
    ("people.csv", "email,plan\nsomebody@example.com,pro\n"),
    ("queries.sql", "SELECT count(*) FROM clerk_user;\nSELECT count(*) FROM clerk_session;\n"),
    ("my-queries/users_twice.sql", "-- title: Users, twice\nSELECT 2 * count(*) AS users FROM clerk_user\n"),
];

/// A simulated instance and a lake of it, for all pages.
pub struct Prepared {
    world: World,
    lake: Vec<(PathBuf, Vec<u8>)>,
}

impl Prepared {
    /// Syncs a small instance four times. The lake keeps old versions and has the change data feed.
    pub async fn new() -> Self {
        let world = World::with(|config| {
            config.users = 120;
            config.organizations = 8;
            config.activity_days = 20;
            KEY.clone_into(&mut config.key);
        })
        .await;
        for _ in 0..4 {
            let mut sync = program(world.directory.path());
            sync.args(["sync", "--lake", "lake", "--change-data-feed", "--history", "7d"]);
            sync.env("CLERK_SECRET_KEY", KEY).env("CLERK_LAKE_API_URL", world.simulator.url());
            let synced = output(sync).await;
            assert!(synced.status.success(), "{}", stderr(&synced));
            let change = format!("{}/_simulator/change?kind=create-user&count=2", world.simulator.url());
            let changed = reqwest::Client::new().post(change).send().await.expect("the simulator answers");
            assert!(changed.status().is_success(), "{changed:?}");
        }
        let lake = files(&world.path());
        Self { world, lake }
    }

    pub async fn sandbox(&self) -> Sandbox {
        let directory = tempfile::tempdir().expect("a directory");
        for (path, content) in
            LAKES.iter().flat_map(|lake| self.lake.iter().map(move |(path, it)| (Path::new(lake).join(path), it)))
        {
            write(&directory.path().join(path), content);
        }
        for (path, content) in FILES {
            write(&directory.path().join(path), content.as_bytes());
        }
        let tomorrow = (Clock::system().now() + TimeDelta::days(1)).date_naive().to_string();
        let url = self.world.simulator.url();
        Sandbox {
            directory,
            replacements: replacements(&url, &tomorrow),
            url,
            s3: S3::start().await,
            exports: String::new(),
        }
    }
}

fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(path, content).expect("a file");
}

/// A directory for the examples of one page.
pub struct Sandbox {
    directory: TempDir,
    url: String,
    s3: S3,
    replacements: Vec<Replacement>,
    /// The `export` commands so far.
    exports: String,
}

impl Sandbox {
    /// Runs a command with `sh` and returns what it prints to standard output.
    ///
    /// # Errors
    /// If the exit code is not 0.
    pub fn run(&self, command: &str) -> Result<String, String> {
        let run = self.replaced(command);
        let done = self.shell().arg(format!("{}{run}", self.exports)).output().expect("sh runs");
        if done.status.success() {
            return Ok(stdout(&done));
        }
        Err(format!("{run}\n{}: {}", done.status, stderr(&done)))
    }

    /// Returns `text` with what the tests run instead of what a page shows.
    fn replaced(&self, text: &str) -> String {
        self.replacements.iter().fold(text.to_owned(), |text, it| text.replace(it.shown, &it.run))
    }

    /// Runs a command on a terminal and returns what a person sees.
    ///
    /// # Errors
    /// If the exit code is not 0.
    pub fn run_on_terminal(&self, command: &str) -> Result<String, String> {
        let mut shell = self.shell();
        shell.arg(format!("{}{}", self.exports, self.replaced(command)));
        let mut terminal = PseudoTerminal::start(&shell, 100);
        let code = terminal.exit_code();
        if code == 0 { Ok(terminal.screen()) } else { Err(format!("{command}\n{code}: {}", terminal.screen())) }
    }

    fn shell(&self) -> Command {
        let programs = Path::new(env!("CARGO_BIN_EXE_clerk-lake")).parent().expect("a directory");
        let mut shell = Command::new("sh");
        shell.arg("-c").current_dir(self.directory.path()).env_clear().stdin(Stdio::null());
        shell.env("PATH", format!("{}:/usr/bin:/bin", programs.display())).env("HOME", self.directory.path());
        shell.env("CLERK_SECRET_KEY", KEY).env("CLERK_LAKE_API_URL", &self.url).envs(self.s3.environment());
        shell
    }

    /// Sets environment variables for later commands. A value with `…` is left to the reader, and not set.
    pub fn export(&mut self, command: &str) {
        if !command.contains('…') {
            self.exports.extend([command, "\n"]);
        }
    }

    pub fn write(&self, path: &str, content: &str) {
        write(&self.directory.path().join(path), self.replaced(content).as_bytes());
    }

    pub fn has(&self, path: &str) -> bool {
        self.directory.path().join(path).exists()
    }

    /// Returns the paths of all files, relative to the directory.
    pub fn files(&self) -> Vec<String> {
        files(self.directory.path()).into_iter().map(|(path, _)| path.to_string_lossy().into_owned()).collect()
    }
}
