//! The fields of Clerk's objects that are read, and the JSON type that each must have.

use std::borrow::Cow;

use super::scan;

/// The fields of a typed row, grouped by the JSON type that they must have. Every field may be null or missing.
#[derive(Clone, Copy, Debug)]
pub struct FieldTypes {
    /// Strings.
    pub text: &'static [&'static str],
    /// Booleans.
    pub flags: &'static [&'static str],
    /// Whole numbers.
    pub integers: &'static [&'static str],
    /// Times, in Unix milliseconds.
    pub times: &'static [&'static str],
    /// JSON of any type, kept as raw text.
    pub json: &'static [&'static str],
    /// Objects.
    pub objects: &'static [(&'static str, &'static Self)],
    /// Lists of objects.
    pub lists: &'static [(&'static str, &'static Self)],
}

impl FieldTypes {
    /// No fields. Used as the base in struct update syntax.
    pub const EMPTY: Self =
        Self { text: &[], flags: &[], integers: &[], times: &[], json: &[], objects: &[], lists: &[] };

    /// Returns the fields as a tree.
    #[must_use]
    pub fn fields(&self) -> RowFields {
        let mut fields = Vec::new();
        let groups = [
            (self.text, FieldType::Text),
            (self.flags, FieldType::Flag),
            (self.integers, FieldType::Integer),
            (self.times, FieldType::Time),
            (self.json, FieldType::Json),
        ];
        for (names, of) in groups {
            fields.extend(names.iter().map(|name| (*name, of.clone())));
        }
        fields.extend(self.objects.iter().map(|(name, of)| (*name, FieldType::Object(of.fields()))));
        fields.extend(self.lists.iter().map(|(name, of)| (*name, FieldType::List(of.fields()))));
        RowFields { fields }
    }

    /// Returns the names of all fields, sorted.
    #[cfg(test)]
    pub(in crate::resource) fn sorted_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.fields().iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names
    }
}

/// The JSON type that a field must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A string.
    Text,
    /// A boolean.
    Flag,
    /// A whole number, possibly written as a float.
    Integer,
    /// A finite number.
    Number,
    /// A time, in Unix milliseconds.
    Time,
    /// JSON of any type, kept as raw text.
    Json,
    /// A list of strings.
    Texts,
    /// An object.
    Object(RowFields),
    /// A list of objects.
    List(RowFields),
}

impl FieldType {
    /// Returns the type in words, as in [`OddField::expected`](super::OddField::expected).
    pub(super) fn expected(&self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Flag => "a boolean",
            Self::Integer => "a whole number",
            Self::Number => "a finite number",
            Self::Time => "a time in Unix milliseconds",
            Self::Json => "JSON",
            Self::Object(_) => "an object",
            Self::Texts | Self::List(_) => "a list",
        }
    }

    /// Returns the scalar `raw` in a form that a strict parser accepts, or `None` if it has the wrong type. Objects and
    /// lists are not scalars.
    pub(super) fn read<'r>(&self, raw: &'r str) -> Option<Cow<'r, str>> {
        if raw == "null" {
            return Some(Cow::Borrowed(raw));
        }
        match self {
            Self::Text => {
                let (text, is_broken) = scan::text(raw)?;
                if is_broken { serde_json::to_string(&text).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(raw)) }
            }
            Self::Flag => matches!(raw, "true" | "false").then_some(Cow::Borrowed(raw)),
            Self::Integer => whole_number(raw).map(|number| Cow::Owned(number.to_string())),
            Self::Number => {
                let number = is_number(raw).then(|| raw.parse::<f64>().ok()).flatten();
                number.filter(|number| number.is_finite()).map(|_| Cow::Borrowed(raw))
            }
            Self::Time => {
                let time = whole_number(raw).filter(|time| super::CALENDAR.contains(time))?;
                Some(Cow::Owned(time.to_string()))
            }
            Self::Json => Some(Cow::Borrowed(raw)),
            Self::Texts | Self::Object(_) | Self::List(_) => None,
        }
    }
}

/// The fields of an object that are read, with their types. All other fields are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowFields {
    fields: Vec<(&'static str, FieldType)>,
}

impl RowFields {
    /// Returns the fields, in the order in which a reduced row holds them.
    pub fn iter(&self) -> impl Iterator<Item = &(&'static str, FieldType)> {
        self.fields.iter()
    }

    /// Adds the field at `path`. A dot separates the names of an object and of its field.
    pub(in crate::resource) fn insert(&mut self, path: &'static str, of: FieldType) {
        let Some((first, rest)) = path.split_once('.') else {
            return self.add(path, of);
        };
        let mut nested = Self::default();
        nested.insert(rest, of);
        self.add(first, FieldType::Object(nested));
    }

    /// Adds a field. The fields of an object that is there already are added to it; of two other fields with the same
    /// name, the first wins.
    fn add(&mut self, name: &'static str, of: FieldType) {
        match (self.fields.iter_mut().find(|(known, _)| *known == name), of) {
            (None, of) => self.fields.push((name, of)),
            (Some((_, FieldType::Object(known))), FieldType::Object(new)) => {
                for (name, of) in new.fields {
                    known.add(name, of);
                }
            }
            (Some(_), _) => {}
        }
    }

    /// Returns the fields of these and of `other`. Of two fields with the same name, the one of these wins.
    pub(in crate::resource) fn or(mut self, other: Self) -> Self {
        for (name, of) in other.fields {
            if self.fields.iter().all(|(known, _)| *known != name) {
                self.fields.push((name, of));
            }
        }
        self
    }
}

/// Parses a whole number, written as `7`, `7.0` or `0.7e1`. Returns `None` if `raw` is not one.
fn whole_number(raw: &str) -> Option<i64> {
    if !is_number(raw) {
        return None;
    }
    raw.parse().ok().or_else(|| super::whole(raw.parse().ok()?))
}

fn is_number(raw: &str) -> bool {
    raw.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}
