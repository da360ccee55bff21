use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};

use super::*;
use crate::resource::page::PageRows;

struct Row;

impl KeptRow for Row {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "The id",
        Text "owner.id" as "owner_id" => "Id of the owner",
        Text "owner.kind" as "owner_kind" => "KeptKind of the owner",
        Flag "flag" => "A flag",
        Integer "count" => "A count",
        Number "share" => "A share",
        Json "metadata" => "Metadata",
        Texts "keys" => "Keys",
        TextsOf("id") "parts" as "part_ids" => "Ids of the parts",
        Object(FEE) "fee" => "A fee",
        List(TIER) "tiers" => "Tiers",
        Time "created_at" => "When it was created",
    ];
    const BY_YEAR: bool = true;
}

const FEE: &[KeptField] = kept![Integer "amount" => "Amount", Text "currency" => "Currency"];

const TIER: &[KeptField] = kept![Text "name" => "Name", List(STEP) "steps" => "Steps"];

const STEP: &[KeptField] = kept![Object(FEE) "fee" => "A fee"];

fn rows(body: &str) -> PageRows {
    decode_rows::<Row>(body.as_bytes()).unwrap().rows
}

/// Returns the values of a column as JSON, one row per line.
fn shown(page: &PageRows, column: &str) -> Vec<String> {
    let at = page.batch.schema().index_of(column).unwrap();
    let column = page.batch.project(&[at]).unwrap();
    let mut out = Vec::new();
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(&mut out);
    writer.write(&column).unwrap();
    writer.finish().unwrap();
    let lines = String::from_utf8(out).unwrap();
    lines.lines().map(|line| line.split_once(':').unwrap().1.trim_end_matches('}').to_owned()).collect()
}

#[test]
fn columns_are_named_and_described_by_the_list_of_kept_fields() {
    let table = table::<Row>("t", "A table.", "GET /v1/rows");
    let described = table.describe();
    assert_eq!(described[1], ("owner_id", "Id of the owner (`owner.id`)."));
    assert_eq!(described[3], ("flag", "A flag (`flag`)."));
    assert_eq!((table.partition, described.len()), (Some("created_year"), Row::FIELDS.len() + 2));
    assert_eq!(rows("[]").batch.schema().fields().len() + 1, table.schema().fields().len());
}

