//! Runs all queries over all lakes.

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};

use super::metric::{InstanceResult, Metric, ResultRows};
use super::rows::rows;
use super::{LakeState, Report, TableSummary};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Lake;
use crate::query::{Engine, InstanceLake, Parameters, Queries, Query, instances};
use crate::resource::has_watermark;

/// Number of queries that run concurrently. Each query uses all processors if it can.
const CONCURRENCY: usize = 2;

/// Runs all `queries` over each of `lakes` in its current state, on `engine`.
///
/// Each query receives those of `parameters` that it declares. If a query fails, its metric holds the error, and the
/// report succeeds.
///
/// # Errors
/// [`Settings`](ErrorKind::Settings) if a lake has no tables yet, no query declares one of the parameters, or a query does
/// not accept its value; [`Unreachable`](ErrorKind::Unreachable) if a lake cannot be opened.
pub async fn collect(
    lakes: &[Lake],
    engine: &Engine,
    queries: &Queries,
    parameters: &[(String, String)],
    now: DateTime<Utc>,
) -> Result<Report> {
    let selected: Vec<Query> = queries.iter().cloned().collect();
    refuse_unknown(&selected, parameters)?;
    refuse_out_of_range(&selected, parameters, now)?;
    let mut open = open(lakes, engine, queries, now).await?;
    let pairs = (0..selected.len()).flat_map(|query| (0..open.len()).map(move |lake| (query, lake)));
    let pairs: Vec<(usize, usize)> = pairs.collect();
    let mut results = run(&selected, &open, &pairs, parameters, now).await;
    let is_conflict =
        |result: &Result<ResultRows>| result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict);
    if results.iter().any(is_conflict) {
        // A sync replaced data files while they were read. All queries run again, over the new versions.
        open = self::open(lakes, engine, queries, now).await?;
        results = run(&selected, &open, &pairs, parameters, now).await;
    }
    for ((_, lake), result) in pairs.iter().zip(&mut results) {
        if let Err(error) = result {
            *error = open[*lake].damage_behind(error.clone()).await;
        }
    }
    let names: Vec<String> = open.iter().map(|instance| instance.name.clone()).collect();
    let mut results = results.into_iter();
    let metrics = selected.into_iter().map(|query| Metric {
        query,
        parts: names
            .iter()
            .zip(results.by_ref())
            .map(|(name, rows)| InstanceResult { instance: name.clone(), rows })
            .collect(),
    });
    let metrics = metrics.collect();
    Ok(Report { made_at: now, lakes: states(&open).await?, metrics })
}

/// Opens the lakes in their current state. Queries can name other queries.
async fn open(lakes: &[Lake], engine: &Engine, queries: &Queries, now: DateTime<Utc>) -> Result<Vec<InstanceLake>> {
    let open = Box::pin(instances(lakes, None, engine, None)).await?;
    for instance in &open {
        instance.open_names(queries, now);
    }
    Ok(open)
}

/// Runs pairs of a query and an instance. Returns the results in the order of `pairs`.
async fn run(
    queries: &[Query],
    open: &[InstanceLake],
    pairs: &[(usize, usize)],
    parameters: &[(String, String)],
    now: DateTime<Utc>,
) -> Vec<Result<ResultRows>> {
    let results: Vec<_> =
        pairs.iter().map(|(query, lake)| run_one(&queries[*query], &open[*lake], parameters, now)).collect();
    stream::iter(results).buffered(CONCURRENCY).collect().await
}

async fn run_one(
    query: &Query,
    instance: &InstanceLake,
    given: &[(String, String)],
    now: DateTime<Utc>,
) -> Result<ResultRows> {
    rows(&Box::pin(query.run(&instance.context, &declared(query, given, now))).await?)
}

/// Returns those of the `given` parameters that `query` declares.
fn declared(query: &Query, given: &[(String, String)], now: DateTime<Utc>) -> Parameters {
    let declared = given.iter().filter(|(name, _)| has(query, name));
    declared.fold(Parameters::at(now), |all, (name, value)| all.with(name, value))
}

/// Refuses a value that one of the queries does not accept: the report would have some metrics for it and not others.
fn refuse_out_of_range(queries: &[Query], given: &[(String, String)], now: DateTime<Utc>) -> Result<()> {
    queries.iter().try_for_each(|query| {
        let checked = query.check_ranges(&declared(query, given, now));
        checked.map_err(|error| error.context(format!("query {}", query.name)))
    })
}

fn has(query: &Query, parameter: &str) -> bool {
    query.parameters.iter().any(|(name, _)| name == parameter)
}

/// Refuses a parameter that no query declares: it is probably misspelled.
fn refuse_unknown(queries: &[Query], parameters: &[(String, String)]) -> Result<()> {
    let unknown = parameters.iter().find(|(name, _)| !queries.iter().any(|query| has(query, name)));
    let Some((unknown, _)) = unknown else { return Ok(()) };
    let mut known: Vec<&str> =
        queries.iter().flat_map(|query| query.parameters.iter().map(|(name, _)| name.as_str())).collect();
    known.sort_unstable();
    known.dedup();
    Err(Error::settings(format!("no query has a parameter {unknown:?}"))
        .with_hint(format!("the parameters are: {}", known.join(", "))))
}

/// Returns the state of the lakes at the versions that the queries read.
async fn states(open: &[InstanceLake]) -> Result<Vec<LakeState>> {
    let mut states = Vec::new();
    for instance in open {
        let mut tables = Vec::new();
        for table in instance.tables() {
            let (spec, Some(version)) = (table.spec(), table.version()) else { continue };
            let watermark = if has_watermark(spec) { table.watermark().await? } else { None };
            tables.push(TableSummary { name: spec.name.to_owned(), rows: table.rows(), version, watermark });
        }
        let location = instance.location().to_string();
        states.push(LakeState { instance: instance.name.clone(), location, tables });
    }
    Ok(states)
}
