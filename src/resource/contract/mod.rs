//! Compares the resources with Clerk's contract, an OpenAPI file.
//!
//! For each resource, a row is made that holds every field of the contract, each with a value of its own. What is kept of
//! the row shows which fields are read.

mod left_out;
mod yaml;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::json::{FieldType, RowFields};
use super::{ALL, EARLIER, Reading, Resource};
use left_out::LEFT_OUT;

/// Fields that are read although the contract does not have them: older accounts have them.
const OLDER_FIELDS: [&str; 2] = ["external_accounts[].google_id", "external_accounts[].facebook_id"];

/// Returns the contract; `None` if the file is not there.
fn contract() -> Option<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = "shared/reference/clerk-backend-api-2026-05-12.yml";
    let text = ["..", "../.."].iter().find_map(|up| std::fs::read_to_string(root.join(up).join(file)).ok());
    if text.is_none() {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: there is no file ../{file}");
        }
    }
    text.map(|text| yaml::read(&text))
}

/// A schema of the contract.
#[derive(Clone, Copy)]
struct Schema<'a> {
    contract: &'a Value,
    schema: &'a Value,
}

impl<'a> Schema<'a> {
    /// Returns the schema of the rows of `resource`; `None` for a resource that Clerk does not list.
    fn of(contract: &'a Value, resource: &Resource) -> Option<Self> {
        let path = match resource.reading {
            Reading::Cursor(list) => list.path,
            Reading::Offset(list) => list.path,
            Reading::PerUser(list) => list.path,
            Reading::PerParent(list) => list.path,
            Reading::Single(object) => object.path,
            Reading::Derived(_) | Reading::Ledger => return None,
        };
        let path = path.replace("{id}", "{statementID}");
        let response = &contract["paths"][&path]["get"]["responses"]["200"];
        let response = Self { contract, schema: response }.resolved().schema;
        let schema = &response["content"]["application/json"]["schema"];
        assert!(!schema.is_null(), "the contract has no {path}");
        let body = Self { contract, schema };
        let list = body.properties().into_iter().find(|(name, _)| *name == "data").map_or(body, |(_, list)| list);
        Some(list.element().unwrap_or(list))
    }

    fn resolved(self) -> Self {
        match self.schema["$ref"].as_str() {
            None => self,
            Some(reference) => {
                let pointer = reference.trim_start_matches('#');
                let schema = self.contract.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
                Self { schema, ..self }.resolved()
            }
        }
    }

    /// Returns the schemas that this one is made of, itself first.
    fn parts(self) -> Vec<Self> {
        let this = self.resolved();
        let mut parts = vec![this];
        for group in ["allOf", "oneOf", "anyOf"] {
            for schema in this.schema[group].as_array().into_iter().flatten() {
                parts.extend(Self { schema, ..this }.parts());
            }
        }
        parts
    }

    fn properties(self) -> Vec<(&'a str, Self)> {
        let mut properties: Vec<(&str, Self)> = Vec::new();
        for part in self.parts() {
            for (name, schema) in part.schema["properties"].as_object().into_iter().flatten() {
                if properties.iter().all(|(known, _)| *known != name.as_str()) {
                    properties.push((name, Self { schema, ..part }));
                }
            }
        }
        properties
    }

    fn type_name(self) -> &'a str {
        self.parts().iter().find_map(|part| part.schema["type"].as_str()).unwrap_or("object")
    }

    fn element(self) -> Option<Self> {
        let this = self.resolved();
        (this.type_name() == "array").then_some(Self { schema: &this.schema["items"], ..this })
    }

    fn property(self, name: &str) -> Option<Self> {
        self.properties().into_iter().find(|(known, _)| *known == name).map(|(_, schema)| schema)
    }

    /// Returns a value with every field. Each scalar differs from all others: a string is the path of its field.
    fn canary(self, path: &str, numbers: &mut Vec<String>) -> Value {
        match self.type_name() {
            "string" => json!(format!("canary:{path}")),
            "boolean" => json!(true),
            kind @ ("integer" | "number") => {
                numbers.push(path.to_owned());
                let number = number_of(numbers.len());
                if kind == "integer" { json!(number) } else { json!(format!("{number}.5").parse::<f64>().unwrap()) }
            }
            "array" => json!([self.element().unwrap().canary(&format!("{path}[]"), numbers)]),
            _ => {
                let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
                let properties = self.properties();
                let mut object = Map::new();
                for (name, schema) in &properties {
                    object.insert((*name).to_owned(), schema.canary(&format!("{prefix}{name}"), numbers));
                }
                if properties.is_empty() {
                    object.insert("any".to_owned(), json!(format!("canary:{prefix}any")));
                }
                Value::Object(object)
            }
        }
    }
}

