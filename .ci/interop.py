"""Checks that other engines read what clerk-lake wrote; `.ci/interop` installs them and runs this.

A simulated Clerk instance is synced into two lakes, one on local disk and one on S3: by a full sync, by incremental
syncs with changes between them, by as many more as it takes until the Delta logs have checkpoints; then comes upkeep,
and another full sync. After each step (slow readers: after three of them) every reader reads every table of both
lakes and is compared with `clerk-lake query`:

- the columns and their types, with those of `clerk-lake schema`;
- every value of every row;
- where the reader speaks SQL, figures that it may answer from statistics alone: how many rows, values and different
  keys there are, the least, the greatest, the sum, and the rows by partition;
- how many rows it finds by conditions for which it may leave out partitions, files and row groups.

The first difference of a reader in a place ends its part there. The exit code is 1 where there is any.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from interop_compare import Expected, differences
from interop_lakes import BUCKET, Place, Program, s3_server, simulator
from interop_readers import READERS, Skip, ask, full_name

# What happens in Clerk before each of the incremental syncs.
CHANGES = {
    "changes": {"create-user": 40, "update-profile": 30, "change-email": 10, "ban": 15, "activity": 60},
    "deletions": {"delete-user": 25, "delete-organization": 3, "end-session": 30, "clean-up-session": 20},
    "organizations": {"create-organization": 5, "rename-organization": 5, "add-member": 10, "remove-member": 8},
    "no changes": {},
}

# After so many syncs every Delta log must have a checkpoint.
MOST_SYNCS = 120

# So many differences of a reader in a place are printed.
MOST_TOLD = 5


@dataclass
class Outcome:
    """What came of one reader in one place."""

    steps: int = 0
    rows: int = 0
    skipped: str | None = None
    differences: list[str] = field(default_factory=list)

    def told(self, tables: int) -> tuple[str, str]:
        if self.skipped:
            return "skip", self.skipped
        if self.differences or self.steps == 0:
            return "FAIL", f"differences: {len(self.differences)}, after {self.steps} steps without"
        return "ok", f"{tables} tables x {self.steps} steps, {self.rows:,} rows"


class Check:
    """All steps, in all places, for all readers."""

    def __init__(self, program: Program, places: list[Place]):
        self.program = program
        self.places = places
        self.tables = program.tables()
        self.outcomes = {(number, place.name): Outcome() for number in range(len(READERS)) for place in places}

    def run(self) -> None:
        self.step("full sync", lambda place: self.program.sync(place, "--full"), slow_too=True)
        for name, changes in CHANGES.items():
            self.program.change(changes)
            self.step(name, self.program.sync)
        self.step("checkpoints", self.sync_until_checkpoints, slow_too=True)
        self.step("upkeep", lambda place: self.program.run(place, "upkeep"))
        self.program.change({"create-user": 5, "delete-user": 5, "activity": 10})
        self.step("full sync again", lambda place: self.program.sync(place, "--full"), slow_too=True)

    def sync_until_checkpoints(self, place: Place) -> None:
        for _ in range(MOST_SYNCS):
            if all(place.has_checkpoint(table) for table in self.tables):
                return
            self.program.change({"create-user": 1, "ban": 1, "activity": 1})
            self.program.sync(place)
        raise SystemExit(f"after {MOST_SYNCS} syncs, not every table has a checkpoint: {place.lake}")

    def step(self, name: str, act: Callable[[Place], None], slow_too: bool = False) -> None:
        started = time.monotonic()
        for place in self.places:
            act(place)
            expected = [Expected(table, self.program.rows(place, table)) for table in self.tables]
            for number, reader in enumerate(READERS):
                if slow_too or not reader.slow:
                    self.compare(number, place, name, expected)
        print(f"==    {name}: {time.monotonic() - started:.0f} s", flush=True)

    def compare(self, number: int, place: Place, step: str, expected: list[Expected]) -> None:
        outcome = self.outcomes[number, place.name]
        if outcome.skipped or outcome.differences:
            return
        for it in expected:
            try:
                found = differences(READERS[number], it, ask(number, place, it.table, it.questions))
            except Skip as reason:
                outcome.skipped = str(reason)
                return
            except Exception as error:
                found = [f"it cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:300]}"]
            outcome.differences += [f"{step}, {it.table.name}, {line}" for line in found]
            outcome.rows += len(it.rows)
        outcome.steps += 1

    def report(self) -> bool:
        """Prints what came of everything; whether all is well."""
        kinds = Counter()
        for (number, place), outcome in self.outcomes.items():
            kind, what = outcome.told(len(self.tables))
            kinds[kind] += 1
            print(f"{kind:4}  {full_name(READERS[number]):44}  {place:5}  {what}")
            for line in outcome.differences[:MOST_TOLD]:
                print(f"      {line}")
        print(f"{kinds['ok']} passed, {kinds['FAIL']} failed, {kinds['skip']} skipped")
        return kinds["ok"] > 0 and kinds["FAIL"] == 0


def main() -> int:
    path, work = sys.argv[1], Path(os.environ["INTEROP_WORK"])
    served, api_url = simulator(Program(path, work))
    with served:
        stored, endpoint = s3_server(work)
        with stored:
            places = [Place("local", str(work / "lake")), Place("S3", f"s3://{BUCKET}/clerk", endpoint)]
            check = Check(Program(path, work, api_url), places)
            check.run()
    return 0 if check.report() else 1


if __name__ == "__main__":
    sys.exit(main())
