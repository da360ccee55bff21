//! The benches: each part of the data's way beside its bound, in one table.
//!
//! `cargo bench --bench bench` runs all of them, `cargo bench --bench bench -- write` those of one file. What is
//! read and written is drawn from a seed that differs at every run; it is printed, and `CLERK_LAKE_BENCH_SEED`
//! fixes it. Sizes: `CLERK_LAKE_BENCH_ROWS` (writing), `CLERK_LAKE_BENCH_USERS` (commits),
//! `CLERK_LAKE_BENCH_SCAN_USERS` (listing) and `CLERK_LAKE_BENCH_DAU_USERS` (the query).

mod clerk;
#[cfg(feature = "ballista-test")]
#[path = "../tests/ballista/cluster.rs"]
#[expect(dead_code, reason = "shared with the tests, which let executors die")]
mod cluster;
mod commit;
mod daily_active_users;
mod decode;
mod lakes;
mod pages;
mod parse;
mod plain_read;
mod rows;
mod scan;
mod support;
mod write;

fn main() {
    let _removal = lakes::remove_kept_at_the_end();
    divan::main();
}
