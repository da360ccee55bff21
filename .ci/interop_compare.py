"""What is expected of a table, and how it differs from what a reader saw."""

from __future__ import annotations

import datetime
import json
import re
from collections import Counter
from functools import cached_property

import pyarrow

from interop_lakes import Table
from interop_readers import Condition, Questions, Reader, Seen

# So many differing rows are looked for.
MOST_ROWS = 5

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)


class Expected:
    """What `clerk-lake query` says of a table. Times are microseconds here, and days text."""

    def __init__(self, table: Table, rows: list[dict]):
        self.table = table
        self.rows = {table.key_of(row): row for row in map(with_times, rows)}
        self.questions = Questions(figures_sql(table), partitions_sql(table), self.conditions())

    def column(self, name: str) -> list:
        return [row[name] for row in self.rows.values()]

    def conditions(self) -> list[list[Condition]]:
        """The edges of what is there: the last rows written, one row by its key, the last rows of a partition."""
        table, rows = self.table, list(self.rows.values())
        some = rows[len(rows) // 2]
        conditions: list[list[Condition]] = [
            [("_synced_at", ">=", self.bound("_synced_at", max(self.column("_synced_at"))))],
            [(name, "==", self.bound(name, some[name])) for name in table.key],
        ]
        if table.partition:
            value = some[table.partition]
            when = "created_at" if "created_at" in table.types else "date"
            times = sorted(row[when] for row in rows if row[table.partition] == value)
            for time in (times[len(times) // 2], times[-1]):
                conditions.append([(table.partition, "==", value), (when, ">=", self.bound(when, time))])
        return conditions

    def bound(self, column: str, value: object) -> object:
        """A value as conditions have it."""
        kind = self.table.types[column]
        if kind.startswith("Timestamp"):
            return EPOCH + value * MICROSECOND
        return datetime.date.fromisoformat(value) if kind.startswith("Date") else value

    @cached_property
    def found(self) -> list[int]:
        """How many rows there are by each of the conditions."""
        return [sum(all(holds(row, it) for it in wanted) for row in self.rows.values())
                for wanted in self.questions.conditions]

    @cached_property
    def partitions(self) -> dict[object, int]:
        return dict(Counter(self.column(self.table.partition))) if self.table.partition else {}

    @cached_property
    def figures(self) -> dict[str, object]:
        """The answers to `figures_sql`."""
        figures: dict[str, object] = {"rows": len(self.rows)}
        for column in self.table.types:
            values = [value for value in self.column(column) if value is not None]
            answers = {
                "count": len(values),
                "distinct": len(set(values)) if column in self.table.key else None,
                "least": min(values, default=None) if is_ordered(self.table, column) else None,
                "greatest": max(values, default=None) if is_ordered(self.table, column) else None,
                "sum": (sum(values) if values else None) if is_summed(self.table, column) else None,
            }
            figures |= {f"{figure}_{column}": answers[figure] for figure in figures_of(self.table, column)}
        return figures


def is_ordered(table: Table, column: str) -> bool:
    return table.types[column].startswith(("Int", "Timestamp", "Date", "Utf8")) and column != table.partition


def is_summed(table: Table, column: str) -> bool:
    return table.types[column] == "Int64"


# The figures, and the SQL that all engines understand.
FIGURES = {
    "count": "count({})",
    "distinct": "count(DISTINCT {})",
    "least": "min({})",
    "greatest": "max({})",
    "sum": "sum({})",
}


def figures_of(table: Table, column: str) -> list[str]:
    figures = ["count"]
    if column in table.key:
        figures.append("distinct")
    if is_ordered(table, column):
        figures += ["least", "greatest"]
    if is_summed(table, column):
        figures.append("sum")
    return figures


def figures_sql(table: Table) -> str:
    figures = ["count(*) AS rows_there"]
    for column in table.types:
        figures += [f"{FIGURES[figure].format(column)} AS {figure}_{column}" for figure in figures_of(table, column)]
    return f"SELECT {', '.join(figures)} FROM {table.name}"


def partitions_sql(table: Table) -> str | None:
    if table.partition is None:
        return None
    return f"SELECT {table.partition}, count(*) AS rows_there FROM {table.name} GROUP BY {table.partition}"


def holds(row: dict, condition: Condition) -> bool:
    column, op, bound = condition
    value, bound = row[column], as_compared(bound)
    return value is not None and (value == bound if op == "==" else value >= bound)


def as_compared(bound: object) -> object:
    """A condition's value as rows have it."""
    if isinstance(bound, datetime.datetime):
        return (bound - EPOCH) // MICROSECOND
    return bound.isoformat() if isinstance(bound, datetime.date) else bound


def with_times(value, name: str = ""):
    """A value of `clerk-lake query` with its times as microseconds: a column of times has a name that says so."""
    if isinstance(value, dict):
        return {key: with_times(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_times(inner) for inner in value]
    if name.endswith(("_at", "_timestamp")) and isinstance(value, str):
        return as_compared(datetime.datetime.fromisoformat(value))
    return value


# What a reader saw


def spelled(kind: pyarrow.DataType) -> str:
    """A type as `clerk-lake schema` spells it, however a reader lays it out in memory."""
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
    """The type whose values are compared: microseconds for times, text for days, whole numbers for numbers."""
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
    """The rows that a reader saw; a partition's number is one even where it was taken for text."""
    rows = records(seen)
    if table.numeric_partition and table.partition in seen.column_names:
        for row in rows:
            row[table.partition] = int(row[table.partition])
    return rows


# Differences, as lines of text


def differences(reader: Reader, expected: Expected, seen: Seen) -> list[str]:
    """How what a reader saw differs from what is expected."""
    found = type_differences(reader, expected.table, seen.rows.schema)
    if found:
        return found
    found += row_differences(expected, rows_of(expected.table, seen.rows))
    if seen.figures is not None:
        [figures] = records(seen.figures)
        for (what, wanted), got in zip(expected.figures.items(), figures.values(), strict=True):
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
    for key in differing[:MOST_ROWS]:
        if key not in rows:
            found.append(f"row {key} is missing")
            continue
        for column, value in expected.rows[key].items():
            found += difference(f"{column} of {key}", value, rows[key][column])
    found += [f"row {key} is not expected" for key in list(rows.keys() - expected.rows.keys())[:MOST_ROWS]]
    return found