#[test]
fn every_kind_of_field_is_read() {
    let page = rows(
        r#"{"data":[{"id":"a","owner":{"id":"o","kind":"user","secret":1},"flag":true,"count":7.0,"share":0.25,
        "metadata":{"a":[1,"\ud83d"]},"keys":["x","y\u0000"],"parts":[{"id":"p","secret":1},{}],"fee":{"amount":5,"currency":"USD"},
        "tiers":[{"name":"n","steps":[{"fee":{"amount":1}},{"fee":null}]},{"steps":[]}],"created_at":1700000000000.0},
        {"id":"b","keys":[],"tiers":null,"fee":null}],"total_count":2}"#,
    );
    assert!(page.rejected.is_empty() && page.odd.is_empty(), "{page:?}");
    let batch = &page.batch;
    let text = |column: &str| batch.column_by_name(column).unwrap().as_string::<i32>().clone();
    assert_eq!((text("owner_id").value(0), text("owner_kind").value(0)), ("o", "user"));
    assert_eq!(text("metadata").value(0), r#"{"a":[1,"\ud83d"]}"#);
    assert_eq!(batch.column_by_name("count").unwrap().as_primitive::<Int64Type>().value(0), 7);
    let created = batch.column_by_name("created_at").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!((created.value(0), created.is_null(1)), (1_700_000_000_000_000, true));
    assert_eq!(batch.column_by_name("created_year").unwrap().as_primitive::<Int32Type>().values()[..], [2023, 0]);
    for (column, first, second) in [
        ("flag", "true", "null"),
        ("share", "0.25", "null"),
        ("keys", r#"["x","y\u0000"]"#, "[]"),
        ("part_ids", r#"["p",null]"#, "null"),
        ("fee", r#"{"amount":5,"currency":"USD""#, "null"),
    ] {
        assert_eq!(shown(&page, column), [first, second], "{column}");
    }
    assert_eq!(
        shown(&page, "tiers")[0],
        r#"[{"name":"n","steps":[{"fee":{"amount":1,"currency":null}},{"fee":null}]},{"name":null,"steps":[]}]"#
    );
}

#[test]
fn a_field_of_the_wrong_type_is_null_and_recorded() {
    for (value, field, found, expected) in [
        (r#""owner":"o""#, "owner", "a string", "an object"),
        (r#""owner":{"id":7}"#, "owner.id", "a number", "a string"),
        (r#""flag":"true""#, "flag", "a string", "a boolean"),
        (r#""count":"7""#, "count", "a string", "a whole number"),
        (r#""count":7.5"#, "count", "another number", "a whole number"),
        (r#""share":"7""#, "share", "a string", "a finite number"),
        (r#""share":1e999"#, "share", "another number", "a finite number"),
        (r#""keys":"x""#, "keys", "a string", "a list"),
        (r#""keys":["x",null]"#, "keys[]", "null", "a string"),
        (r#""keys":{"x":"y"}"#, "keys", "an object", "a list"),
        (r#""parts":["p"]"#, "parts[]", "a string", "an object"),
        (r#""tiers":[{"steps":[{"fee":{"amount":"1"}}]}]"#, "tiers[].steps[].fee.amount", "a string", "a whole number"),
        (r#""created_at":"2026""#, "created_at", "a string", "a time in Unix milliseconds"),
    ] {
        let page = rows(&format!(r#"[{{"id":"a",{value},"secret":"s"}}]"#));
        assert_eq!((page.batch.num_rows(), page.rejected.len(), page.odd.len()), (1, 0, 1), "{value}");
        let odd = &page.odd[0];
        assert_eq!(odd.id, "a");
        let fields: Vec<_> = odd.fields.iter().map(|odd| (odd.field.as_str(), &*odd.found, &*odd.expected)).collect();
        assert_eq!(fields, [(field, found, expected)], "{value}");
        assert!(!odd.raw.contains("secret"), "{}", odd.raw);
    }
}

#[test]
fn a_row_without_a_readable_id_is_rejected_in_its_place() {
    let body = r#"[{"id":"a"},{"flag":true,"secret":"s"},7,{"id":""},{"id":"b","created_at":5}]"#;
    let page = decode_rows::<Row>(body.as_bytes()).unwrap();
    let ids: Vec<_> = page.keys.iter().map(|key| key.as_ref().map(|key| (key.id.as_str(), key.created_at))).collect();
    assert_eq!(ids, [Some(("a", None)), None, None, None, Some(("b", Some(5)))]);
    assert_eq!((page.unreadable, page.rows.batch.num_rows()), (vec![1, 2, 3], 2));
    let raw: Vec<_> = page.rows.rejected.iter().map(|row| row.raw.as_str()).collect();
    assert_eq!(raw, [r#"{"flag":true}"#, "{}", r#"{"id":""}"#]);
}

#[test]
fn broken_text_deep_nesting_and_control_characters_survive() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let page =
        rows(&format!("[{{\"id\":\"a\",\"owner\":{{\"id\":\"Zo\\ud83d\n\"}},\"metadata\":{deep},\"other\":{deep}}}]"));
    let text = |column: &str| page.batch.column_by_name(column).unwrap().as_string::<i32>().value(0).to_owned();
    assert_eq!((text("owner_id").as_str(), text("metadata")), ("Zo\u{fffd}\n", deep));
    assert!(page.odd.is_empty());
    assert!(rows("null").is_null && rows(r#"{"data":null,"total_count":0}"#).is_null);
}

#[test]
fn a_single_object_is_a_page_of_one_row() {
    let page = decode_object::<Row>(b" {\"id\":\"a\",\"secret\":1}\n").unwrap();
    assert_eq!((page.total_count, page.keys.len(), page.rows.batch.num_rows()), (Some(1), 1, 1));
    for body in [
        "",
        "[]",
        "[{\"id\":\"a\"}]",
        "null",
        "{\"id\":7}",
        "{}",
        "{\"id\":\"a\"",
        "<html>",
        "{\"id\":\"a\"},{\"id\":\"b\"}",
    ] {
        assert!(decode_object::<Row>(body.as_bytes()).is_err(), "{body}");
    }
}
