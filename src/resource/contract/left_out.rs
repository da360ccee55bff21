//! The fields of the contract that are not read, by resource.

/// The fields that are not read.
pub(super) const LEFT_OUT: &[(&str, &[&str])] = &[];
