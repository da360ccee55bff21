//! Runs all queries over all lakes.

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};

use super::metric::{Metric, Part, Rows};
use super::rows::rows;
use super::{LakeState, Report, TableState};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Lake;
use crate::query::{Catalogue, Engine, Instance, Parameters, Query, instances};
use crate::resource::has_watermark;

/// Number of queries that run concurrently. Each query uses all processors if it can.
const CONCURRENCY: usize = 2;

/// Runs all queries of `catalogue` over each of `lakes` in its current state, on `engine`.
///
/// Each query receives those of `parameters` that it declares. If a query fails, its metric holds the error, and the
/// report succeeds.
///
/// # Errors
/// [`Settings`](ErrorKind::Settings) if a lake has no tables yet or no query declares one of the parameters;
/// [`Unreachable`](ErrorKind::Unreachable) if a lake cannot be opened.
pub async fn collect(
    lakes: &[Lake],
    engine: &Engine,
    catalogue: &Catalogue,
    parameters: &[(String, i64)],
    now: DateTime<Utc>,
) -> Result<Report> {
    let queries: Vec<Query> = catalogue.queries().cloned().collect();
    refuse_unknown(&queries, parameters)?;
    let mut open = open(lakes, engine, catalogue, now).await?;
    let pairs = (0..queries.len()).flat_map(|query| (0..open.len()).map(move |lake| (query, lake)));
    let pairs: Vec<(usize, usize)> = pairs.collect();
    let mut results = run(&queries, &open, &pairs, parameters, now).await;
    let is_conflict = |result: &Result<Rows>| result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict);
    if results.iter().any(is_conflict) {
        // A sync replaced data files while they were read. All queries run again, over the new versions.
        open = self::open(lakes, engine, catalogue, now).await?;
        results = run(&queries, &open, &pairs, parameters, now).await;
    }
    for ((_, lake), result) in pairs.iter().zip(&mut results) {
        if let Err(error) = result {
            *error = open[*lake].damage_behind(error.clone()).await;
        }
    }
    let names: Vec<String> = open.iter().map(|instance| instance.name.clone()).collect();
    let mut results = results.into_iter();
    let metrics = queries.into_iter().map(|query| Metric {
        query,
        parts: names.iter().zip(results.by_ref()).map(|(name, rows)| Part { instance: name.clone(), rows }).collect(),
    });
    let metrics = metrics.collect();
    Ok(Report { made_at: now, lakes: states(&open).await?, metrics })
}

/// Opens the lakes in their current state. Queries can name other queries of the catalogue.
async fn open(lakes: &[Lake], engine: &Engine, catalogue: &Catalogue, now: DateTime<Utc>) -> Result<Vec<Instance>> {
    let open = Box::pin(instances(lakes, None, engine, None)).await?;
    for instance in &open {
        instance.open_names(catalogue, now);
    }
    Ok(open)
}

/// Runs pairs of a query and an instance. Returns the results in the order of `pairs`.
async fn run(
    queries: &[Query],
    open: &[Instance],
    pairs: &[(usize, usize)],
    parameters: &[(String, i64)],
    now: DateTime<Utc>,
) -> Vec<Result<Rows>> {
    let results: Vec<_> =
        pairs.iter().map(|(query, lake)| run_one(&queries[*query], &open[*lake], parameters, now)).collect();
    stream::iter(results).buffered(CONCURRENCY).collect().await
}

async fn run_one(query: &Query, instance: &Instance, given: &[(String, i64)], now: DateTime<Utc>) -> Result<Rows> {
    let declared = given.iter().filter(|(name, _)| has(query, name));
    let parameters = declared.fold(Parameters::at(now), |all, (name, value)| all.with(name, *value));
    rows(&Box::pin(query.run(&instance.session, &parameters)).await?)
}

fn has(query: &Query, parameter: &str) -> bool {
    query.parameters.iter().any(|(name, _)| name == parameter)
}

/// Refuses a parameter that no query declares: it is probably misspelled.
fn refuse_unknown(queries: &[Query], parameters: &[(String, i64)]) -> Result<()> {
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
async fn states(open: &[Instance]) -> Result<Vec<LakeState>> {
    let mut states = Vec::new();
    for instance in open {
        let mut tables = Vec::new();
        for table in instance.tables() {
            let (spec, Some(version)) = (table.spec(), table.version()) else { continue };
            let watermark = if has_watermark(spec) { table.watermark().await? } else { None };
            tables.push(TableState { name: spec.name.to_owned(), rows: table.rows(), version, watermark });
        }
        let location = instance.location().to_string();
        states.push(LakeState { instance: instance.name.clone(), location, tables });
    }
    Ok(states)
}
