//! A simulated Clerk in a process of its own.

#![expect(clippy::print_stderr, reason = "the seed must be known to whoever wants the same run again")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use clerk_lake::clock::Clock;

/// The key of every simulated instance here.
pub const KEY: &str = "sk_live_simulated";

#[expect(clippy::disallowed_methods, reason = "benches are set by the environment alone")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A size that the environment may set.
pub fn size(name: &str, default: usize) -> usize {
    let Some(text) = environment(name) else { return default };
    text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name} must be a whole number, and is {text:?}"))
}

/// What everything is drawn from: another number at every run, unless `CLERK_LAKE_BENCH_SEED` says which.
pub fn seed() -> u64 {
    static SEED: LazyLock<u64> = LazyLock::new(|| {
        let seed = match environment("CLERK_LAKE_BENCH_SEED") {
            Some(text) => text.parse().expect("CLERK_LAKE_BENCH_SEED is a whole number"),
            None => Clock::system().now().timestamp_micros().unsigned_abs(),
        };
        eprintln!("everything is drawn from CLERK_LAKE_BENCH_SEED={seed}");
        seed
    });
    *SEED
}

/// The real program, with an environment of its own.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clerk-lake"));
    command.env_clear().current_dir(std::env::temp_dir());
    command
}

/// A simulated instance in a process of its own, so that its work is not counted here. Dropping it ends it.
pub struct Simulator {
    process: Child,
    /// Where it listens, for `--api-url`.
    pub url: String,
}

impl Simulator {
    /// Starts an instance of `users` users, with more arguments of `simulate`.
    pub fn start(users: usize, arguments: &[&str]) -> Self {
        let mut process = program()
            .args(["simulate", "--address", "127.0.0.1:0", "--simulated-key", KEY, "--organizations", "0"])
            .args(["--users", &users.to_string(), "--seed", &seed().to_string()])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let out = process.stdout.take().expect("its standard output");
        let mut simulator = Self { process, url: String::new() };
        BufReader::new(out).read_line(&mut simulator.url).expect("a line that says where it listens");
        simulator.url = simulator.url.trim_end().to_owned();
        assert!(simulator.url.starts_with("http"), "the simulator did not start: {:?}", simulator.url);
        simulator
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
