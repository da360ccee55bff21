"""The lakes: their locations and tables, and the programs: clerk-lake, the simulator and an S3 server."""

from __future__ import annotations

import datetime
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pyarrow.fs
import pyarrow.ipc

USERS = 2000
ORGANIZATIONS = 60
KEY = "sk_live_simulated"
BUCKET = "lake"
REGION = "us-east-1"

# The type of times in `clerk-lake schema`.
MOMENT = 'Timestamp(µs, "UTC")'

# The columns that changes have in addition to the columns of the table.
CHANGE = {"_change_type": "Utf8", "_commit_version": "Int64", "_commit_timestamp": MOMENT}

# Tables that are not compared. Most need not exist: those that only a rejected or deleted row creates, and those that
# are not read by default.
SOMETIMES = {
    "clerk_rejected_row",
    "clerk_deleted_user",
    "clerk_deleted_organization",
    "clerk_deleted_organization_membership",
    # Not compared yet: times whose names do not end in `_at`, and structs that are null in all rows.
    "clerk_organization_domain",
    "clerk_subscription_item",
    # Read on request only.
    "clerk_allowlist_identifier",
    "clerk_billing_price",
    "clerk_billing_statement",
    "clerk_blocklist_identifier",
    "clerk_directory",
    "clerk_domain",
    "clerk_enterprise_connection",
    "clerk_instance",
    "clerk_machine",
    "clerk_oauth_application",
    "clerk_organization_permission",
    "clerk_payment_attempt",
    "clerk_role_set",
}


@dataclass(frozen=True)
class Place:
    """A lake, and the settings that a reader needs to open it."""

    name: str
    lake: str
    endpoint: str | None = None

    @property
    def options(self) -> dict[str, str]:
        """The settings of the store, with the names of environment variables, which most readers also use."""
        if self.endpoint is None:
            return {}
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "interop",
            "AWS_SECRET_ACCESS_KEY": "interop-secret",
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
        }

    def path(self, table: Table) -> str:
        """Returns the path or URL of a table."""
        return f"{self.lake}/{table.name}"

    def data_files(self, table: Table) -> str:
        """Returns a pattern for the data files of a table. It excludes Delta checkpoints and change data, which are
        also Parquet files."""
        return f"{self.lake}/{table.name}/**/part-*.parquet"

    def file(self, table: Table, ending: str) -> Path:
        """Returns the path of the file that `clerk-lake query` writes."""
        return Path(self.lake) / f"{table.name}.{ending}"

    def arrow(self, table: Table) -> tuple[pyarrow.fs.FileSystem, str]:
        """Returns a PyArrow file system and the path of a table in it."""
        if self.endpoint is None:
            return pyarrow.fs.LocalFileSystem(), self.path(table)
        store = pyarrow.fs.S3FileSystem(
            access_key=self.options["AWS_ACCESS_KEY_ID"],
            secret_key=self.options["AWS_SECRET_ACCESS_KEY"],
            region=REGION,
            endpoint_override=self.endpoint,
        )
        return store, self.path(table).removeprefix("s3://")

    def has_checkpoint(self, table: Table) -> bool:
        """Whether the Delta log of the table has a checkpoint."""
        store, path = self.arrow(table)
        entries = store.get_file_info(pyarrow.fs.FileSelector(f"{path}/_delta_log"))
        return any(entry.path.endswith(".checkpoint.parquet") for entry in entries)


@dataclass(frozen=True)
class Table:
    """A table as `clerk-lake schema` describes it, with its column types in order; or the result of a query."""

    name: str
    key: list[str]
    partition: str | None
    types: dict[str, str]
    # For the result of a query: the SQL, and further arguments of `clerk-lake query`.
    question: str | None = None
    asked: tuple[str, ...] = ()

    @property
    def sql(self) -> str:
        return self.question or f"SELECT * FROM {self.name}"

    def key_of(self, row: dict) -> tuple:
        return tuple(row[column] for column in self.key)

    @property
    def numeric_partition(self) -> bool:
        return self.partition is not None and self.types[self.partition] == "Int32"


class Failed(Exception):
    """The program exited with an error."""