/// Returns the value of the n-th number of a canary.
fn number_of(n: usize) -> u64 {
    7_000_000_000_000 + n as u64
}

/// Adds the paths of all fields below `prefix`, with their types.
fn paths(fields: &RowFields, prefix: &str, out: &mut Vec<(String, FieldType)>) {
    for (name, of) in fields.iter() {
        let path = format!("{prefix}{name}");
        out.push((path.clone(), of.clone()));
        match of {
            FieldType::Object(nested) => paths(nested, &format!("{path}."), out),
            FieldType::List(nested) => paths(nested, &format!("{path}[]."), out),
            _ => {}
        }
    }
}

fn paths_of(resource: &Resource) -> Vec<(String, FieldType)> {
    let mut out = Vec::new();
    paths(&(resource.fields)(), "", &mut out);
    out
}

/// Returns the canaries of strings in `text`: the paths of their fields.
fn canaries(text: &str) -> BTreeSet<String> {
    let found = text.split("canary:").skip(1).map(|rest| rest.split(['"', '\\']).next().unwrap_or_default().to_owned());
    found.collect()
}

/// Returns the canaries of strings that the kept fields have.
fn kept_canaries(resource: &Resource) -> BTreeSet<String> {
    let kept = paths_of(resource).into_iter().filter_map(|(path, of)| match of {
        FieldType::Text => Some(path),
        FieldType::Texts => Some(format!("{path}[]")),
        FieldType::Json => Some(format!("{path}.any")),
        _ => None,
    });
    kept.collect()
}

/// Decodes `row` as a page. Returns all values of its columns, and the JSON of the row if it was rejected, as text.
fn decoded(resource: &Resource, row: &Value) -> Result<(String, String), String> {
    let body = match resource.reading {
        Reading::Single(_) => row.to_string(),
        _ => json!({"data": [row], "total_count": 1}).to_string(),
    };
    let page = resource.decode().expect("a listed resource")(body.as_bytes())?;
    let mut out = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
    writer.write(&page.rows.batch).unwrap();
    writer.finish().unwrap();
    let raw =
        page.rows.rejected.iter().map(|row| row.raw.as_str()).chain(page.rows.odd.iter().map(|row| row.raw.as_str()));
    Ok((String::from_utf8(out).unwrap(), raw.collect()))
}

#[test]
fn every_kept_field_is_in_the_contract_with_its_type() {
    let Some(contract) = contract() else { return };
    for resource in ALL {
        let Some(row) = Schema::of(&contract, resource) else { continue };
        for (path, of) in paths_of(resource) {
            if OLDER_FIELDS.contains(&path.as_str()) {
                continue;
            }
            let schema = path.split('.').try_fold(row, |schema, name| {
                let (name, is_list) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
                let schema = schema.property(name)?;
                if is_list { schema.element() } else { Some(schema) }
            });
            let schema = schema.unwrap_or_else(|| panic!("{}: the contract has no {path}", resource.name));
            let element = schema.element().map_or("", Schema::type_name);
            let expected = match of {
                FieldType::Text => ("string", ""),
                FieldType::Flag => ("boolean", ""),
                FieldType::Integer | FieldType::Time => ("integer", ""),
                FieldType::Number => ("number", ""),
                FieldType::Json | FieldType::Object(_) => ("object", ""),
                FieldType::Texts => ("array", "string"),
                FieldType::List(_) => ("array", "object"),
            };
            assert_eq!((schema.type_name(), element), expected, "{}: {path}", resource.name);
        }
    }
}

