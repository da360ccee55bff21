"""The readers: one function and one entry in `READERS` for each way to read a lake.

The readers do not depend on clerk-lake. Other modules compare what they return.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import pyarrow
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet

from interop_lakes import BUCKET, REGION, Place, Table

# The directory in which engines can write.
WORK = Path(os.environ["INTEROP_WORK"])


class Skip(Exception):
    """A reader is not available on this machine. The message says why."""


# A condition: column, operator (== or >=), value.
Condition = tuple[str, str, object]


@dataclass(frozen=True)
class Questions:
    """The queries of a table, in addition to all rows: SQL for aggregates, and lists of conditions that all hold."""

    aggregates: str
    partitions: str | None
    conditions: list[list[Condition]]


@dataclass(frozen=True)
class Seen:
    """What a reader returned. `found` has the number of rows for each list of conditions. Without SQL, there are no
    aggregates."""

    rows: pyarrow.Table
    found: list[int]
    aggregates: pyarrow.Table | None = None
    partitions: pyarrow.Table | None = None


def seen_by_sql(table: Table, run: Callable[[str], pyarrow.Table], questions: Questions) -> Seen:
    """Queries a reader that supports SQL."""

    def count(conditions: list[Condition]) -> int:
        wanted = " AND ".join(f"{column} {'=' if op == '==' else op} {literal(it)}" for column, op, it in conditions)
        return run(f"SELECT count(*) AS found FROM {table.name} WHERE {wanted}").column("found")[0].as_py()

    return Seen(
        rows=run(f"SELECT * FROM {table.name}"),
        found=[count(conditions) for conditions in questions.conditions],
        aggregates=run(questions.aggregates),
        partitions=run(questions.partitions) if questions.partitions else None,
    )


def literal(value: object) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'"


def seen_by_scan(scan: Callable[[list[Condition] | None], pyarrow.Table], questions: Questions) -> Seen:
    """Queries a reader that supports conditions instead of SQL."""
    return Seen(rows=scan(None), found=[scan(conditions).num_rows for conditions in questions.conditions])


def expression(conditions: list[Condition] | None) -> pyarrow.compute.Expression | None:
    return pyarrow.parquet.filters_to_expression(conditions) if conditions else None


# DuckDB


def duckdb_parquet(place: Place, table: Table, questions: Questions) -> Seen:
    files = f"read_parquet('{place.data_files(table)}', hive_partitioning = true)"
    return seen_by_duckdb(place, table, files, (), questions)


def duckdb_delta(place: Place, table: Table, questions: Questions) -> Seen:
    return seen_by_duckdb(place, table, f"delta_scan('{place.path(table)}')", ("delta",), questions)


def seen_by_duckdb(place: Place, table: Table, relation: str, extensions: tuple, questions: Questions) -> Seen:
    connection = duckdb_with(extensions + (("httpfs",) if place.endpoint else ()))
    if place.endpoint:
        connection.execute(
            "CREATE OR REPLACE SECRET store (TYPE s3, "
            f"KEY_ID '{place.options['AWS_ACCESS_KEY_ID']}', SECRET '{place.options['AWS_SECRET_ACCESS_KEY']}', "
            f"REGION '{REGION}', ENDPOINT '{place.endpoint.removeprefix('http://')}', USE_SSL false, URL_STYLE 'path')"
        )
    connection.execute(f"CREATE OR REPLACE VIEW {table.name} AS SELECT * FROM {relation}")
    return seen_by_sql(table, lambda text: connection.sql(text).to_arrow_table(), questions)


@cache
def duckdb_with(extensions: tuple):
    import duckdb

    packaged = Path(duckdb.__file__).parents[1] / "duckdb_ext" / "extensions"
    directory = packaged if packaged.is_dir() else WORK / "duckdb-extensions"
    connection = duckdb.connect(config={"extension_directory": str(directory)})
    for extension in extensions:
        if not packaged.is_dir() and not can_install(extension, directory):
            raise Skip(f"the DuckDB extension {extension} cannot be downloaded")
        connection.execute(f"LOAD {extension}")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@cache
def can_install(extension: str, directory: Path) -> bool:
    import duckdb

    try:
        duckdb.connect(config={"extension_directory": str(directory)}).execute(f"INSTALL {extension}")
    except (duckdb.HTTPException, duckdb.IOException):
        return False
    return True


# Polars


def polars_delta(place: Place, table: Table, questions: Questions) -> Seen:
    import polars

    frame = polars.scan_delta(place.path(table), storage_options=place.options)
    return seen_by_polars(frame, table, questions)


def polars_parquet(place: Place, table: Table, questions: Questions) -> Seen:
    import polars

    frame = polars.scan_parquet(place.data_files(table), hive_partitioning=True, storage_options=place.options)
    return seen_by_polars(frame, table, questions)


def seen_by_polars(frame, table: Table, questions: Questions) -> Seen:
    import polars

    context = polars.SQLContext({table.name: frame})
    return seen_by_sql(table, lambda text: context.execute(text).collect().to_arrow(), questions)


# pandas and PyArrow


def pandas_parquet(place: Place, table: Table, questions: Questions) -> Seen:
    import pandas

    store, path = place.arrow(table)
    store = store if place.endpoint else None

    def scan(conditions: list[Condition] | None) -> pyarrow.Table:
        frame = pandas.read_parquet(path, filesystem=store, filters=conditions)
        return pyarrow.Table.from_pandas(frame, preserve_index=False)

    return seen_by_scan(scan, questions)


def pyarrow_dataset(place: Place, table: Table, questions: Questions) -> Seen:
    store, path = place.arrow(table)
    dataset = pyarrow.dataset.dataset(path, partitioning="hive", filesystem=store)
    return seen_by_scan(lambda conditions: dataset.to_table(filter=expression(conditions)), questions)


# deltalake


def deltalake_sql(place: Place, table: Table, questions: Questions) -> Seen:
    import deltalake

    builder = deltalake.QueryBuilder().register(table.name, delta_table(place, table))
    return seen_by_sql(table, lambda text: pyarrow.table(builder.execute(text).read_all()), questions)


def deltalake_pyarrow(place: Place, table: Table, questions: Questions) -> Seen:
    delta = delta_table(place, table)
    return seen_by_scan(lambda conditions: delta.to_pyarrow_table(filters=expression(conditions)), questions)


def delta_table(place: Place, table: Table):
    import deltalake

    return deltalake.DeltaTable(place.path(table), storage_options=place.options)


# DataFusion


def datafusion_registered(place: Place, table: Table, questions: Questions) -> Seen:
    context = datafusion_with(place)
    kind = pyarrow.int32() if table.numeric_partition else pyarrow.string()
    partitions = [(table.partition, kind)] if table.partition else []
    context.register_parquet(table.name, f"{place.path(table)}/", table_partition_cols=partitions)
    return seen_by_sql(table, lambda text: context.sql(text).to_arrow_table(), questions)


def datafusion_created(place: Place, table: Table, questions: Questions) -> Seen:
    context = datafusion_with(place)
    create = f"CREATE EXTERNAL TABLE {table.name} STORED AS PARQUET LOCATION '{place.path(table)}/'"
    context.sql(create).collect()
    return seen_by_sql(table, lambda text: context.sql(text).to_arrow_table(), questions)


def datafusion_delta(place: Place, table: Table, questions: Questions) -> Seen:
    context = datafusion_with(place)
    context.register_table(table.name, delta_table(place, table))
    return seen_by_sql(table, lambda text: context.sql(text).to_arrow_table(), questions)


def datafusion_with(place: Place):
    from datafusion import SessionContext
    from datafusion.object_store import AmazonS3

    context = SessionContext()
    if place.endpoint:
        store = AmazonS3(
            bucket_name=BUCKET,
            region=REGION,
            access_key_id=place.options["AWS_ACCESS_KEY_ID"],
            secret_access_key=place.options["AWS_SECRET_ACCESS_KEY"],
            endpoint=place.endpoint,
            allow_http=True,
        )
        context.register_object_store("s3://", store, BUCKET)
    return context


# Spark


def spark_parquet(place: Place, table: Table, questions: Questions) -> Seen:
    spark = spark_session()
    spark.read.parquet(place.path(table)).createOrReplaceTempView(table.name)
    return seen_by_sql(table, lambda text: spark.sql(text).toArrow(), questions)


LOG4J = """
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
rootLogger.level = error
rootLogger.appenderRef.console.ref = console
"""


@cache
def spark_session():
    java = Path(os.environ.get("JAVA_HOME", "")) / "bin" / "java"
    if not java.is_file() and not shutil.which("java"):
        raise Skip("Java is not installed")
    directory = WORK / "spark"
    directory.mkdir()
    (directory / "log4j2.properties").write_text(LOG4J)
    os.environ.update(SPARK_CONF_DIR=str(directory), SPARK_LOCAL_DIRS=str(directory), SPARK_LOCAL_IP="127.0.0.1")
    warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("interop")
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(directory),
    }.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


@dataclass(frozen=True)
class Reader:
    """A way to read a lake, and how its types differ from those of the program."""

    package: str
    name: str
    see: Callable[[Place, Table, Questions], Seen]
    # Whether it is the earlier DuckDB with extensions from PyPI.
    packaged: bool = False
    # The types that it can use for a numeric partition column, if it reads the value from a directory name.
    partition_numbers: frozenset[str] = frozenset({"Int32"})
    # Whether integers with nulls become floating-point numbers, and lists and structs become Python objects.
    objects: bool = False
    # The reason if it does not read from S3.
    only_local: str | None = None
    # Whether it is too slow to run after each step.
    slow: bool = False


GUESSED = frozenset({"Int32", "Int64"})

READERS = [
    Reader("duckdb", "read_parquet", duckdb_parquet, partition_numbers=GUESSED),
    Reader("duckdb", "delta_scan", duckdb_delta),
    Reader("duckdb", "read_parquet", duckdb_parquet, packaged=True, partition_numbers=GUESSED),
    Reader("duckdb", "delta_scan", duckdb_delta, packaged=True),
    Reader("polars", "scan_parquet", polars_parquet, partition_numbers=GUESSED),
    Reader("polars", "scan_delta", polars_delta),
    Reader("pandas", "read_parquet", pandas_parquet, objects=True),
    Reader("pyarrow", "dataset", pyarrow_dataset),
    Reader("deltalake", "to_pyarrow_table", deltalake_pyarrow),
    Reader("deltalake", "QueryBuilder", deltalake_sql),
    Reader("datafusion", "register_parquet", datafusion_registered),
    Reader("datafusion", "CREATE EXTERNAL TABLE", datafusion_created, partition_numbers=frozenset({"Utf8"})),
    Reader(
        "datafusion",
        "register_table(DeltaTable)",
        datafusion_delta,
        only_local="a registered DeltaTable does not include its object store",
    ),
    Reader("pyspark", "read.parquet", spark_parquet, only_local="Spark's S3 support is not on PyPI", slow=True),
]


# A process can load only one version of DuckDB, so the earlier version has its own process.


PACKAGED = WORK / "duckdb"


@cache
def packaged_duckdb() -> ProcessPoolExecutor:
    if not (PACKAGED / "duckdb_ext").is_dir():
        raise Skip("PyPI has no DuckDB with extensions for this machine")
    return ProcessPoolExecutor(1, get_context("spawn"), load_first_from, (str(PACKAGED),))


def load_first_from(directory: str) -> None:
    sys.path.insert(0, directory)


def ask(reader: Reader, place: Place, table: Table, questions: Questions) -> Seen:
    """Runs a reader on a table.

    Raises `Skip` if that is not possible on this machine.
    """
    if place.endpoint and reader.only_local:
        raise Skip(reader.only_local)
    if reader.packaged:
        return packaged_duckdb().submit(reader.see, place, table, questions).result()
    return reader.see(place, table, questions)


def full_name(reader: Reader) -> str:
    """Returns the name of a reader with its version."""
    places = {"path": [str(PACKAGED)]} if reader.packaged else {}
    versions = [it.version for it in importlib.metadata.distributions(name=reader.package, **places)]
    return " ".join([reader.package, *versions[:1], reader.name])
