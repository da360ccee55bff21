"""Checks that other engines read what clerk-lake wrote. `.ci/interop` installs the engines and runs this script.

The script syncs a simulated Clerk instance into three lakes: with a full sync, with incremental syncs with changes
between them, and with further syncs until all Delta logs have checkpoints. Maintenance and another full sync follow.
One lake is on local disk and one on S3. The third, also on local disk, records its changes (`--change-data-feed`). The
lake on S3 records changes from the checkpoint step on. The clock of the instance is fixed during the syncs.

After each step, every reader reads every table, and the script compares the result with `clerk-lake query`. Slow
readers run after three of the steps, and the third lake is read after two. The script compares:

- the columns and their types with those of `clerk-lake schema`;
- every value of every row;
- for readers with SQL, aggregates that a reader can answer from statistics: the number of rows, values and distinct
  keys, minimum, maximum, sum, and the number of rows by partition;
- the number of rows for conditions with which a reader can skip partitions, files and row groups.

After each step, the script also checks that:

- all lakes have the same rows;
- in lakes that record changes, other readers of the change data feed see the same changes as `clerk-lake query
  --changes-since`, and the earlier tables with these changes applied equal the current tables.

Finally, `clerk-lake query --output` writes the tables, the changes of one table and the result of another query to
files, and readers of files read them as above.

After its first difference in a place, a reader is not compared there again. The exit code is 1 if there is any
difference.
"""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from interop_compare import Expected, differences, row_differences
from interop_feed import FEED_READERS, Changes, Feed
from interop_files import ENDINGS, FILE_READERS, SESSIONS, changes_of
from interop_lakes import BUCKET, Failed, Place, Program, Table, s3_server, simulator
from interop_readers import READERS, Reader, Skip, ask, full_name

# The changes in Clerk before each incremental sync, and the hours that pass before them.
CHANGES = {
    "changes": (
        1,
        {
            "create-user": 40,
            "update-profile": 30,
            "change-email": 10,
            "ban": 15,
            "activity": 60,
            "create-organization": 5,
            "rename-organization": 5,
            "add-member": 10,
        },
    ),
    "deletions": (
        1,
        {
            "delete-user": 25,
            "delete-organization": 3,
            "remove-member": 8,
            "end-session": 30,
            "clean-up-session": 20,
        },
    ),
    "no changes for a day": (24, {}),
}

# The changes before each sync of the checkpoint step, and before the last full sync.
FEW_CHANGES = {"create-user": 1, "ban": 1, "activity": 1}
LAST_CHANGES = {"create-user": 5, "delete-user": 5, "ban": 5, "activity": 10}

# Number of syncs after which every Delta log must have a checkpoint.
MAX_SYNCS = 120

# The table whose changes must include every kind of change.
FOLLOWED = "clerk_user"

# Checks of clerk-lake itself.
SAME_ROWS = "clerk-lake: the same rows as in the first lake"
BY_CHANGES = "clerk-lake: tables by their changes"
WRITTEN = "clerk-lake: query --output"

# Number of printed differences per reader and place.
MAX_PRINTED = 5


# Readers that need Java, or a DuckDB extension that is not on PyPI.
NEED_MORE = {("pyspark", "read.parquet"), ("pyspark", "readChangeFeed"), ("duckdb", "delta_scan")}


@dataclass
class Outcome:
    """The result of one reader in one place."""

    steps: int = 0
    rows: int = 0
    seconds: float = 0.0
    skipped: str | None = None
    differences: list[str] = field(default_factory=list)

    def summary(self) -> tuple[str, str]:
        if self.skipped:
            return "skip", self.skipped
        if self.differences or self.steps == 0:
            return "FAIL", f"differences: {len(self.differences)}, after {self.steps} steps without differences"
        return "ok", f"{self.steps} steps, {self.rows:,} rows, {self.seconds:.0f} s"


