"""The files that `clerk-lake query --output` writes: the queries, and the readers of files."""

from __future__ import annotations

import pyarrow
import pyarrow.dataset
import pyarrow.ipc
import pyarrow.parquet

from interop_lakes import CHANGE, MOMENT, Place, Table
from interop_readers import (
    Condition,
    Questions,
    Reader,
    Seen,
    duckdb_with,
    expression,
    seen_by_duckdb,
    seen_by_polars,
    seen_by_scan,
    seen_by_sql,
)

# The extensions of the files, from which the program infers the format.
ENDINGS = ("parquet", "arrow")

# A query with computed columns: text, sums, lists, dates and times.
SESSIONS = Table(
    name="sessions_by_month",
    key=["month", "status"],
    partition=None,
    types={
        "month": "Utf8",
        "status": "Utf8",
        "sessions": "Int64",
        "mobile": "Int64",
        "browsers": "List(Utf8, field: 'element')",
        "first_created_at": MOMENT,
        "month_began_at": MOMENT,
        "last_day": "Date32",
        "_synced_at": MOMENT,
    },
    question="""
        SELECT CAST(date_trunc('month', created_at) AS VARCHAR) AS month, upper(status) AS status, count(*) AS sessions,
               sum(CASE WHEN latest_activity['is_mobile'] THEN 1 END) AS mobile,
               array_agg(DISTINCT latest_activity['browser_name'] ORDER BY latest_activity['browser_name']) AS browsers,
               min(created_at) AS first_created_at, date_trunc('month', max(created_at)) AS month_began_at,
               CAST(max(created_at) AS DATE) AS last_day, max(_synced_at) AS _synced_at
        FROM clerk_session
        GROUP BY 1, 2
    """,
)


def changes_of(table: Table, since: int) -> Table:
    """Returns the changed rows of a table since a version, as a table."""
    return Table(
        name=f"{table.name}_changes",
        key=[*table.key, "_commit_version", "_change_type"],
        partition=None,
        types=table.types | CHANGE,
        question=table.sql,
        asked=("--changes-since", str(since)),
    )


def pyarrow_parquet(place: Place, table: Table, questions: Questions) -> Seen:
    path = place.file(table, "parquet")
    return seen_by_scan(lambda wanted: pyarrow.parquet.read_table(path, filters=expression(wanted)), questions)


def pyarrow_arrow(place: Place, table: Table, questions: Questions) -> Seen:
    with pyarrow.memory_map(str(place.file(table, "arrow"))) as file:
        return seen_by_table(pyarrow.ipc.open_file(file).read_all(), questions)


def seen_by_table(rows: pyarrow.Table, questions: Questions) -> Seen:
    """Queries a reader that supports no conditions."""

    def scan(conditions: list[Condition] | None) -> pyarrow.Table:
        return rows.filter(expression(conditions)) if conditions else rows

    return seen_by_scan(scan, questions)


def polars_parquet(place: Place, table: Table, questions: Questions) -> Seen:
    import polars

    return seen_by_polars(polars.scan_parquet(place.file(table, "parquet")), table, questions)


def polars_arrow(place: Place, table: Table, questions: Questions) -> Seen:
    import polars

    return seen_by_polars(polars.scan_ipc(place.file(table, "arrow")), table, questions)


def duckdb_parquet(place: Place, table: Table, questions: Questions) -> Seen:
    return seen_by_duckdb(place, table, f"read_parquet('{place.file(table, 'parquet')}')", (), questions)


def duckdb_arrow(place: Place, table: Table, questions: Questions) -> Seen:
    # DuckDB cannot read Arrow files itself. It reads them through PyArrow.
    connection = duckdb_with(())
    connection.register(table.name, pyarrow.dataset.dataset(place.file(table, "arrow"), format="ipc"))
    return seen_by_sql(table, lambda text: connection.sql(text).to_arrow_table(), questions)


def pandas_parquet(place: Place, table: Table, questions: Questions) -> Seen:
    import pandas

    def scan(conditions: list[Condition] | None) -> pyarrow.Table:
        frame = pandas.read_parquet(place.file(table, "parquet"), filters=conditions)
        return pyarrow.Table.from_pandas(frame, preserve_index=False)

    return seen_by_scan(scan, questions)


def pandas_arrow(place: Place, table: Table, questions: Questions) -> Seen:
    import pandas

    frame = pandas.read_feather(place.file(table, "arrow"))
    return seen_by_table(pyarrow.Table.from_pandas(frame, preserve_index=False), questions)


FILE_READERS = [
    Reader("pyarrow", "parquet.read_table", pyarrow_parquet),
    Reader("pyarrow", "ipc.open_file", pyarrow_arrow),
    Reader("polars", "scan_parquet", polars_parquet),
    Reader("polars", "scan_ipc", polars_arrow),
    Reader("duckdb", "read_parquet", duckdb_parquet),
    Reader("duckdb", "PyArrow's IPC dataset", duckdb_arrow),
    Reader("pandas", "read_parquet", pandas_parquet, objects=True),
    Reader("pandas", "read_feather", pandas_arrow, objects=True),
]
