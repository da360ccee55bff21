//! Asks every query of the catalogue, over every lake.

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};

use super::figure::{Figure, Part, Rows};
use super::rows::rows;
use super::{LakeState, Report, TableState};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Lake;
use crate::query::{Catalogue, Engine, Instance, Parameters, Query, instances};
use crate::resource::has_watermark;

/// How many queries run at a time: each takes all processors where it can.
const AT_A_TIME: usize = 2;

/// Asks all queries of `catalogue` over each of `lakes`, as they are now, on `engine`. Each query takes those of `parameters`
/// that it has. A query that fails is a figure that says why, and no failure of the report.
///
/// # Errors
/// [`Settings`](ErrorKind::Settings) where a lake has no tables yet or no query has one of the parameters;
/// [`Unreachable`](ErrorKind::Unreachable) where a lake cannot be opened.
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
    let asked: Vec<(usize, usize)> = pairs.collect();
    let mut answers = ask(&queries, &open, &asked, parameters, now).await;
    let is_conflict = |answer: &Result<Rows>| answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict);
    if answers.iter().any(is_conflict) {
        // A sync has replaced files while they were being read: all is asked once more, of what is there now.
        open = self::open(lakes, engine, catalogue, now).await?;
        answers = ask(&queries, &open, &asked, parameters, now).await;
    }
    for ((_, lake), answer) in asked.iter().zip(&mut answers) {
        if let Err(error) = answer {
            *error = open[*lake].damage_behind(error.clone()).await;
        }
    }
    let names: Vec<String> = open.iter().map(|instance| instance.name.clone()).collect();
    let mut answers = answers.into_iter();
    let figures = queries.into_iter().map(|query| Figure {
        query,
        parts: names.iter().zip(answers.by_ref()).map(|(name, rows)| Part { instance: name.clone(), rows }).collect(),
    });
    let figures = figures.collect();
    Ok(Report { made_at: now, lakes: states(&open).await?, figures })
}

/// The lakes as they are now; queries may name others of the catalogue.
async fn open(lakes: &[Lake], engine: &Engine, catalogue: &Catalogue, now: DateTime<Utc>) -> Result<Vec<Instance>> {
    let open = Box::pin(instances(lakes, None, engine, None)).await?;
    for instance in &open {
        instance.open_names(catalogue, now);
    }
    Ok(open)
}

/// Runs these queries over these instances, a few at a time; the answers in the order of `asked`.
async fn ask(
    queries: &[Query],
    open: &[Instance],
    asked: &[(usize, usize)],
    parameters: &[(String, i64)],
    now: DateTime<Utc>,
) -> Vec<Result<Rows>> {
    let answers: Vec<_> =
        asked.iter().map(|(query, lake)| answer(&queries[*query], &open[*lake], parameters, now)).collect();
    stream::iter(answers).buffered(AT_A_TIME).collect().await
}

async fn answer(query: &Query, instance: &Instance, given: &[(String, i64)], now: DateTime<Utc>) -> Result<Rows> {
    let own = given.iter().filter(|(name, _)| has(query, name));
    let parameters = own.fold(Parameters::at(now), |all, (name, value)| all.with(name, *value));
    rows(&Box::pin(query.run(&instance.session, &parameters)).await?)
}

fn has(query: &Query, parameter: &str) -> bool {
    query.parameters.iter().any(|(name, _)| name == parameter)
}

/// Refuses a parameter that no query has: it is most likely misspelt.
fn refuse_unknown(queries: &[Query], parameters: &[(String, i64)]) -> Result<()> {
    let unknown = parameters.iter().find(|(name, _)| !queries.iter().any(|query| has(query, name)));
    let Some((unknown, _)) = unknown else { return Ok(()) };
    let mut known: Vec<&str> =
        queries.iter().flat_map(|query| query.parameters.iter().map(|(name, _)| name.as_str())).collect();
    known.sort_unstable();
    known.dedup();
    Err(Error::settings(format!("no query of the catalogue has a parameter {unknown:?}"))
        .with_hint(format!("there are: {}", known.join(", "))))
}

/// What the lakes hold, at the versions that were asked.
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
