//! Rewords what DataFusion and Arrow say: without the prefixes of their modules, and with the types and values as SQL
//! writes them.

/// Prefixes that name a module of the engine.
const PREFIXES: [&str; 26] = [
    "Arrow error: ",
    "Parquet error: ",
    "Object Store error: ",
    "IO error: ",
    "SQL error: ",
    "sql parser error: ",
    "ParserError(",
    "TokenizerError(",
    "This feature is not implemented: ",
    "Internal error: ",
    "Error during planning: ",
    "Invalid or Unsupported Configuration: ",
    "Schema error: ",
    "Execution error: ",
    "ExecutionJoin error: ",
    "Resources exhausted: ",
    "External error: ",
    "Substrait error: ",
    "DataFusion error: ",
    "Cast error: ",
    "Parser error: ",
    "Compute error: ",
    "Csv error: ",
    "Json error: ",
    "Invalid argument error: ",
    "Not yet implemented: ",
];

/// Types of Arrow and what SQL calls them. A longer name comes before a name that it starts with.
const TYPES: [(&str, &str); 22] = [
    ("Utf8View", "text"),
    ("LargeUtf8", "text"),
    ("Utf8", "text"),
    ("String", "text"),
    ("Boolean", "boolean"),
    ("Int8", "tinyint"),
    ("Int16", "smallint"),
    ("Int32", "int"),
    ("Int64", "bigint"),
    ("UInt8", "unsigned tinyint"),
    ("UInt16", "unsigned smallint"),
    ("UInt32", "unsigned int"),
    ("UInt64", "unsigned bigint"),
    ("Float16", "float"),
    ("Float32", "float"),
    ("Float64", "double"),
    ("Date32", "date"),
    ("Date64", "date"),
    ("Decimal128", "decimal"),
    ("Decimal256", "decimal"),
    ("Timestamp", "timestamp"),
    ("Interval", "interval"),
];

/// Returns `text` without the engine's prefixes, and with types and values as SQL writes them.
pub(super) fn reword(text: &str) -> String {
    let mut text = text;
    let mut rest = text;
    // A rule of the optimizer or analyzer puts its name on a line of its own.
    while let Some((line, below)) = rest.split_once("\ncaused by\n") {
        if line.contains('\n') {
            break;
        }
        (text, rest) = (below, below);
    }
    while let Some(stripped) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = stripped;
    }
    with_types(&with_values(&without_report(text).replace("datafusion.public.", "")))
}

/// Returns `text` without the request to report a bug to DataFusion, which stands between two parts of a message.
fn without_report(text: &str) -> String {
    let found = text.find("\nThis issue was likely caused by a bug in DataFusion");
    let Some((before, report)) = found.and_then(|start| text.split_at_checked(start)) else { return text.to_owned() };
    let after = report.split_once("/datafusion/issues").map_or("", |(_, after)| after.trim_start_matches('.'));
    format!("{before}{after}")
}

/// Returns `name`, a column that the engine named after its expression, as SQL writes it: `Int64(1)` becomes `1`.
pub(super) fn with_values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let is_start = out.chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        if let Some((value, after)) = is_start.then(|| value(rest)).flatten() {
            out.push_str(&value);
            rest = after;
            continue;
        }
        let mut characters = rest.chars();
        out.extend(characters.next());
        rest = characters.as_str();
    }
    out.replace("count(1)", "count(*)")
}

/// Returns the value that `text` starts with, as SQL writes it, and the rest of the text.
fn value(text: &str) -> Option<(String, &str)> {
    let (_, after) = TYPES.iter().find_map(|(name, _)| Some((name, text.strip_prefix(name)?.strip_prefix('(')?)))?;
    if let Some(quoted) = after.strip_prefix('"') {
        let end = quoted.find("\")")?;
        return Some((format!("'{}'", quoted[..end].replace('\'', "''")), &quoted[end + 2..]));
    }
    let end = after.find(')')?;
    let value = &after[..end];
    let is_number = !value.is_empty() && value.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    let is_word = matches!(value, "true" | "false" | "NULL");
    (is_number || is_word).then(|| (value.to_owned(), &after[end + 1..]))
}

/// Returns `text` with the names of types as SQL writes them. Text between quotes is kept, except for a call with its
/// types, such as `'abs(Utf8)'`.
fn with_types(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    let flush = |word: &mut String, out: &mut String| {
        let known = TYPES.iter().find(|(name, _)| *name == word.as_str());
        out.push_str(known.map_or(word.as_str(), |(_, name)| name));
        word.clear();
    };
    for c in text.chars() {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
        } else {
            flush(&mut word, &mut out);
            out.push(c);
        }
    }
    flush(&mut word, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_the_engine_are_left_out() {
        for (text, expected) in [
            (
                "Arrow error: Cast error: Cannot cast string 'a' to value of Int64 type",
                "Cannot cast string 'a' to value of bigint type",
            ),
            (
                "Optimizer rule 'simplify_expressions' failed\ncaused by\nArrow error: Divide by zero error",
                "Divide by zero error",
            ),
            (
                "Cannot coerce arithmetic expression Utf8View + Int64 to valid types",
                "Cannot coerce arithmetic expression text + bigint to valid types",
            ),
            ("only \"count(Int64(1))\" appears", "only \"count(*)\" appears"),
        ] {
            assert_eq!(reword(text), expected);
        }
    }

    #[test]
    fn values_are_written_as_in_sql() {
        for (text, expected) in [
            ("Int64(1)", "1"),
            ("Utf8(\"it's\")", "'it''s'"),
            ("Boolean(true) IS TRUE", "true IS TRUE"),
            ("clerk_user.id = Utf8(\"a\") AND Float64(1.5) < Int64(-2)", "clerk_user.id = 'a' AND 1.5 < -2"),
            ("Int64(x)", "Int64(x)"),
            ("myInt64(1)", "myInt64(1)"),
        ] {
            assert_eq!(with_values(text), expected);
        }
    }
}
