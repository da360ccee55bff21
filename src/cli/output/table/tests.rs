use std::io;
use std::sync::{Arc, Mutex};

use arrow::array::{Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::*;

/// A writer whose bytes can be inspected while it is in use.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("the bytes").clone()).expect("text")
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("the bytes").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn batch(numbers: Int64Array, names: StringArray) -> RecordBatch {
    let fields = [Field::new("number", DataType::Int64, true), Field::new("name", DataType::Utf8, true)];
    let schema = SchemaRef::new(Schema::new(fields.to_vec()));
    RecordBatch::try_new(schema, vec![Arc::new(numbers), Arc::new(names)]).expect("a batch")
}

/// Returns `count` rows from number `first` on. Every third name is NULL.
fn rows(first: usize, count: usize) -> RecordBatch {
    let numbers: Int64Array = (first..first + count).map(|row| i64::try_from(row).ok()).collect();
    batch(numbers, (first..first + count).map(|row| (row % 3 > 0).then(|| format!("n{row}"))).collect())
}

fn table(layout: TableLayout, batches: &[RecordBatch]) -> String {
    let (output, schema) = (Output::default(), rows(0, 0).schema());
    let mut table: Box<dyn Encoder> = if layout.is_expanded {
        Box::new(ExpandedTable::new(&schema, layout, Box::new(output.clone())))
    } else {
        Box::new(TextTable::new(&schema, layout, Box::new(output.clone())))
    };
    for batch in batches {
        table.write(batch).expect("rows");
    }
    table.finish().expect("an end");
    output.text()
}

#[test]
fn a_long_table_is_printed_as_it_comes() {
    let (output, schema) = (Output::default(), rows(0, 0).schema());
    let mut table = Box::new(TextTable::new(&schema, TableLayout::default(), Box::new(output.clone())));
    let batches: Vec<_> = (0..5).map(|batch| rows(10_000 + batch * 4_000, 4_000)).collect();
    for (batch, lines_before) in batches.iter().zip([0, 0, 0, 12_003, 16_003]) {
        assert_eq!(output.text().lines().count(), lines_before);
        assert_eq!(table.has_written(), lines_before > 0);
        table.write(batch).expect("rows");
    }
    table.finish().expect("an end");
    let text = output.text();
    let (all, footer) = text.trim_end().rsplit_once('\n').expect("a last line");
    assert_eq!((all.lines().count(), footer), (20_004, "20,000 rows"));
    assert!(all.lines().all(|line| line.len() == "| 10000 | n10000 |".len() + 1), "{}", &all[..200]);
}

#[test]
fn the_first_rows_of_a_slow_result_do_not_wait_for_its_end() {
    let (output, schema) = (Output::default(), rows(0, 0).schema());
    let layout = TableLayout { max_rows: 4, width: Some(40), ..TableLayout::default() };
    let mut table = Box::new(TextTable::new(&schema, layout, Box::new(output.clone())));
    table.write(&rows(1, 4)).expect("rows");
    table.wait_until = Instant::now();
    // The table may still turn out to be complete.
    table.write(&rows(0, 0)).expect("rows");
    assert_eq!(output.text(), "");
    table.write(&rows(5, 9)).expect("rows");
    assert_eq!(output.text().lines().count(), 5);
    table.write(&rows(12_345_678, 2)).expect("rows");
    table.finish().expect("an end");
    let expected = "\
        +--------+------+\n\
        | number | name |\n\
        +--------+------+\n\
        |      1 | n1   |\n\
        |      2 | n2   |\n\
        |      … | …    |\n\
        | 12345678 | NULL |\n\
        | 12345679 | n12… |\n\
        +--------+------+\n\
        15 rows (4 shown)\n";
    assert_eq!(output.text(), expected);
}

#[test]
fn the_first_and_last_rows_are_shown_and_the_others_counted() {
    let layout = TableLayout { max_rows: 3, ..TableLayout::default() };
    let expected = "\
        +--------+-------+\n\
        | number | name  |\n\
        +--------+-------+\n\
        |      0 | NULL  |\n\
        |      1 | n1    |\n\
        |      … | …     |\n\
        |   4999 | n4999 |\n\
        +--------+-------+\n\
        5,000 rows (3 shown)\n";
    assert_eq!(table(layout.clone(), &[rows(0, 4000), rows(4000, 1000)]), expected);
    assert!(table(layout.clone(), &[rows(0, 3)]).ends_with("|      2 | n2   |\n+--------+------+\n3 rows\n"));
    let expanded = table(TableLayout { is_expanded: true, width: Some(20), ..layout }, &[rows(0, 2), rows(2, 5)]);
    let expected = "\
        -[ row 1 ]----------\n\
        number | 0\n\
        name   | NULL\n\
        -[ row 2 ]----------\n\
        number | 1\n\
        name   | n1\n\
        …\n\
        -[ row 7 ]----------\n\
        number | 6\n\
        name   | NULL\n\
        7 rows (3 shown)\n";
    assert_eq!(expanded, expected);
}

#[test]
fn a_table_fits_the_terminal_and_nothing_in_it_steers_it() {
    let name = "A\u{1b}]0;mine\u{7}da\u{202e}\r日本語日本語";
    let batch = batch(Int64Array::from(vec![Some(1), None]), StringArray::from(vec![name, "NULL"]));
    let layout = TableLayout { width: Some(30), has_styles: true, ..TableLayout::default() };
    let expected = "\
        +--------+-------------------+\n\
        | number | name              |\n\
        +--------+-------------------+\n\
        |      1 | A\\u001b]0;mine\\u… |\n\
        |   \u{1b}[2mNULL\u{1b}[0m | NULL              |\n\
        +--------+-------------------+\n\
        2 rows\n";
    assert_eq!(table(layout, &[batch]), expected);
}

#[test]
fn wide_characters_stay_in_their_columns_however_many_rows_there_are() {
    let names: StringArray = std::iter::repeat_n(Some("日本語日本語"), BUFFERED_ROWS + 10).collect();
    let numbers: Int64Array = (0..BUFFERED_ROWS + 10).map(|_| Some(1)).collect();
    let all = batch(numbers, names);
    let text = table(TableLayout::default(), &[all.slice(0, BUFFERED_ROWS + 1), all.slice(BUFFERED_ROWS + 1, 9)]);
    let widths: std::collections::BTreeSet<_> =
        text.lines().take(BUFFERED_ROWS + 14).map(UnicodeWidthStr::width).collect();
    assert_eq!(widths.len(), 1, "{widths:?}");
}

#[test]
fn columns_that_do_not_fit_are_left_out_with_a_note() {
    let fields: Vec<_> = (0..20).map(|index| Field::new(format!("column_{index}"), DataType::Utf8, true)).collect();
    let texts = (0..20).map(|_| Arc::new(StringArray::from(vec!["some text of 25 columns"])) as arrow::array::ArrayRef);
    let schema = SchemaRef::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), texts.collect()).expect("a batch");
    let output = Output::default();
    let layout = TableLayout { width: Some(80), ..TableLayout::default() };
    let mut table = Box::new(TextTable::new(&schema, layout, Box::new(output.clone())));
    table.write(&batch).and_then(|()| table.finish()).expect("a table");
    let text = output.text();
    assert!(text.ends_with("1 row, 20 columns (5 shown)\n"), "{text}");
    assert!(text.contains("| column_0 ") && text.contains("| … |") && text.contains("| column_19 "), "{text}");
    assert!(text.lines().all(|line| line.width() <= 80), "{text}");
}

#[test]
fn a_table_without_rows_shows_its_columns() {
    let text = table(TableLayout::default(), &[]);
    assert_eq!(text, "+--------+------+\n| number | name |\n+--------+------+\n+--------+------+\n0 rows\n");
    assert_eq!(table(TableLayout { is_expanded: true, ..TableLayout::default() }, &[]), "0 rows\n");
}
