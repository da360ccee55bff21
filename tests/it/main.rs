//! The integration tests: the library and the real binary against the simulator, over real HTTP and real files.

mod architecture;
mod command_line;
mod data_files;
mod errors;
mod evolution;
mod faults;
mod full_sync;
mod histories;
mod incremental;
mod incremental_extent;
mod incremental_lake;
mod kills;
mod lanes;
mod leftovers;
mod operations;
mod parquet_readers;
mod queries;
mod rejected_rows;
mod resume;
mod s3;
mod secrets;
mod support;
mod upkeep;