@dataclass(frozen=True)
class Program:
    """clerk-lake, in an environment without other settings for Clerk or AWS."""

    path: str
    directory: Path
    api_url: str = ""

    def run(self, place: Place | None, *arguments: str) -> str:
        return self.output(place, *arguments).decode()

    def output(self, place: Place | None, *arguments: str) -> bytes:
        where = ["--lake", place.lake] if place else []
        done = subprocess.run(
            [self.path, *arguments, *where],
            cwd=self.directory,
            env=environment() | (place.options if place else {}) | {"CLERK_SECRET_KEY": KEY},
            capture_output=True,
        )
        if done.returncode != 0:
            said = (done.stdout + done.stderr).decode(errors="replace")
            raise Failed(f"clerk-lake {' '.join([*arguments, *where])} exited with {done.returncode}:\n{said}")
        return done.stdout

    def sync(self, place: Place, *arguments: str) -> None:
        self.run(place, "sync", "--api-url", self.api_url, "--rate-limit", "off", *arguments)

    def set_clock(self, now: datetime.datetime) -> None:
        """Fixes the clock of the simulated instance at this time, so that all lakes are synced at the same time."""
        request("POST", f"{self.api_url}/_simulator/clock?now={round(now.timestamp() * 1000)}")

    def change(self, changes: dict[str, int], hours: float = 0.5) -> None:
        """Advances the clock of the simulated instance, and then makes this number of changes of each kind."""
        request("POST", f"{self.api_url}/_simulator/clock?advance={round(hours * 3_600_000)}")
        for kind, count in changes.items():
            request("POST", f"{self.api_url}/_simulator/change?kind={kind}&count={count}")

    def tables(self) -> list[Table]:
        described = json.loads(self.run(None, "schema", "--json"))
        return [
            Table(it["table"], it["key"], it["partition"], {column["name"]: column["type"] for column in it["columns"]})
            for it in described
            if it["table"] not in SOMETIMES
        ]

    def rows(self, place: Place, table: Table) -> list[dict]:
        out = self.run(place, "query", table.sql, *table.asked, "--format", "ndjson")
        return [json.loads(line) for line in out.splitlines()]

    def write(self, place: Place, table: Table, file: Path) -> None:
        """Writes the rows of a table to a file, in the format of its extension."""
        file.parent.mkdir(exist_ok=True)
        self.run(place, "query", table.sql, *table.asked, "--output", str(file))

    def changes(self, place: Place, table: Table, since: int) -> pyarrow.Table:
        """Returns the changes of a table after version `since`."""
        asked = ["--changes-since", str(since), "--format", "arrow"]
        return pyarrow.ipc.open_stream(self.output(place, "query", table.sql, *asked)).read_all()

    def status(self, place: Place) -> dict[str, dict]:
        """Returns the output of `clerk-lake status`, by table."""
        return {it["name"]: it for it in json.loads(self.run(place, "status", "--json"))["tables"]}


class Server:
    """A server process that runs until the end of the check."""

    def __init__(self, directory: Path, name: str, *command: str):
        self.log = directory / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=directory, env=environment(), stdout=log, stderr=log)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()

    def wait_for(self, ready: Callable[[], str | None]) -> str:
        for _ in range(300):
            if self.process.poll() is not None:
                break
            if answer := ready():
                return answer
            time.sleep(0.1)
        self.process.terminate()
        raise SystemExit(f"{self.process.args[0]} did not start:\n{self.log.read_text()}")


def simulator(program: Program) -> tuple[Server, str]:
    """Starts a simulated Clerk instance. Returns the server and its address."""
    size = ["--users", str(USERS), "--organizations", str(ORGANIZATIONS), "--simulated-key", KEY]
    server = Server(program.directory, "simulator", program.path, "simulate", "--address", "127.0.0.1:0", *size)

    def address() -> str | None:
        found = re.search(r"^http://\S+$", server.log.read_text(), re.MULTILINE)
        return found and found.group()

    return server, server.wait_for(address)


def s3_server(directory: Path) -> tuple[Server, str]:
    """Starts an S3 server with an empty bucket. Returns the server and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    endpoint = f"http://127.0.0.1:{port}"
    moto = Path(sys.executable).with_name("moto_server")
    server = Server(directory, "s3", str(moto), "-H", "127.0.0.1", "-p", port)

    def create_bucket() -> str | None:
        try:
            request("PUT", f"{endpoint}/{BUCKET}")
        except urllib.error.URLError:
            return None
        return endpoint

    return server, server.wait_for(create_bucket)


def request(method: str, url: str) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    direct.open(urllib.request.Request(url, method=method, data=b"")).close()


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CLERK_"))}
