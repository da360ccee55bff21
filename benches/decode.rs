//! Decodes pages of users to record batches, on one core.
//!
//! Compares this with parsing the same JSON into structs, and with a parser that only skips over it.

use std::hint::black_box;

use bytes::Bytes;
use clerk_lake::resource::USER_LIST;
use divan::Bencher;
use divan::counter::BytesCount;
use serde::de::IgnoredAny;

use crate::parse;
use crate::support::user_pages;

/// Number of pages per measurement. Repeating a single page would measure a warm CPU cache and branch predictor.
const PAGES: usize = 20;

fn pages(bencher: Bencher, read: impl Fn(&Bytes)) {
    let pages = user_pages(PAGES);
    let bytes: usize = pages.iter().map(Bytes::len).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| pages.iter().for_each(&read));
}

/// Decodes each page to a record batch with the table's columns.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn page_to_batch(bencher: Bencher) {
    pages(bencher, |page| {
        black_box((USER_LIST.decode)(page).expect("a page of users"));
    });
}

/// The bound: parses the same fields into structs that borrow from the page.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn bare_structs(bencher: Bencher) {
    pages(bencher, |page| {
        black_box(parse::users(page));
    });
}

/// The lowest bound: skips over the page without extracting any field.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn bare_skipping(bencher: Bencher) {
    pages(bencher, |page| {
        black_box(serde_json::from_slice::<IgnoredAny>(page).expect("JSON"));
    });
}
