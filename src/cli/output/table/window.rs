//! The rows of a result that a table shows: the first and the last ones, so that the memory for a long result is
//! bounded.

use std::collections::VecDeque;

use arrow::array::RecordBatch;

/// The rows that are kept.
#[derive(Debug)]
pub struct RowWindow {
    /// The largest number of first rows, and of last rows.
    limits: (usize, usize),
    head: Vec<RecordBatch>,
    tail: VecDeque<RecordBatch>,
    head_rows: usize,
    tail_rows: usize,
    total: u64,
}

impl RowWindow {
    /// Creates a window of the `head` first and the `tail` last rows.
    pub fn new(head: usize, tail: usize) -> Self {
        Self { limits: (head, tail), head: Vec::new(), tail: VecDeque::new(), head_rows: 0, tail_rows: 0, total: 0 }
    }

    /// Adds the next rows of the result.
    pub fn push(&mut self, batch: &RecordBatch) {
        let (most_first, most_last) = self.limits;
        let rows = batch.num_rows();
        self.total += rows as u64;
        let first = rows.min(most_first - self.head_rows);
        if first > 0 {
            self.head.push(batch.slice(0, first));
            self.head_rows += first;
        }
        let last = (rows - first).min(most_last);
        if last == 0 {
            return;
        }
        self.tail.push_back(batch.slice(rows - last, last));
        self.tail_rows += last;
        while let Some(oldest) = self.tail.front_mut().filter(|_| self.tail_rows > most_last) {
            let surplus = self.tail_rows - most_last;
            if oldest.num_rows() <= surplus {
                self.tail_rows -= oldest.num_rows();
                self.tail.pop_front();
            } else {
                *oldest = oldest.slice(surplus, oldest.num_rows() - surplus);
                self.tail_rows -= surplus;
            }
        }
    }

    /// Takes out the first rows.
    pub fn take_head(&mut self) -> Vec<RecordBatch> {
        std::mem::take(&mut self.head)
    }

    /// Returns the first rows that are kept.
    pub fn head(&self) -> &[RecordBatch] {
        &self.head
    }

    /// Returns the last rows that are kept and do not belong to the first ones.
    pub fn tail(&self) -> impl Iterator<Item = &RecordBatch> {
        self.tail.iter()
    }

    /// Returns the number of first rows so far.
    pub fn head_rows(&self) -> usize {
        self.head_rows
    }

    /// Returns the number of all rows so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns the number of rows so far that are kept, or were taken out.
    pub fn kept(&self) -> u64 {
        (self.head_rows + self.tail_rows) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn numbers<'b>(batches: impl Iterator<Item = &'b RecordBatch>) -> Vec<i64> {
        batches.flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[test]
    fn the_first_and_last_rows_are_kept_whatever_the_batches() {
        for rows in 0..20_i64 {
            for size in 1..8 {
                let mut window = RowWindow::new(3, 2);
                let all: Vec<_> = (0..rows).collect();
                for part in all.chunks(size) {
                    let column: ArrayRef = Arc::new(Int64Array::from(part.to_vec()));
                    window.push(&RecordBatch::try_from_iter([("n", column)]).expect("a batch"));
                }
                let head: Vec<_> = all.iter().copied().take(3).collect();
                let tail: Vec<_> = all.iter().copied().skip(3.max(all.len().saturating_sub(2))).collect();
                assert_eq!((numbers(window.head().iter()), numbers(window.tail())), (head, tail), "{rows} {size}");
                assert_eq!((window.total(), window.kept()), (all.len() as u64, all.len().min(5) as u64));
            }
        }
    }
}
