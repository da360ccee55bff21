//! Queries that must return the same result with every engine.

use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches_with_schema;
use clerk_lake::query::{self, Parameters, Query, queries};
use datafusion::execution::context::SessionContext;

/// Features that the built-in queries do not use: whole rows, partition keys, joins, structs, subqueries, windows, and
/// empty results.
const AD_HOC: &[&str] = &[
    "SELECT * FROM clerk_user ORDER BY id LIMIT 20",
    "SELECT * FROM clerk_session ORDER BY session_id LIMIT 20",
    "SELECT count(*) AS users FROM clerk_user",
    "SELECT count(*) AS users, min(created_at) AS first FROM clerk_user WHERE created_year >= 2025",
    "SELECT created_year, count(*) AS users FROM clerk_user GROUP BY created_year ORDER BY created_year",
    "SELECT created_month, status, count(*) AS sessions FROM clerk_session \
     WHERE created_month <> 'none' AND user_id IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT u.created_year, count(DISTINCT s.user_id) AS users, count(*) AS sessions \
     FROM clerk_session s JOIN clerk_user u ON u.id = s.user_id WHERE u.created_year > 2023 GROUP BY 1 ORDER BY 1",
    "SELECT latest_activity['browser_name'] AS browser, count(*) AS sessions FROM clerk_session \
     GROUP BY 1 ORDER BY 2 DESC, 1",
    "SELECT count(*) AS idle FROM clerk_user WHERE id NOT IN (SELECT user_id FROM clerk_session)",
    "SELECT count(*) AS late FROM clerk_user WHERE created_at > (SELECT min(created_at) FROM clerk_organization)",
    "SELECT id, row_number() OVER (PARTITION BY created_year ORDER BY created_at, id) AS place \
     FROM clerk_user ORDER BY id LIMIT 20",
    "SELECT id, email FROM clerk_user WHERE created_year = 1999",
];

/// Returns the built-in queries and the ad-hoc queries.
pub fn all() -> Vec<Query> {
    let queries = queries::all().expect("the built-in queries");
    queries.into_iter().chain(AD_HOC.iter().map(|sql| Query::ad_hoc(sql))).collect()
}

/// Returns the result of `query` as printed text.
pub async fn printed(context: &SessionContext, query: &Query, parameters: &Parameters) -> clerk_lake::Result<String> {
    let plan = query.plan(context, parameters).await?;
    let schema = SchemaRef::new(plan.schema().as_arrow().clone());
    let batches = plan.collect().await.map_err(|error| query::failed(&error))?;
    Ok(pretty_format_batches_with_schema(schema, &batches).expect("a table").to_string())
}
