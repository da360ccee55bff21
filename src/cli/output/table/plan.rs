//! The result of EXPLAIN, whose plans have many lines: as text instead of a table.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use clerk_lake::Result;
use clerk_lake::harmless::harmless_lines;

use super::cells::values;
use super::{Encoder, Out};
use crate::cli::terminal::check_write;

/// The names of the columns of EXPLAIN.
const COLUMNS: [&str; 2] = ["plan_type", "plan"];

/// Plans, each below its name.
pub struct PlanText<'a> {
    out: Out<'a>,
    has_written: bool,
}

impl<'a> PlanText<'a> {
    pub fn new(out: Out<'a>) -> Self {
        Self { out, has_written: false }
    }

    /// Whether the result with this `schema` is that of EXPLAIN.
    pub fn is_plan(schema: &Schema) -> bool {
        schema.fields().iter().map(|field| field.name().as_str()).eq(COLUMNS)
    }
}

impl Encoder for PlanText<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for row in values(batch, |text| harmless_lines(text).into_owned())? {
            self.has_written = true;
            let [name, plan] = row.as_slice() else { continue };
            check_write(writeln!(self.out, "{}", name.as_deref().unwrap_or_default()))?;
            for line in plan.iter().flat_map(|plan| plan.lines()) {
                check_write(writeln!(self.out, "  {line}"))?;
            }
        }
        check_write(self.out.flush())
    }

    fn has_written(&self) -> bool {
        self.has_written
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        check_write(self.out.flush())
    }
}
