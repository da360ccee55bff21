use serde::de::value::Error as ValueError;
use serde::forward_to_deserialize_any;

use super::*;

/// Returns the names of the fields that `T` deserializes, sorted.
pub(in crate::resource) fn fields_of<'de, T: Deserialize<'de>>() -> Vec<&'static str> {
    struct Names<'n>(&'n mut Vec<&'static str>);
    impl<'de> Deserializer<'de> for Names<'_> {
        type Error = ValueError;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, ValueError> {
            self.0.extend(fields);
            Err(ValueError::custom("only the field names are needed"))
        }

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ValueError> {
            Err(ValueError::custom("not a struct"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut names = Vec::new();
    assert!(T::deserialize(Names(&mut names)).is_err());
    names.sort_unstable();
    names
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "not every field is used by a test")]
struct Row<'a> {
    #[serde(borrow, deserialize_with = "id")]
    id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text")]
    name: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "millis")]
    at: Option<i64>,
    flag: Option<bool>,
    #[serde(default, deserialize_with = "integer")]
    count: Option<i64>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    parts: Option<Vec<Part<'a>>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "not every field is used by a test")]
struct Part<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    nested: Option<Nested<'a>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "not every field is used by a test")]
struct Nested<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    status: Option<Cow<'a, str>>,
}

const ROW: &FieldTypes = &FieldTypes {
    text: &["id", "name"],
    times: &["at"],
    flags: &["flag"],
    integers: &["count"],
    json: &["metadata"],
    lists: &[("parts", PART)],
    ..FieldTypes::EMPTY
};

const PART: &FieldTypes = &FieldTypes { text: &["id"], objects: &[("nested", NESTED)], ..FieldTypes::EMPTY };

const NESTED: &FieldTypes = &FieldTypes { text: &["status"], ..FieldTypes::EMPTY };