#[test]
fn only_kept_fields_reach_a_column_or_a_rejected_row() {
    let Some(contract) = contract() else { return };
    for resource in ALL {
        let Some(schema) = Schema::of(&contract, resource) else { continue };
        let (name, kept, mut numbers) = (resource.name, kept_canaries(resource), Vec::new());
        let mut row = schema.canary("", &mut numbers);
        let (values, raw) = decoded(resource, &row).unwrap();
        assert_eq!(raw, "", "{name}");
        let found = canaries(&values);
        assert!(found.is_subset(&kept), "{name}: {:?}", found.difference(&kept));
        if EARLIER.iter().all(|typed| typed.name != name) {
            assert!(kept.is_subset(&found), "{name}: {:?}", kept.difference(&found));
        }
        row["id"] = json!(7);
        let Ok((values, raw)) = decoded(resource, &row) else {
            assert!(matches!(resource.reading, Reading::Single(_)), "{name}");
            continue;
        };
        let kept: BTreeSet<_> =
            kept.into_iter().filter(|path| path != "id" && !OLDER_FIELDS.contains(&path.as_str())).collect();
        assert_eq!((values.as_str(), canaries(&raw)), ("", kept), "{name}");
        let fields = paths_of(resource);
        for (at, path) in numbers.iter().enumerate() {
            let is_kept = fields.iter().any(|(kept, _)| kept == path);
            assert_eq!(raw.contains(&number_of(at + 1).to_string()), is_kept, "{name}: {path}");
        }
    }
}

#[test]
fn a_field_that_is_not_kept_is_left_out_on_purpose() {
    let Some(contract) = contract() else { return };
    let mut used = BTreeSet::new();
    for resource in ALL {
        let Some(row) = Schema::of(&contract, resource) else { continue };
        let mut unread = Vec::new();
        collect_unread(row, &(resource.fields)(), "", &mut unread);
        for path in unread {
            let at =
                LEFT_OUT.iter().position(|(name, rule, _)| ["*", resource.name].contains(name) && fits(rule, &path));
            used.insert(at.unwrap_or_else(|| panic!("{}: {path} is neither kept nor left out", resource.name)));
        }
    }
    let unused: Vec<_> = LEFT_OUT.iter().enumerate().filter(|(at, _)| !used.contains(at)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

/// Returns whether the path fits the rule. `*` at its beginning or end stands for anything.
fn fits(rule: &str, path: &str) -> bool {
    match (rule.strip_prefix('*'), rule.strip_suffix('*')) {
        (Some(end), _) => path.ends_with(end),
        (_, Some(start)) => path.starts_with(start),
        _ => path == rule,
    }
}

/// Adds the paths of the fields of `schema` that are not among `fields`, except `object`, which names the type.
fn collect_unread(schema: Schema<'_>, fields: &RowFields, prefix: &str, out: &mut Vec<String>) {
    for (name, property) in schema.properties().into_iter().filter(|(name, _)| *name != "object") {
        let path = format!("{prefix}{name}");
        match fields.iter().find(|(known, _)| *known == name) {
            None => out.push(path),
            Some((_, FieldType::Object(nested))) => collect_unread(property, nested, &format!("{path}."), out),
            Some((_, FieldType::List(nested))) => {
                collect_unread(property.element().unwrap(), nested, &format!("{path}[]."), out);
            }
            Some(_) => {}
        }
    }
}

#[test]
fn secrets_and_private_data_are_never_read() {
    let never = [
        "private_metadata",
        "url",
        "api_key",
        "secret",
        "client_secret",
        "payment_method",
        "gateway_external_url",
        "affiliation_email_address",
        "backup_codes",
        "external_verification_redirect_url",
        "nonce",
        "password_digest",
    ];
    let payer = ["email", "first_name", "last_name", "organization_name"];
    for resource in ALL {
        for (path, _) in paths_of(resource) {
            let names: Vec<_> = path.split('.').map(|name| name.trim_end_matches("[]")).collect();
            assert!(names.iter().all(|name| !never.contains(name)), "{}: {path}", resource.name);
            let is_embedded = names.iter().any(|name| ["payer", "public_user_data", "organization"].contains(name));
            assert!(!is_embedded || !payer.contains(names.last().unwrap()), "{}: {path}", resource.name);
            assert!(path != "public_user_data.identifier", "{}", resource.name);
        }
    }
}
