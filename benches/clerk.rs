//! A simulated Clerk instance in a separate process.

#![expect(clippy::print_stderr, reason = "the seed is needed to repeat a run")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use clerk_lake::clock::Clock;

/// The secret key of all simulated instances.
pub const KEY: &str = "sk_live_simulated";

#[expect(clippy::disallowed_methods, reason = "environment variables are the only settings of the benches")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Returns the size set by the environment variable `name`, or `default`.
///
/// Panics if the value is not a whole number. Underscores are allowed.
pub fn size(name: &str, default: usize) -> usize {
    let Some(text) = environment(name) else { return default };
    text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not {text:?}"))
}

/// Returns the random seed: `CLERK_LAKE_BENCH_SEED` if set, otherwise a different number for each run. Prints it once.
pub fn seed() -> u64 {
    static SEED: LazyLock<u64> = LazyLock::new(|| {
        let seed = match environment("CLERK_LAKE_BENCH_SEED") {
            Some(text) => text.parse().expect("CLERK_LAKE_BENCH_SEED is a whole number"),
            None => Clock::system().now().timestamp_micros().unsigned_abs(),
        };
        eprintln!("random seed: CLERK_LAKE_BENCH_SEED={seed}");
        seed
    });
    *SEED
}

/// Returns a command that runs the program with an empty environment.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clerk-lake"));
    command.env_clear().current_dir(std::env::temp_dir());
    command
}

/// A simulated instance in a separate process, so that its work does not count in the measurement.
///
/// Dropping it ends the process.
pub struct Simulator {
    process: Child,
    /// The server's base URL, for `--api-url`.
    pub url: String,
}

impl Simulator {
    /// Starts an instance with `users` users. `arguments` are additional arguments of `simulate`.
    pub fn start(users: usize, arguments: &[&str]) -> Self {
        let mut process = program()
            .args(["simulate", "--address", "127.0.0.1:0", "--simulated-key", KEY, "--organizations", "0"])
            .args(["--users", &users.to_string(), "--seed", &seed().to_string()])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let out = process.stdout.take().expect("standard output is piped");
        let mut simulator = Self { process, url: String::new() };
        BufReader::new(out).read_line(&mut simulator.url).expect("a line with the URL");
        simulator.url = simulator.url.trim_end().to_owned();
        assert!(simulator.url.starts_with("http"), "the simulator did not start: {:?}", simulator.url);
        simulator
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // This fails if the process has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
