//! Conversion of Arrow record batches to the rows of a metric.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::DateTime;

use super::format::date;
use super::metric::{Kind, ResultColumn, ResultRows, ResultValue};
use crate::error::{Error, Result};

/// Converts `batches`, which all have the same schema.
pub(super) fn rows(batches: &[RecordBatch]) -> Result<ResultRows> {
    let Some(first) = batches.first() else { return Ok(ResultRows::default()) };
    let mut columns = Vec::new();
    for (at, field) in first.schema().fields().iter().enumerate() {
        let kind = kind(field.data_type());
        let mut values = Vec::new();
        for batch in batches {
            append(&mut values, kind, batch.column(at)).map_err(|error| Error::bug(error.to_string()))?;
        }
        columns.push(ResultColumn::new(field.name(), kind, values));
    }
    Ok(ResultRows { columns })
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Dictionary(_, values) => kind(values),
        DataType::Boolean => Kind::Boolean,
        DataType::Date32 | DataType::Date64 => Kind::Date,
        DataType::Timestamp(..) => Kind::Timestamp,
        data_type if data_type.is_integer() => Kind::Integer,
        data_type if data_type.is_numeric() => Kind::Float,
        _ => Kind::Text,
    }
}

fn append(values: &mut Vec<ResultValue>, kind: Kind, column: &ArrayRef) -> Result<(), ArrowError> {
    match kind {
        Kind::Integer => {
            let column = cast(column, &DataType::Int64)?;
            values.extend(column.as_primitive::<Int64Type>().iter().map(|value| or_null(value, ResultValue::Integer)));
        }
        Kind::Float => {
            let column = cast(column, &DataType::Float64)?;
            let finite =
                column.as_primitive::<Float64Type>().iter().map(|value| value.filter(|number| number.is_finite()));
            values.extend(finite.map(|value| or_null(value, ResultValue::Float)));
        }
        Kind::Boolean => {
            let column = cast(column, &DataType::Boolean)?;
            values.extend(column.as_boolean().iter().map(|value| or_null(value, ResultValue::Boolean)));
        }
        Kind::Date => {
            let column = cast(column, &DataType::Date32)?;
            let dates = column.as_primitive::<Date32Type>().iter();
            values.extend(dates.map(|value| or_null(value, |value| ResultValue::Date(date(i64::from(value))))));
        }
        Kind::Timestamp => {
            let column = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))))?;
            let timestamps = column.as_primitive::<TimestampMicrosecondType>().iter();
            values.extend(
                timestamps
                    .map(|value| or_null(value.and_then(DateTime::from_timestamp_micros), ResultValue::Timestamp)),
            );
        }
        Kind::Text => texts(values, column)?,
    }
    Ok(())
}

fn or_null<T>(value: Option<T>, make: impl FnOnce(T) -> ResultValue) -> ResultValue {
    value.map_or(ResultValue::Null, make)
}

fn texts(values: &mut Vec<ResultValue>, column: &ArrayRef) -> Result<(), ArrowError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let nulls = column.logical_nulls();
    values.extend((0..column.len()).map(|row| {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            ResultValue::Null
        } else {
            ResultValue::Text(formatter.value(row).to_string())
        }
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int32Array, NullArray,
        RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
    };
    use arrow::datatypes::Int32Type;

    use super::rows;
    use crate::report::metric::Kind;

    fn converted(column: ArrayRef) -> (Kind, Vec<String>) {
        let batch = RecordBatch::try_from_iter_with_nullable([("x", column, true)]).expect("a batch");
        let mut rows = rows(&[batch.clone(), batch.slice(0, 0)]).expect("rows");
        let column = rows.columns.remove(0);
        (column.kind, column.values.iter().map(|value| value.format(false)).collect())
    }

    #[test]
    fn every_type_has_a_kind() {
        let cases: [(ArrayRef, Kind, [&str; 2]); 10] = [
            (Arc::new(Int32Array::from(vec![Some(1234), None])), Kind::Integer, ["1,234", "–"]),
            (Arc::new(UInt64Array::from(vec![1, 2])), Kind::Integer, ["1", "2"]),
            (Arc::new(Float64Array::from(vec![0.5, f64::NAN])), Kind::Float, ["0.5", "–"]),
            (
                Arc::new(Decimal128Array::from(vec![150, 5]).with_precision_and_scale(5, 2).expect("a decimal")),
                Kind::Float,
                ["1.5", "0.05"],
            ),
            (Arc::new(BooleanArray::from(vec![Some(true), None])), Kind::Boolean, ["yes", "–"]),
            (Arc::new(Date32Array::from(vec![20_000, -1])), Kind::Date, ["2024-10-04", "1969-12-31"]),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![1_500_000, 0]).with_timezone("UTC")),
                Kind::Timestamp,
                ["1970-01-01 00:00:01", "1970-01-01 00:00:00"],
            ),
            (Arc::new(StringArray::from(vec![Some("<b>"), None])), Kind::Text, ["<b>", "–"]),
            (Arc::new(DictionaryArray::<Int32Type>::from_iter([Some("a"), None])), Kind::Text, ["a", "–"]),
            (Arc::new(NullArray::new(2)), Kind::Text, ["–", "–"]),
        ];
        for (column, kind, values) in cases {
            let name = format!("{:?}", column.data_type());
            assert_eq!(converted(column), (kind, values.map(str::to_owned).to_vec()), "{name}");
        }
    }

    #[test]
    fn no_batch_means_no_rows() {
        assert!(rows(&[]).expect("rows").is_empty());
    }
}