class Check:
    """Runs all steps in all places for all readers."""

    def __init__(self, program: Program, local: Place, s3: Place, recording: Place):
        self.program = program
        self.s3 = s3
        self.recording = recording
        self.places = [local, s3, recording]
        self.tables = program.tables()
        self.feeds: list[Feed] = []
        # By reader and place.
        self.outcomes: dict[tuple[str, str], Outcome] = {}

    def run(self) -> None:
        self.program.set_clock(noon_of_tomorrow())
        self.step("full sync", lambda: self.sync("--full", record=self.recording), slow_too=True)
        for name, (hours, changes) in CHANGES.items():
            self.program.change(changes, hours)
            self.step(name, self.sync)
        self.step("checkpoints", self.sync_until_checkpoints, self.places, slow_too=True)
        self.step("maintain", self.maintain)
        self.program.change(LAST_CHANGES)
        self.step("full sync again", lambda: self.sync("--full"), self.places, slow_too=True)
        self.step_of_feeds()
        self.step_of_files()

    def sync(self, *arguments: str, record: Place | None = None) -> None:
        """Syncs all lakes. The lake `record` records its changes from then on."""
        for place in self.places:
            self.program.sync(place, *arguments, *(["--change-data-feed"] if place is record else []))
        if record:
            self.feeds.append(Feed(self.program, record, self.tables))

    def sync_until_checkpoints(self) -> None:
        self.sync(record=self.s3)
        for _ in range(MAX_SYNCS):
            if all(place.has_checkpoint(table) for place in self.places for table in self.tables):
                return
            self.program.change(FEW_CHANGES)
            self.sync()
        raise SystemExit(f"some tables have no checkpoint after {MAX_SYNCS} syncs")

    def maintain(self) -> None:
        for place in self.places:
            self.program.run(place, "maintain")

    def step(
        self, name: str, act: Callable[[], None], places: list[Place] | None = None, slow_too: bool = False
    ) -> None:
        """Runs a step and compares readers in `places`; by default, in all places except the recording lake."""
        started = time.monotonic()
        act()
        expected = {place.name: self.expected(place, self.tables) for place in self.places}
        first, *others = self.places
        for place in others:
            self.compare_lakes(place, name, expected[place.name], expected[first.name])
        for feed in self.feeds:
            self.compare_feed(feed, name, expected[feed.place.name])
        readers = [it for it in READERS if slow_too or not it.slow]
        for place in places or [it for it in self.places if it is not self.recording]:
            self.compare_readers(readers, place, name, expected[place.name])
        took(name, started)

    def step_of_feeds(self) -> None:
        started = time.monotonic()
        for feed in self.feeds:
            changes = feed.everything()
            self.compare_feed_readers(feed, "all changes", changes)
            followed = [it for it in changes if it.table.name == FOLLOWED]
            self.compare("clerk-lake: every kind of change", feed.place, "all changes", followed, Changes.missing)
        took("all changes", started)

    def step_of_files(self) -> None:
        started = time.monotonic()
        [followed] = [table for table in self.tables if table.name == FOLLOWED]
        written = [*self.tables, changes_of(followed, 0), SESSIONS]
        expected = self.expected(self.recording, written)
        files = Place("files", str(self.program.directory / "files"))
        self.compare(WRITTEN, files, "files", expected, partial(self.write, files))
        self.compare_readers(FILE_READERS, files, "files", expected)
        took("files", started)

    def write(self, files: Place, it: Expected) -> list[str]:
        """Writes a table to files. Returns no differences: errors are exceptions."""
        for ending in ENDINGS:
            self.program.write(self.recording, it.table, files.file(it.table, ending))
        return []

    def expected(self, place: Place, tables: list[Table]) -> list[Expected]:
        return [Expected(table, self.program.rows(place, table)) for table in tables]

    def compare_lakes(self, place: Place, step: str, expected: list[Expected], first: list[Expected]) -> None:
        rows = {it.table.name: list(it.rows.values()) for it in expected}
        self.compare(SAME_ROWS, place, step, first, lambda it: row_differences(it, rows[it.table.name]))

    def compare_feed(self, feed: Feed, step: str, expected: list[Expected]) -> None:
        news, tables = feed.news(), {it.table.name: it for it in expected}
        self.compare(BY_CHANGES, feed.place, step, news, lambda it: feed.follow(it, tables[it.table.name]))
        self.compare_feed_readers(feed, step, news)

    def compare_feed_readers(self, feed: Feed, step: str, changes: list[Changes]) -> None:
        for reader in FEED_READERS:
            found_in = partial(Changes.differences, reader=reader, place=feed.place)
            self.compare(full_name(reader), feed.place, step, changes, found_in)

    def compare_readers(self, readers: list[Reader], place: Place, step: str, expected: list[Expected]) -> None:
        for reader in readers:
            self.compare(full_name(reader), place, step, expected, partial(seen_differences, reader, place))

    def compare(
        self,
        who: str,
        place: Place,
        step: str,
        tables: list[Expected] | list[Changes],
        found_in: Callable[[Expected | Changes], list[str]],
    ) -> None:
        """Records the differences of each table, unless the reader already had differences in the place."""
        outcome = self.outcomes.setdefault((who, place.name), Outcome())
        if outcome.skipped or outcome.differences:
            return
        started = time.monotonic()
        for it in tables:
            try:
                found = found_in(it)
            except Skip as reason:
                outcome.skipped = str(reason)
                return
            except Exception as error:
                found = [f"read failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"]
            outcome.differences += [f"{step}, {it.table.name}, {line}" for line in found]
            outcome.rows += len(it.rows)
        outcome.steps += 1
        outcome.seconds += time.monotonic() - started

    def report(self) -> bool:
        """Prints all results. Returns whether all checks passed."""
        kinds = Counter()
        for (who, place), outcome in self.outcomes.items():
            kind, what = outcome.summary()
            kinds[kind] += 1
            print(f"{kind:4}  {who:44}  {place:9}  {what}")
            for line in outcome.differences[:MAX_PRINTED]:
                print(f"      {line}")
        print(f"{kinds['ok']} passed, {kinds['FAIL']} failed, {kinds['skip']} skipped")
        unread = self.unread()
        for name in unread:
            print(f"FAIL  {name} passed in no place, although PyPI has all that it needs")
        return kinds["FAIL"] == 0 and not unread

    def unread(self) -> list[str]:
        """Returns the readers that passed in no place, although PyPI has all that they need."""
        passed = [who for (who, _), outcome in self.outcomes.items() if outcome.summary()[0] == "ok"]
        needed = {(it.package, it.name) for it in [*READERS, *FEED_READERS]} - NEED_MORE
        has_passed = {(who.split()[0], who.split(maxsplit=2)[-1]) for who in passed}
        return sorted(" ".join(reader) for reader in needed - has_passed)


def seen_differences(reader: Reader, place: Place, it: Expected) -> list[str]:
    return differences(reader, it, ask(reader, place, it.table, it.questions))


def took(step: str, started: float) -> None:
    print(f"==    {step}: {time.monotonic() - started:.0f} s", flush=True)


def noon_of_tomorrow() -> datetime.datetime:
    """Returns a time after all times in the simulated instance, and far from midnight."""
    tomorrow = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    return tomorrow.replace(hour=12, minute=0, second=0, microsecond=0)


def main() -> int:
    path, work = sys.argv[1], Path(os.environ["INTEROP_WORK"])
    served, api_url = simulator(Program(path, work))
    with served:
        stored, endpoint = s3_server(work)
        with stored:
            check = Check(
                Program(path, work, api_url),
                local=Place("local", str(work / "lake")),
                s3=Place("S3", f"s3://{BUCKET}/clerk", endpoint),
                recording=Place("recording", str(work / "recording")),
            )
            try:
                check.run()
            except Failed as failure:
                raise SystemExit(str(failure)) from None
    return 0 if check.report() else 1


if __name__ == "__main__":
    sys.exit(main())