fn repaired(body: &str) -> RepairedPage {
    assert!(read_page::<Row<'_>>(body.as_bytes()).is_err(), "needs no repair: {body}");
    let page = repair_page(body.as_bytes(), &ROW.fields(), |raw| serde_json::from_str::<Row<'_>>(raw).is_ok()).unwrap();
    read_page::<Row<'_>>(page.body().as_bytes()).unwrap();
    page
}

/// Repairs a page of one row. Returns the row's JSON, and a description of the fields that were set to null.
fn repaired_row(row: &str) -> (String, Vec<String>) {
    let page = repaired(&format!("[{row}]"));
    assert!(page.rejected.is_empty(), "{:?}", page.rejected);
    let odd = page.odd.into_iter().flat_map(|row| row.fields);
    let odd = odd.map(|odd| format!("{}: {}, expected {}", odd.field, odd.found, odd.expected)).collect();
    (page.rows[0].clone(), odd)
}

#[test]
fn a_field_of_the_wrong_type_becomes_null_and_is_recorded_with_both_types() {
    for (value, json, odd) in [
        (r#""name":7"#, r#""name":null"#, "name: a number, expected a string"),
        (r#""name":{"lang":"en"}"#, r#""name":null"#, "name: an object, expected a string"),
        (r#""flag":"true""#, r#""flag":null"#, "flag: a string, expected a boolean"),
        (r#""flag":0"#, r#""flag":null"#, "flag: a number, expected a boolean"),
        (r#""count":"3""#, r#""count":null"#, "count: a string, expected a whole number"),
        (r#""count":1.5"#, r#""count":null"#, "count: another number, expected a whole number"),
        (r#""count":1e999"#, r#""count":null"#, "count: another number, expected a whole number"),
        (r#""at":"yesterday""#, r#""at":null"#, "at: a string, expected a time in Unix milliseconds"),
        (r#""at":9223372036854775807"#, r#""at":null"#, "at: another number, expected a time in Unix milliseconds"),
        (r#""at":true"#, r#""at":null"#, "at: a boolean, expected a time in Unix milliseconds"),
        (r#""parts":{}"#, r#""parts":null"#, "parts: an object, expected a list"),
        (r#""parts":[null,{"id":"p"},7]"#, r#""parts":[{"id":"p"}]"#, "parts[]: a number, expected an object"),
        (
            r#""parts":[{"nested":"verified"},{"nested":null},{"nested":"verified"}]"#,
            r#""parts":[{"nested":null},{"nested":null},{"nested":null}]"#,
            "parts[].nested: a string, expected an object",
        ),
        (
            r#""parts":[{"nested":{"status":[]}}]"#,
            r#""parts":[{"nested":{"status":null}}]"#,
            "parts[].nested.status: an array, expected a string",
        ),
    ] {
        let (row, found) = repaired_row(&format!(r#"{{"id":"a",{value}}}"#));
        assert_eq!(row, format!(r#"{{"id":"a",{json}}}"#));
        assert_eq!(found.first().map(String::as_str), Some(odd), "{found:?}");
    }
}

#[test]
fn whole_numbers_may_be_written_as_floats() {
    let body = br#"{"data":[{"id":"a","at":1700000000000.0,"count":7.0},{"id":"b","at":1.7e12}],"total_count":2.0}"#;
    let page = read_page::<Row<'_>>(body).unwrap();
    let rows: Vec<_> = page.rows.iter().map(|row| (row.at, row.count)).collect();
    assert_eq!(rows, [(Some(1_700_000_000_000), Some(7)), (Some(1_700_000_000_000), None)]);
    assert_eq!(page.total_count, Some(2));
    let (row, odd) = repaired_row(r#"{"id":"a","at":1.7e12,"count":-7.0,"flag":"x"}"#);
    assert_eq!(row, r#"{"id":"a","flag":null,"count":-7,"at":1700000000000}"#);
    assert_eq!(odd.len(), 1);
}

#[test]
fn text_that_a_strict_parser_refuses_is_kept() {
    let (row, odd) =
        repaired_row(r#"{"id":"a","name":"Zo\ud83d","secret":"\ud83d","metadata":{"n":1e999,"s":"\ud83d"}}"#);
    assert_eq!(row, "{\"id\":\"a\",\"name\":\"Zo\u{fffd}\",\"metadata\":{\"n\":1e999,\"s\":\"\\ud83d\"}}");
    assert!(odd.is_empty());
    // If a name occurs several times, the last member wins.
    assert_eq!(repaired_row(r#"{"id":"b","name":"x","id":"a","name":"y"}"#).0, r#"{"id":"a","name":"y"}"#);
}

#[test]
fn metadata_of_any_depth_is_kept() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let body = format!(r#"[{{"id":"a","metadata":{deep},"private":{deep}}}]"#);
    let page = read_page::<Row<'_>>(body.as_bytes()).unwrap();
    assert_eq!(page.rows[0].metadata.map(RawValue::get), Some(deep.as_str()));
    let (row, _) = repaired_row(&format!(r#"{{"id":"a","flag":1,"metadata":{deep},"private":{deep}}}"#));
    assert_eq!(row, format!(r#"{{"id":"a","flag":null,"metadata":{deep}}}"#));
}

#[test]
fn only_a_row_without_a_readable_id_is_rejected_and_the_reason_contains_no_value() {
    let body = r#"[{"id":"a","name":"x\"y","new":[1]},{"name":"alice"},{"id":"","at":1},{"id":7,"secret":"s"},
        {"id":"\ud83d"},"bob",null,{"id":"b","at":"1"},{"id":"d","at":1700000000000,"name":null}]"#;
    let page = repaired(body);
    let readable = page.body();
    let rows = read_page::<Row<'_>>(readable.as_bytes()).unwrap().rows;
    let rows: Vec<_> = rows.iter().map(|row| (row.id.as_ref(), row.name.as_deref(), row.at)).collect();
    assert_eq!(rows, [("a", Some("x\"y"), None), ("b", None, None), ("d", None, Some(1_700_000_000_000))]);
    let rejected: Vec<_> = page.rejected.iter().map(|row| (row.at, row.reason.as_str(), row.raw.as_str())).collect();
    assert_eq!(
        rejected,
        [
            (1, "id is missing", r#"{"name":"alice"}"#),
            (2, "id is empty", r#"{"id":"","at":1}"#),
            (3, "id is a number", r#"{"id":null}"#),
            (4, "id is not valid Unicode", "{\"id\":\"\u{fffd}\"}"),
            (5, "row is a string, expected an object", "{}"),
            (6, "row is null, expected an object", "{}"),
        ]
    );
    let names: std::collections::BTreeSet<_> = page.rejected.iter().map(Rejected::name).collect();
    assert!(names.len() == 6 && names.iter().all(|name| name.starts_with("hash:")), "{names:?}");
    assert_eq!(
        page.odd.iter().map(|row| (row.id.as_str(), row.raw.as_str())).collect::<Vec<_>>(),
        [("b", r#"{"id":"b","at":null}"#)]
    );
}

#[test]
fn only_fields_with_a_column_are_stored() {
    let raw = r#"{"id":"u","private_metadata":{"ssn":"S"},"password_digest":"S","url":"S","public_metadata":{"url":"kept",
        "private_metadata":"kept"},"email_addresses":[{"id":"e","verification":{"status":"verified","token":"S",
        "external_verification_redirect_url":"S"}}],"locked":"S","first_name":"\ud83d","created_at":7}"#;
    let kept = storable(raw);
    assert!(!kept.contains("\"S\"") && !kept.contains("ssn"), "{kept}");
    assert!(kept.contains(r#""public_metadata":{"url":"kept","#), "{kept}");
    assert!(kept.contains(r#""email_addresses":[{"id":"e","verification":{"status":"verified"}}]"#), "{kept}");
    assert_eq!(storable(&kept), kept);
    for raw in ["", "[]", "7", "{", "{\"id\":\"u\",\"private_metadata\":\"S", "{\"id\":\"u\"} S"] {
        assert_eq!(storable(raw), "{}", "{raw}");
    }
    let deep = format!("{{\"id\":\"u\",\"private_metadata\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    assert_eq!(storable(&deep), r#"{"id":"u"}"#);
}

#[test]
fn strings_without_escapes_are_borrowed() {
    let page = read_page::<Row<'_>>(br#"{"data":[{"id":"a","name":"b"}],"total_count":7}"#).unwrap();
    assert!(matches!(page.rows[0].name, Some(Cow::Borrowed("b"))));
    assert_eq!(page.total_count, Some(7));
}

#[test]
fn an_empty_list_may_be_null() {
    for body in [&b"null"[..], br#"{"data":null,"total_count":0}"#, b"[]", br#"{"data":[],"total_count":0.0}"#] {
        assert!(read_page::<Row<'_>>(body).unwrap().rows.is_empty());
    }
}

#[test]
fn a_page_with_control_characters_or_invalid_utf_8_is_repaired() {
    let page = repaired("[{\"id\":\"a\",\"name\":\"one\ntwo\\\\\"},{\"id\":\"b\"}]");
    assert_eq!(page.body(), "[{\"id\":\"a\",\"name\":\"one\\u000atwo\\\\\"},{\"id\":\"b\"}]");
    let body = b"\xef\xbb\xbf[{\"id\":\"a\",\"name\":\"\xff\"}]";
    let page = repair_page(body, &ROW.fields(), |raw| serde_json::from_str::<Row<'_>>(raw).is_ok()).unwrap();
    assert_eq!(page.body(), "[{\"id\":\"a\",\"name\":\"\u{fffd}\"}]");
}

#[test]
fn a_body_that_is_not_a_list_is_refused_and_the_error_contains_no_value() {
    for body in [
        "",
        "[",
        "{}",
        "\"alice\"",
        "<html>alice",
        r#"{"data":7}"#,
        r#"{"data":"alice","total_count":0}"#,
        r#"{"data":null}"#,
        r#"{"data":null,"total_count":3}"#,
        r#"{"data":[],"total_count":-1}"#,
        r#"{"data":[],"total_count":"alice"}"#,
        "[{\"id\":\"alice\"}",
        "[{\"id\":\"alice\n\"}",
    ] {
        assert!(read_page::<Row<'_>>(body.as_bytes()).is_err(), "{body}");
        let error = repair_page(body.as_bytes(), &ROW.fields(), |_| false).unwrap_err();
        assert!(!error.contains("alice"), "{error}");
    }
}
