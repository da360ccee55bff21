//! What the tests of the pages do not run as it stands, and why. Each entry must occur in a page.

use crate::support::s3::BUCKET;

/// Why an example is not run.
#[derive(Clone, Copy)]
pub enum Reason {
    /// `.ci/interop_readers.py` reads a lake in this way; it contains this text.
    Interop(&'static str),
    /// Something else. The flags of `clerk-lake` are checked in any case.
    Because(&'static str),
}

use Reason::{Because, Interop};

/// The examples that are not run. An entry that ends with `…` stands for all that begin like it.
pub const NOT_RUN: &[(&str, Reason)] = &[
    ("cargo …", Because("builds, installs or tests the project itself")),
    ("pip …", Because("installs Python packages: .ci/wheel builds and installs the wheel")),
    ("maturin …", Because("builds the wheel, as .ci/wheel does")),
    (".ci/wheel", Because("builds a release program")),
    (".ci/screenshot", Because("needs a release program and Chromium")),
    (".ci/run", Because("runs the tests itself")),
    ("aws …", Because("needs an AWS account")),
    ("ballista-scheduler …", Because("needs a cluster: tests/ballista starts one")),
    ("ballista-executor …", Because("needs a cluster: tests/ballista starts one")),
    ("clerk-lake query --lake s3://bucket/clerk --engine …", Because("needs a cluster: tests/ballista starts one")),
    ("clerk-lake report --lake s3://bucket/clerk --engine …", Because("needs a cluster: tests/ballista starts one")),
    ("clerk-lake query", Because("opens the shell, which needs a terminal: tests/it/shell.rs")),
    ("clerk-lake simulate …", Because("runs until it is stopped: the commands after it use the simulator of the test")),
    ("-- DuckDB…", Interop("delta_scan('")),
    ("DuckDB      SELECT count(*) FROM delta_scan(…", Interop("delta_scan('")),
    ("Polars      polars.scan_delta(…", Interop("polars.scan_delta(")),
    ("deltalake   deltalake.DeltaTable(…", Interop("delta.to_pyarrow_table(")),
    ("DataFusion  context.register_table(…", Interop("context.register_table(")),
    ("Spark       spark.read.format(\"delta\")…", Because("the page says that delta-spark is not tested")),
    ("Trino       CALL delta.system.register_table(…", Because("the page says that Trino is not tested")),
    ("DuckDB      SELECT count(*) FROM read_parquet(…", Interop("read_parquet('")),
    ("Polars      polars.scan_parquet(…", Interop("polars.scan_parquet(")),
    ("pandas      pandas.read_parquet(…", Interop("pandas.read_parquet(")),
    ("PyArrow     pyarrow.dataset.dataset(…", Interop("pyarrow.dataset.dataset(")),
    ("DataFusion  CREATE EXTERNAL TABLE clerk_user…", Interop("CREATE EXTERNAL TABLE")),
    ("Spark       spark.read.parquet(…", Interop("spark.read.parquet(")),
];

/// A text in a page, and what the tests run instead.
pub struct Replacement {
    pub shown: &'static str,
    pub run: String,
}

/// Returns the replacements. `simulator` is the URL of the simulated instance, and `tomorrow` a date.
pub fn replacements(simulator: &str, tomorrow: &str) -> Vec<Replacement> {
    let replacement = |shown, run: &str| Replacement { shown, run: run.to_owned() };
    vec![
        replacement("clerk-lake demo", "clerk-lake demo --days 3 --users 150"),
        replacement("http://127.0.0.1:8787", simulator),
        replacement("s3://bucket/", &format!("s3://{BUCKET}/")),
        // Versions of a table are as old as its commits, and those of the test's lake have just been made.
        replacement("--at 2026-11-20", &format!("--at {tomorrow}")),
        replacement("/etc/clerk-lake/key", "./key"),
        replacement("/var/log/", "./"),
        replacement("/srv/", "./"),
    ]
}
