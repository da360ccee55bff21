//! Number of requests to the store: it does not grow with the number of past commits.

use crate::support::s3::Operation;
use crate::support::{output, stderr};

use super::*;

impl Cloud {
    /// Runs the program and returns its requests to the store.
    async fn requests(&self, arguments: &[&str]) -> Vec<(Operation, String)> {
        self.s3.take_log();
        let mut command = self.command(arguments);
        // Use the default of the program.
        command.env_remove("CLERK_LAKE_SESSION_REFRESH");
        let done = output(command).await;
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
        self.s3.take_log()
    }
}

/// The flags that select the resources from which daily activity is computed, organizations and what is computed.
const FIVE: [&str; 2] = ["--resource", "users,organizations,sessions,daily_active_users,user_activity"];

/// Formats requests as lines, for assertion messages.
fn lines(requests: &[(Operation, String)]) -> String {
    let line = |(operation, key): &(Operation, String)| format!("{operation:?} {key}");
    requests.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_without_changes_and_a_query_of_one_table_send_few_requests() {
    // 6 tables are written by the first, 14 by the second.
    for (flags, most) in [(&FIVE[..], 60), (&[], 130)] {
        let mut cloud = Cloud::new(150).await;
        cloud.s3.list_in_long_pages();
        let sync = [&SYNC[..], flags].concat();
        for round in 0..3 {
            for _ in 0..round * 4 {
                cloud.change(1);
                cloud.requests(&sync).await;
            }
            cloud.hours += 1;
            set_clock(&cloud.world, NOW + cloud.hours * HOUR);
            cloud.requests(&sync).await;
            cloud.hours += 1;
            set_clock(&cloud.world, NOW + cloud.hours * HOUR);
            let quiet = cloud.requests(&sync).await;
            let case = format!("{flags:?}, round {round}");
            assert!(quiet.len() <= most, "{case}: {} requests of a quiet sync:\n{}", quiet.len(), lines(&quiet));
            let query = cloud.requests(&["query", "SELECT count(*) FROM clerk_organization"]).await;
            assert!(query.len() <= 12, "{case}: {} requests of a query:\n{}", query.len(), lines(&query));
        }
    }
}
