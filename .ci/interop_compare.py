"""The expected content of a table, and its differences from what a reader returns."""

from __future__ import annotations

import datetime
import json
import re
from collections import Counter
from functools import cached_property

import pyarrow

from interop_lakes import Table
from interop_readers import Condition, Questions, Reader, Seen

# Number of differing rows to report.
MAX_ROWS = 5

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)


class Expected:
    """The rows of a table from `clerk-lake query`. Times are microseconds, and dates are text."""

    def __init__(self, table: Table, rows: list[dict]):
        self.table = table
        self.rows = {table.key_of(row): row for row in map(with_times, rows)}
        self.questions = Questions(aggregates_sql(table), partitions_sql(table), self.conditions())

    def column(self, name: str) -> list:
        return [row[name] for row in self.rows.values()]

    def conditions(self) -> list[list[Condition]]:
        """Returns conditions for the last rows written, one row by its key, and the last rows of a partition."""
        table, rows = self.table, list(self.rows.values())
        some = rows[len(rows) // 2]
        conditions: list[list[Condition]] = [
            [("_synced_at", ">=", self.bound("_synced_at", max(self.column("_synced_at"))))],
            [(name, "==", self.bound(name, some[name])) for name in table.key],
        ]
        if table.partition:
            value = some[table.partition]
            when = next(name for name in ("created_at", "timestamp", "date") if name in table.types)
            times = sorted(row[when] for row in rows if row[table.partition] == value)
            for time in (times[len(times) // 2], times[-1]):
                conditions.append([(table.partition, "==", value), (when, ">=", self.bound(when, time))])
        return conditions

    def bound(self, column: str, value: object) -> object:
        """Converts a value to the type for conditions."""
        kind = self.table.types[column]
        if kind.startswith("Timestamp"):
            return EPOCH + value * MICROSECOND
        return datetime.date.fromisoformat(value) if kind.startswith("Date") else value

    @cached_property
    def found(self) -> list[int]:
        """The number of rows for each list of conditions."""
        return [sum(all(holds(row, it) for it in wanted) for row in self.rows.values())
                for wanted in self.questions.conditions]

    @cached_property
    def partitions(self) -> dict[object, int]:
        return dict(Counter(self.column(self.table.partition))) if self.table.partition else {}

    @cached_property
    def aggregates(self) -> dict[str, object]:
        """The results of `aggregates_sql`."""
        aggregates: dict[str, object] = {"rows": len(self.rows)}
        for column in self.table.types:
            values = [value for value in self.column(column) if value is not None]
            answers = {
                "count": len(values),
                "distinct": len(set(values)) if column in self.table.key else None,
                "least": min(values, default=None) if is_ordered(self.table, column) else None,
                "greatest": max(values, default=None) if is_ordered(self.table, column) else None,
                "sum": (sum(values) if values else None) if is_summed(self.table, column) else None,
            }
            aggregates |= {f"{name}_{column}": answers[name] for name in aggregates_of(self.table, column)}
        return aggregates


def is_ordered(table: Table, column: str) -> bool:
    return table.types[column].startswith(("Int", "Timestamp", "Date", "Utf8")) and column != table.partition


def is_summed(table: Table, column: str) -> bool:
    return table.types[column] == "Int64"


# The aggregates, in SQL that all engines understand.
AGGREGATES = {
    "count": "count({})",
    "distinct": "count(DISTINCT {})",
    "least": "min({})",
    "greatest": "max({})",
    "sum": "sum({})",
}


def aggregates_of(table: Table, column: str) -> list[str]:
    aggregates = ["count"]
    if column in table.key:
        aggregates.append("distinct")
    if is_ordered(table, column):
        aggregates += ["least", "greatest"]
    if is_summed(table, column):
        aggregates.append("sum")
    return aggregates


def aggregates_sql(table: Table) -> str:
    aggregates = ["count(*) AS rows_there"]
    for column in table.types:
        names = aggregates_of(table, column)
        aggregates += [f"{AGGREGATES[name].format(column)} AS {name}_{column}" for name in names]
    return f"SELECT {', '.join(aggregates)} FROM {table.name}"


def partitions_sql(table: Table) -> str | None:
    if table.partition is None:
        return None
    return f"SELECT {table.partition}, count(*) AS rows_there FROM {table.name} GROUP BY {table.partition}"


def holds(row: dict, condition: Condition) -> bool:
    column, op, bound = condition
    value, bound = row[column], as_compared(bound)
    return value is not None and (value == bound if op == "==" else value >= bound)


def as_compared(bound: object) -> object:
    """Converts the value of a condition to the type in rows."""
    if isinstance(bound, datetime.datetime):
        return (bound - EPOCH) // MICROSECOND
    return bound.isoformat() if isinstance(bound, datetime.date) else bound


def with_times(value, name: str = ""):
    """Converts times in a value of `clerk-lake query` to microseconds. Time columns end in _at or _timestamp."""
    if isinstance(value, dict):
        return {key: with_times(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_times(inner) for inner in value]
    if name.endswith(("_at", "_timestamp")) and isinstance(value, str):
        return as_compared(datetime.datetime.fromisoformat(value))
    return value


# What a reader returned


def spelled(kind: pyarrow.DataType) -> str:
    """Formats a type as `clerk-lake schema` does, independent of the memory layout."""
    types = pyarrow.types
    if types.is_dictionary(kind):
        return spelled(kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "Utf8"
    if types.is_timestamp(kind):
        return f'Timestamp({kind.unit.replace("u", "µ")}, "{kind.tz}")'
    if types.is_struct(kind):
        return f"Struct({', '.join(f'{json.dumps(inner.name)}: {spelled(inner.type)}' for inner in kind)})"
    if types.is_list(kind) or types.is_large_list(kind):
        return f"List({spelled(kind.value_type)}, field: 'element')"
    others = {"bool": "Boolean", "int32": "Int32", "int64": "Int64", "double": "Float64", "date32[day]": "Date32"}
    return others.get(str(kind), str(kind))


def comparable(kind: pyarrow.DataType) -> pyarrow.DataType:
    """Returns the type for comparison: microseconds for times, text for dates, integers for numbers."""
    types = pyarrow.types
    if types.is_timestamp(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return pyarrow.int64()
    if types.is_date(kind):
        return pyarrow.string()
    if types.is_dictionary(kind):
        return kind.value_type
    if types.is_struct(kind):
        return pyarrow.struct([pyarrow.field(inner.name, comparable(inner.type)) for inner in kind])
    if types.is_list(kind) or types.is_large_list(kind):
        return pyarrow.list_(comparable(kind.value_type))
    return kind


def records(table: pyarrow.Table) -> list[dict]:
    columns = [table.column(field.name).cast(comparable(field.type)).to_pylist() for field in table.schema]
    return [dict(zip(table.column_names, row)) for row in zip(*columns)]


def rows_of(table: Table, seen: pyarrow.Table) -> list[dict]:
    """Returns the rows that a reader returned. Numeric partition values become numbers if they were read as text."""
    rows = records(seen)
    if table.numeric_partition and table.partition in seen.column_names:
        for row in rows:
            row[table.partition] = int(row[table.partition])
    return rows


# Differences, as lines of text


def differences(reader: Reader, expected: Expected, seen: Seen) -> list[str]:
    """Returns the differences between the expected content and what a reader returned."""
    found = type_differences(reader, expected.table, seen.rows.schema)
    if found:
        return found
    found += row_differences(expected, rows_of(expected.table, seen.rows))
    if seen.aggregates is not None:
        [aggregates] = records(seen.aggregates)
        for (what, wanted), got in zip(expected.aggregates.items(), aggregates.values(), strict=True):
            found += difference(f"by SQL, {what.replace('_', ' of ', 1)}", wanted, got)
    if seen.partitions is not None:
        parts = {row[expected.table.partition]: row["rows_there"] for row in rows_of(expected.table, seen.partitions)}
        found += difference("by SQL, rows by partition", expected.partitions, parts)
    for wanted, rows, got in zip(expected.questions.conditions, expected.found, seen.found, strict=True):
        shown = " and ".join(f"{column} {op} {value}" for column, op, value in wanted)
        found += difference(f"number of rows where {shown}", rows, got)
    return found


def difference(what: str, expected: object, got: object) -> list[str]:
    return [] if expected == got else [f"{what}: expected {expected!r}, got {got!r}"]


def type_differences(reader: Reader, table: Table, schema: pyarrow.Schema) -> list[str]:
    found = difference("columns", sorted(table.types), sorted(schema.names))
    if found:
        return found
    got = {field.name: spelled(field.type) for field in schema}
    return [
        f"type of {column}: expected {kind}, got {got[column]}"
        for column, kind in table.types.items()
        if not may_be(reader, table, column, got[column])
    ]


def may_be(reader: Reader, table: Table, column: str, got: str) -> bool:
    kind = table.types[column]
    if column == table.partition and table.numeric_partition:
        return got in reader.partition_numbers
    if reader.objects and kind == "Int64":
        return got in {"Int64", "Float64"}
    if reader.objects and kind.startswith(("List", "Struct")):
        return re.match(r"\w+", kind)[0] == re.match(r"\w+", got)[0]
    return kind == got


def row_differences(expected: Expected, got: list[dict]) -> list[str]:
    rows = {expected.table.key_of(row): row for row in got}
    found = difference("number of rows", len(expected.rows), len(got))
    found += difference("number of distinct keys", len(expected.rows), len(rows))
    differing = [key for key, row in expected.rows.items() if rows.get(key) != row]
    for key in differing[:MAX_ROWS]:
        if key not in rows:
            found.append(f"row {key} is missing")
            continue
        for column, value in expected.rows[key].items():
            found += difference(f"{column} of {key}", value, rows[key][column])
    found += [f"row {key} is not expected" for key in list(rows.keys() - expected.rows.keys())[:MAX_ROWS]]
    return found
