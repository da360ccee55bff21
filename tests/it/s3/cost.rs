//! How many requests a store gets: as many as what is done needs, however many commits there are behind it.

use crate::support::s3::Operation;
use crate::support::{output, stderr};

use super::*;

impl Cloud {
    /// Runs the program; gives what the store was asked for.
    async fn asked(&self, arguments: &[&str]) -> Vec<(Operation, String)> {
        self.s3.take_log();
        let mut command = self.command(arguments);
        // As the program does by itself.
        command.env_remove("CLERK_LAKE_SESSION_REFRESH");
        let done = output(command).await;
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
        self.s3.take_log()
    }
}

/// Requests as lines, for a failure that says where they come from.
fn lines(requests: &[(Operation, String)]) -> String {
    let line = |(operation, key): &(Operation, String)| format!("{operation:?} {key}");
    requests.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_sync_and_a_query_of_one_table_ask_the_store_for_little() {
    let mut cloud = Cloud::new(150).await;
    cloud.s3.list_in_long_pages();
    for round in 0..3 {
        for _ in 0..round * 4 {
            cloud.change(1);
            cloud.asked(&SYNC).await;
        }
        cloud.hours += 1;
        set_clock(&cloud.world, NOW + cloud.hours * HOUR);
        cloud.asked(&SYNC).await;
        cloud.hours += 1;
        set_clock(&cloud.world, NOW + cloud.hours * HOUR);
        let quiet = cloud.asked(&SYNC).await;
        assert!(quiet.len() <= 60, "round {round}: {} requests of a quiet sync:\n{}", quiet.len(), lines(&quiet));
        let query = cloud.asked(&["query", "SELECT count(*) FROM clerk_organization"]).await;
        assert!(query.len() <= 12, "round {round}: {} requests of a query:\n{}", query.len(), lines(&query));
    }
}
