//! Checks the fields of a JSON file, from all of its objects, before the file is read.
//!
//! A column has one type. What would be read wrongly is refused with its line: a field with values of different types, or
//! a number that does not fit its column.

use std::collections::HashMap;

use serde_json::Value;

/// The largest whole number up to which a double keeps every whole number.
const MAX_EXACT: u64 = 1 << 53;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JsonKind {
    Boolean,
    Integer,
    Double,
    Text,
    List,
    Object,
}

impl JsonKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Boolean => "a truth value",
            Self::Integer => "a whole number",
            Self::Double => "a decimal number",
            Self::Text => "text",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

/// A field as seen so far.
#[derive(Clone, Copy, Debug)]
struct FieldSeen {
    kind: JsonKind,
    /// The line at which the field first has this type.
    line: usize,
    /// The line of the first whole number that a double would change.
    long_number: Option<usize>,
}

/// The fields of the objects of a file.
#[derive(Debug, Default)]
pub(super) struct JsonFields {
    seen: HashMap<String, FieldSeen>,
    /// Text that is not a complete value yet, and the line on which it starts.
    rest: Vec<u8>,
    line: usize,
}

impl JsonFields {
    /// Takes the next bytes of a file.
    ///
    /// # Errors
    /// The line, and why the file cannot be read.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), (usize, String)> {
        self.rest.extend_from_slice(bytes);
        if self.rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
            // A list is one value.
            return Ok(());
        }
        // Only whole lines: a number could go on in the bytes that follow.
        match self.rest.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => self.read(end + 1, false),
            None => Ok(()),
        }
    }

    /// Takes the end of a file.
    ///
    /// # Errors
    /// As [`JsonFields::take`].
    pub(super) fn end(&mut self) -> Result<(), (usize, String)> {
        self.read(self.rest.len(), true)?;
        self.line = 0;
        self.rest.clear();
        Ok(())
    }

    fn read(&mut self, end: usize, is_end: bool) -> Result<(), (usize, String)> {
        let rest = std::mem::take(&mut self.rest);
        let text = rest.get(..end).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
        let (mut done, mut line) = (0, self.line);
        loop {
            let value = values.next();
            let at = values.byte_offset();
            let first = done + text[done..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let first_line = line + lines(&text[done..first.min(text.len())]) + 1;
            match value {
                None => break,
                Some(Ok(value)) => {
                    self.object(first_line, value)?;
                    line += lines(&text[done..at]);
                    done = at;
                }
                Some(Err(error)) if error.is_eof() && !is_end => break,
                Some(Err(error)) => return Err((line + error.line().max(1), format!("this is not JSON: {error}"))),
            }
        }
        self.line = line;
        self.rest = rest.get(done..).unwrap_or_default().to_vec();
        Ok(())
    }

    /// Takes a value at the top of the file: an object, or a list of objects.
    fn object(&mut self, line: usize, value: Value) -> Result<(), (usize, String)> {
        match value {
            Value::Object(fields) => fields.iter().try_for_each(|(name, value)| self.value(name, value, line)),
            Value::Array(elements) => elements.into_iter().try_for_each(|element| self.object(line, element)),
            _ => Err((line, "expected an object: {\"field\": value, …}".to_owned())),
        }
    }

    fn value(&mut self, path: &str, value: &Value, line: usize) -> Result<(), (usize, String)> {
        let kind = match value {
            Value::Null => return Ok(()),
            Value::Bool(_) => JsonKind::Boolean,
            Value::String(_) => JsonKind::Text,
            Value::Number(number) if number.is_i64() => JsonKind::Integer,
            Value::Number(number) if number.is_u64() => {
                return Err((
                    line,
                    format!("the number {number} of the field {path:?} does not fit; write it as text"),
                ));
            }
            Value::Number(_) => JsonKind::Double,
            Value::Array(_) => JsonKind::List,
            Value::Object(_) => JsonKind::Object,
        };
        self.field(path, kind, value, line)?;
        match value {
            Value::Array(elements) => {
                let path = format!("{path}[]");
                elements.iter().try_for_each(|element| self.value(&path, element, line))
            }
            Value::Object(fields) => {
                fields.iter().try_for_each(|(name, value)| self.value(&format!("{path}.{name}"), value, line))
            }
            _ => Ok(()),
        }
    }

    fn field(&mut self, path: &str, kind: JsonKind, value: &Value, line: usize) -> Result<(), (usize, String)> {
        let is_long = value.as_i64().is_some_and(|number| number.unsigned_abs() > MAX_EXACT);
        let long_number = is_long.then_some(line);
        let Some(seen) = self.seen.get_mut(path) else {
            self.seen.insert(path.to_owned(), FieldSeen { kind, line, long_number });
            return Ok(());
        };
        seen.long_number = seen.long_number.or(long_number);
        seen.kind = match (seen.kind, kind) {
            (before, now) if before == now => before,
            (JsonKind::Integer | JsonKind::Double, JsonKind::Integer | JsonKind::Double) => JsonKind::Double,
            (before, now) => {
                let (before, now, first) = (before.word(), now.word(), seen.line);
                return Err((line, format!("the field {path:?} is {now}, but {before} on line {first}")));
            }
        };
        match seen.long_number {
            Some(long) if seen.kind == JsonKind::Double => Err((
                long,
                format!("the field {path:?} holds decimal numbers, but its number here has too many digits for one"),
            )),
            _ => Ok(()),
        }
    }
}

fn lines(text: &[u8]) -> usize {
    text.split(|byte| *byte == b'\n').count() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks `text` in pieces of `size` bytes.
    fn checked(text: &str, size: usize) -> Result<(), (usize, String)> {
        let mut fields = JsonFields::default();
        text.as_bytes().chunks(size).try_for_each(|piece| fields.take(piece))?;
        fields.end()
    }

    #[test]
    fn what_would_be_read_wrongly_is_refused_with_its_line() {
        for (text, line, says) in [
            ("{\"a\": 1}\n{\"a\": \"x\"}\n", 2, "text, but a whole number on line 1"),
            ("\n\n{\"a\": {\"b\": 1}}\n\n{\"a\": {\"b\": [1]}}", 5, "\"a.b\""),
            ("[{\"a\": true},\n {\"a\": 1}]", 1, "truth value"),
            ("{\"a\": 1}\n{\"a\": }\n{}", 2, "not JSON"),
            ("{\"a\": 18446744073709551615}", 1, "does not fit"),
            ("{\"a\": 1.5}\n{\"a\": 9007199254740993}", 2, "too many digits"),
            ("{\"a\": 9007199254740993}\n{\"a\": 1.5}", 1, "too many digits"),
            ("{\"a\": 1}\n1", 2, "expected an object"),
            ("{\"a\": 1}\n{\"a\": ", 2, "not JSON"),
        ] {
            for size in [1, 7, 1000] {
                let (at, why) = checked(text, size).expect_err(text);
                assert!(at == line && why.contains(says), "{text}: line {at}: {why}");
            }
        }
    }

    #[test]
    fn fields_may_be_missing_null_or_numbers_of_both_kinds() {
        let text = "{\"a\": null, \"b\": [1, 2.5]}\n{\"a\": 1,\n \"c\": {\"d\": 9007199254740993}}\n{\"a\": 2.5}\n";
        for size in [1, 5, 1000] {
            assert_eq!(checked(text, size), Ok(()), "{size}");
        }
    }
}
