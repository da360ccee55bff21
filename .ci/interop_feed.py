"""The change data feed: the changes since a version according to clerk-lake and other readers, and their result."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow

from interop_compare import MAX_ROWS, Expected, difference, records, spelled, with_times
from interop_lakes import CHANGE, Place, Program, Table
from interop_readers import Skip, delta_table

# The change types that show a row before a change, and those that show it after.
BEFORE = {"update_preimage", "delete"}
AFTER = {"update_postimage", "insert"}


@dataclass(frozen=True)
class FeedReader:
    """A way to read the changes since a version."""

    package: str
    name: str
    see: Callable[[Place, Table, int], pyarrow.Table]
    # Columns with different types than in clerk-lake.
    types: dict[str, str] = field(default_factory=dict)
    packaged: bool = False


def deltalake_feed(place: Place, table: Table, since: int) -> pyarrow.Table:
    # There may be no version after `since`.
    changes = delta_table(place, table).load_cdf(starting_version=since + 1, allow_out_of_range=True)
    return pyarrow.table(changes.read_all())


def spark_feed(place: Place, table: Table, since: int) -> pyarrow.Table:
    raise Skip("Delta's jars for Spark are not on PyPI")


FEED_READERS = [
    FeedReader(
        "deltalake",
        "load_cdf",
        deltalake_feed,
        types={"_commit_version": "uint64", "_commit_timestamp": 'Timestamp(ms, "None")'},
    ),
    FeedReader("pyspark", "readChangeFeed", spark_feed),
]


class Changes:
    """The changes of a table according to `clerk-lake query --changes-since`."""

    def __init__(self, table: Table, since: int, seen: pyarrow.Table):
        self.table = table
        self.since = since
        self.type_differences = type_differences(table, seen.schema, {})
        self.rows = rows_of(seen)

    def missing(self) -> list[str]:
        """Returns a difference if a kind of change is missing."""
        return difference("kinds of change", BEFORE | AFTER, {row["_change_type"] for row in self.rows})

    def differences(self, reader: FeedReader, place: Place) -> list[str]:
        """Returns the differences from the changes of another reader."""
        seen = reader.see(place, self.table, self.since)
        found = self.type_differences or type_differences(self.table, seen.schema, reader.types)
        if found:
            return found
        expected, got = (Counter(map(as_text, rows)) for rows in (self.rows, rows_of(seen)))
        found = difference(f"changes since {self.since}", expected.total(), got.total())
        found += [f"since {self.since}, missing: {row}" for row in list(expected - got)[:MAX_ROWS]]
        found += [f"since {self.since}, not expected: {row}" for row in list(got - expected)[:MAX_ROWS]]
        return found


def type_differences(table: Table, schema: pyarrow.Schema, own: dict[str, str]) -> list[str]:
    expected = table.types | CHANGE | own
    found = difference("columns of changes", sorted(expected), sorted(schema.names))
    if found:
        return found
    got = {field.name: spelled(field.type) for field in schema}
    return [it for name, kind in expected.items() for it in difference(f"type of {name}", kind, got[name])]


def rows_of(seen: pyarrow.Table) -> list[dict]:
    """Returns changes as rows, with commit times in microseconds."""
    at = seen.schema.get_field_index("_commit_timestamp")
    times = seen.column(at).cast(pyarrow.timestamp("us", "UTC"))
    return records(seen.set_column(at, "_commit_timestamp", times))


def as_text(row: dict) -> str:
    return json.dumps(row, sort_keys=True)


class Feed:
    """Follows a lake: loads every table once, and then only applies changes."""

    def __init__(self, program: Program, place: Place, tables: list[Table]):
        self.program = program
        self.place = place
        self.tables = tables
        self.since = self.versions()
        self.rows = {table.name: self.loaded(table) for table in tables}

    def versions(self) -> dict[str, int]:
        return {name: it["version"] for name, it in self.program.status(self.place).items()}

    def loaded(self, table: Table) -> dict[tuple, dict]:
        rows = map(with_times, self.program.rows(self.place, table))
        return {table.key_of(row): content(row) for row in rows}

    def news(self) -> list[Changes]:
        """Returns the changes since the last call."""
        since, self.since = self.since, self.versions()
        return [self.changes(table, since[table.name]) for table in self.tables]

    def everything(self) -> list[Changes]:
        """Returns all recorded changes."""
        status = self.program.status(self.place)
        return [self.changes(table, status[table.name]["feed_begins"]) for table in self.tables]

    def changes(self, table: Table, since: int) -> Changes:
        return Changes(table, since, self.program.changes(self.place, table, since))

    def follow(self, changes: Changes, expected: Expected) -> list[str]:
        """Applies changes. Returns the differences between the result and the table."""
        rows, found = self.rows[changes.table.name], []
        for change in sorted(changes.rows, key=in_order):
            key, kind = changes.table.key_of(change), change["_change_type"]
            row = content({name: change[name] for name in changes.table.types})
            found += difference(f"{key} before {kind}", None if kind in AFTER else row, rows.pop(key, None))
            if kind in AFTER:
                rows[key] = row
        wanted = {key: content(row) for key, row in expected.rows.items()}
        differing = [key for key in rows.keys() | wanted.keys() if rows.get(key) != wanted.get(key)]
        for key in differing[:MAX_ROWS]:
            found += difference(f"{key} by its changes", wanted.get(key), rows.get(key))
        return found


def in_order(change: dict) -> tuple[int, bool]:
    """Sort key of a change: by version, and within a version rows before a change first."""
    return change["_commit_version"], change["_change_type"] in AFTER


def content(row: dict) -> dict:
    """Returns a row without `_synced_at`, which also changes if a row is only read again."""
    return {name: value for name, value in row.items() if name != "_synced_at"}
