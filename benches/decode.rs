//! Pages of users to record batches, on one core: beside the reading of the same JSON without any array, and
//! beside a parser that only finds out where it ends.

use std::hint::black_box;

use bytes::Bytes;
use clerk_lake::resource::USER_LIST;
use divan::Bencher;
use divan::counter::BytesCount;
use serde::de::IgnoredAny;

use crate::parse;
use crate::support::user_pages;

/// Pages, one after the other: no figure is that of one page which the processor knows by heart.
const PAGES: usize = 20;

fn pages(bencher: Bencher, read: impl Fn(&Bytes)) {
    let pages = user_pages(PAGES);
    let bytes: usize = pages.iter().map(Bytes::len).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| pages.iter().for_each(&read));
}

/// To a batch of the table's columns.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn page_to_batch(bencher: Bencher) {
    pages(bencher, |page| {
        black_box((USER_LIST.decode)(page).expect("a page of users"));
    });
}

/// The bound: the same fields read into structs that borrow from the page.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn bare_structs(bencher: Bencher) {
    pages(bencher, |page| {
        black_box(parse::users(page));
    });
}

/// What is left where nothing of the page is wanted.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn bare_skipping(bencher: Bencher) {
    pages(bencher, |page| {
        black_box(serde_json::from_slice::<IgnoredAny>(page).expect("JSON"));
    });
}
