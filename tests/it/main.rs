//! The integration tests: the library and the real binary against the simulator, over real HTTP and real files.

mod architecture;
mod command_line;
mod errors;
mod faults;
mod full_sync;
mod parquet_readers;
mod secrets;
mod support;
