//! Times with microseconds, which is what the lake stores. DataFusion prefers nanoseconds, which exist only from 1677 to
//! 2262: one user of the year 1, or a bound in the year 9999, would make every comparison fail.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{Between, BinaryExpr};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility, cast,
};
use datafusion::sql::sqlparser::ast::{DataType as SqlType, TimezoneInfo};

fn micros(zone: Option<&str>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into))
}

/// Lets the SQL type `TIMESTAMP` have microseconds.
#[derive(Debug)]
pub(super) struct Microseconds;

impl TypePlanner for Microseconds {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>, DataFusionError> {
        let zone = match sql_type {
            SqlType::Timestamp(None, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => Some("UTC"),
            SqlType::Timestamp(None, _) => None,
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", micros(zone), true))))
    }
}

/// `now()`, in microseconds.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Now {
    signature: Signature,
    aliases: Vec<String>,
}

impl Default for Now {
    fn default() -> Self {
        Self { signature: Signature::nullary(Volatility::Stable), aliases: vec!["current_timestamp".to_owned()] }
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &'static str {
        "now"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(micros(Some("UTC")))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef, DataFusionError> {
        Ok(Arc::new(Field::new(self.name(), micros(Some("UTC")), false)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        Err(DataFusionError::Execution("now() is known only while a query is planned".to_owned()))
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult, DataFusionError> {
        let Some(now) = info.query_execution_start_time() else { return Ok(ExprSimplifyResult::Original(args)) };
        let now = ScalarValue::TimestampMicrosecond(Some(now.timestamp_micros()), Some("UTC".into()));
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(now, None)))
    }
}

/// Compares a time in microseconds with a day, a time in nanoseconds or text in microseconds.
#[derive(Debug)]
pub(super) struct Comparisons;

impl FunctionRewrite for Comparisons {
    fn name(&self) -> &'static str {
        "comparisons_in_microseconds"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>, DataFusionError> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
                let left_as = converted(&left, &right, schema);
                let right_as = converted(&right, &left, schema);
                let changed = left_as.is_some() || right_as.is_some();
                let (left, right) = (left_as.map_or(left, Box::new), right_as.map_or(right, Box::new));
                let expr = Expr::BinaryExpr(BinaryExpr { left, op, right });
                Ok(Transformed::new_transformed(expr, changed))
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let (low_as, high_as) = (converted(&low, &expr, schema), converted(&high, &expr, schema));
                let changed = low_as.is_some() || high_as.is_some();
                let (low, high) = (low_as.map_or(low, Box::new), high_as.map_or(high, Box::new));
                Ok(Transformed::new_transformed(Expr::Between(Between { expr, negated, low, high }), changed))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

/// Returns `side` in microseconds, if the `other` side is a time in microseconds and `side` would make DataFusion
/// compare in nanoseconds.
fn converted(side: &Expr, other: &Expr, schema: &DFSchema) -> Option<Expr> {
    let target = other.get_type(schema).ok()?;
    let DataType::Timestamp(TimeUnit::Microsecond, zone) = &target else { return None };
    match side.get_type(schema).ok()? {
        DataType::Date32 | DataType::Date64 => Some(cast(side.clone(), target)),
        DataType::Timestamp(TimeUnit::Nanosecond, own) => Some(cast(side.clone(), micros(own.as_deref()))),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let Expr::Literal(value, _) = side else { return None };
            let time = time_of(value.try_as_str()??)?;
            Some(Expr::Literal(ScalarValue::TimestampMicrosecond(Some(time), zone.clone()), None))
        }
        _ => None,
    }
}

/// Returns the time that `text` says, in Unix microseconds: a day, or a time without or with a time zone.
fn time_of(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Some(day.and_time(NaiveTime::MIN).and_utc().timestamp_micros());
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    let time = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?;
    Some(time.and_utc().timestamp_micros())
}
