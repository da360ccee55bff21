use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::*;

/// A list in memory. `change` may modify it before each response.
struct InMemory<F> {
    created: Vec<i64>,
    requests: usize,
    skipped: usize,
    limit: usize,
    change: F,
}

impl<F: FnMut(&mut Vec<i64>)> RankProbe for InMemory<F> {
    async fn created(
        &mut self,
        after: Option<i64>,
        offset: usize,
        limit: usize,
    ) -> Result<ProbeResult, ListingFailure> {
        self.requests += 1;
        if offset > self.limit {
            return Ok(ProbeResult::TimedOut);
        }
        self.skipped += offset;
        (self.change)(&mut self.created);
        let first = after.map_or(0, |after| self.created.partition_point(|created| *created <= after));
        Ok(ProbeResult::Times(self.created.iter().skip(first + offset).take(limit).copied().collect()))
    }
}

fn list(created: Vec<i64>) -> InMemory<impl FnMut(&mut Vec<i64>)> {
    InMemory { created, requests: 0, skipped: 0, limit: usize::MAX, change: |_: &mut Vec<i64>| () }
}

/// Returns creation times, some of them shared by a few rows and one by very many.
fn times(random: &mut ChaCha8Rng, rows: usize) -> Vec<i64> {
    let mut times: Vec<i64> = (0..rows).map(|_| random.random_range(0..1_000_000_000)).collect();
    for at in 0..rows / 10 {
        times[at + rows / 10] = times[at];
    }
    let shared = random.random_range(0..rows / 8 + 1);
    times[rows / 2..rows / 2 + shared].fill(500_000_000);
    times.sort_unstable();
    times
}

/// Returns the places of `table` that `list` lacks. Both are ascending; rows with equal times are interchangeable.
fn places_missing(table: &[i64], list: &[i64]) -> Vec<usize> {
    let mut rest = list.iter().peekable();
    let is_missing = |created: &i64| rest.next_if_eq(&created).is_none();
    let flags: Vec<bool> = table.iter().map(is_missing).collect();
    (0..table.len()).filter(|at| flags[*at]).collect()
}

#[tokio::test]
async fn every_deletion_is_in_a_span_with_the_right_number_of_missing_rows() {
    for seed in 0..300 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let rows = random.random_range(1..60_000);
        let table = times(&mut random, rows);
        let mut left = table.clone();
        for _ in 0..random.random_range(1..8_usize).min(rows) {
            left.remove(random.random_range(0..left.len()));
        }
        let missing = places_missing(&table, &left);
        let mut ranks = list(left);
        let spans = Search::new(&table, usize::MAX).spans(missing.len() as u64, &mut ranks).await.expect("answers");
        let spans = spans.unwrap_or_else(|| panic!("seed {seed}: no result for a list that matches the table"));
        for span in &spans {
            let inside = missing.iter().filter(|place| (span.from..span.to).contains(place)).count() as u64;
            assert_eq!(span.missing, inside, "seed {seed}: {span:?}");
        }
        assert_eq!(spans.iter().map(|span| span.missing).sum::<u64>(), missing.len() as u64, "seed {seed}");
    }
}

#[tokio::test]
async fn three_deletions_among_a_million_rows_cost_fewer_than_sixty_requests() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let table = times(&mut random, 1_000_000);
    let mut left = table.clone();
    for _ in 0..3 {
        left.remove(random.random_range(0..left.len()));
    }
    let mut ranks = list(left);
    let spans = Search::new(&table, 500).spans(3, &mut ranks).await.expect("answers").expect("spans");
    let read: usize = spans.iter().map(|span| span.pages() + 1).sum();
    assert!(ranks.requests + read < 60, "{} probes and {read} pages", ranks.requests);
    assert!(ranks.skipped < 4_000_000, "{} rows were skipped", ranks.skipped);
}

#[tokio::test]
async fn a_list_that_can_skip_few_rows_is_probed_in_small_steps_or_the_search_ends() {
    let table: Vec<i64> = (0..200_000).collect();
    let mut left = table.clone();
    left.remove(150_000);
    let mut ranks = InMemory { limit: 10_000, ..list(left.clone()) };
    let spans = Search::new(&table, 500).spans(1, &mut ranks).await.expect("answers").expect("spans");
    assert!(spans.iter().any(|span| (span.from..span.to).contains(&150_000)), "{spans:?}");
    assert!(ranks.requests < 60, "{} probes", ranks.requests);
    let mut ranks = InMemory { limit: 100, ..list(left) };
    assert_eq!(Search::new(&table, 500).spans(1, &mut ranks).await.expect("answers"), None);
}

#[tokio::test]
async fn a_search_during_changes_finds_all_missing_rows_or_ends_without_a_result() {
    let (mut given_up, mut found) = (0, 0);
    for seed in 0..300 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let table = times(&mut random, 40_000);
        let mut left = table.clone();
        for _ in 0..3 {
            left.remove(random.random_range(0..left.len()));
        }
        let before = places_missing(&table, &left);
        let mut changes = ChaCha8Rng::seed_from_u64(seed ^ 1);
        let change = |created: &mut Vec<i64>| match changes.random_range(0..30) {
            0 => {
                created.remove(changes.random_range(0..created.len()));
            }
            1 => created.push(2_000_000_000),
            2 => {
                let imported = changes.random_range(0..1_000_000_000);
                created.insert(created.partition_point(|at| *at <= imported), imported);
            }
            _ => {}
        };
        let mut ranks = InMemory { created: left, requests: 0, skipped: 0, limit: usize::MAX, change };
        let spans = Search::new(&table, 500).spans(3, &mut ranks).await.expect("answers");
        let Some(spans) = spans else {
            given_up += 1;
            continue;
        };
        assert_eq!(spans.iter().map(|span| span.missing).sum::<u64>(), 3, "seed {seed}");
        assert!(spans.windows(2).all(|pair| pair[0].to <= pair[1].from), "seed {seed}: {spans:?}");
        let is_inside = |place: &usize| spans.iter().any(|span| (span.from..span.to).contains(place));
        found += usize::from(before.iter().all(is_inside));
    }
    assert!(found > 200 && given_up > 0, "{found} found, {given_up} given up");
}
