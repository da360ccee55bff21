#!/usr/bin/env python3
"""What syncs cost, against a simulated Clerk: requests, bytes and files, which do not vary, and peak memory.

    cargo build --release
    benches/cost.py target/release/clerk-lake [deletions] [hourly-deletions] [changes] [sessions] [years]

Without a name all are measured. CLERK_LAKE_BENCH_USERS says how many users there are (1000000 by default, and three times
as many for `changes`; 200000 for `sessions`; 50000 for `years`), CLERK_LAKE_BENCH_SYNCS how many hourly syncs `years` runs
(2000).
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

PROGRAM = sys.argv[1]
WANTED = sys.argv[2:] or ["deletions", "hourly-deletions", "changes", "sessions", "years"]
KEY = "sk_live_simulated"
HOUR = 3_600_000


class Clerk:
    """A simulated instance."""

    def __init__(self, *arguments):
        command = [PROGRAM, "simulate", "--address", "127.0.0.1:0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.process.stdout.readline().strip()
        self.now = self.tell("clock?advance=0")["now"]

    def tell(self, what):
        request = urllib.request.Request(f"{self.url}/_simulator/{what}", data=b"", method="POST")
        return json.load(urllib.request.urlopen(request))

    def change(self, kind, count):
        self.tell(f"change?kind={kind}&count={count}")

    def hours(self, hours):
        self.now = self.tell(f"clock?advance={hours * HOUR}")["now"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def sync(clerk, lake, *arguments):
    """Syncs; returns each resource's summary, the seconds, and the peak memory in MiB."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clerk.now / 1000))
    environment = {"PATH": os.environ["PATH"], "CLERK_SECRET_KEY": KEY, "CLERK_LAKE_API_URL": clerk.url,
                   "CLERK_LAKE_LAKE": lake, "CLERK_LAKE_NOW": now, "CLERK_LAKE_RATE_LIMIT": "off"}
    begun = time.monotonic()
    process = subprocess.Popen([PROGRAM, "sync", "--json", *arguments], env=environment, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    summary = json.loads(said)
    assert status == 0, summary
    resources = {resource["name"]: resource for resource in summary["resources"]}
    return resources, time.monotonic() - begun, usage.ru_maxrss / 1024


def data_files(lake, table="clerk_user"):
    found = {}
    for directory, _, names in os.walk(os.path.join(lake, table)):
        for name in names:
            if re.match(r"part-.*\.parquet$", name):
                found[name] = os.path.getsize(os.path.join(directory, name))
    return found


def deletions(users):
    with Clerk("--users", str(users), "--offset-cost", "1") as clerk, tempfile.TemporaryDirectory() as lake:
        sync(clerk, lake, "--resource", "users")
        clerk.hours(1)
        quiet = sync(clerk, lake, "--resource", "users")[0]["users"]["requests"]
        for deleted in (1, 3):
            before = data_files(lake)
            clerk.change("delete-user", deleted)
            clerk.hours(1)
            resources, seconds, peak = sync(clerk, lake, "--resource", "users")
            after, summary = data_files(lake), resources["users"]
            print(f"{deleted} of {users} users deleted: {summary['requests'] - quiet} requests beyond the {quiet} of a quiet "
                  f"sync, {len(before.keys() - after.keys())} of {len(before)} data files rewritten as "
                  f"{len(after.keys() - before.keys())}, {seconds:.1f} s, {peak:.0f} MiB ({summary['mode']})")


def hourly_deletions(users):
    with Clerk("--users", str(users), "--offset-cost", "1") as clerk, tempfile.TemporaryDirectory() as lake:
        sync(clerk, lake, "--resource", "users")
        touched, written = 0, 0
        for _ in range(24):
            before = data_files(lake)
            clerk.change("delete-user", 1)
            clerk.hours(1)
            sync(clerk, lake, "--resource", "users")
            after = data_files(lake)
            touched += sum(before[name] for name in before.keys() - after.keys())
            written += sum(after[name] for name in after.keys() - before.keys())
        print(f"1 of {users} users deleted in each of 24 hours: {written / 2**20:.0f} MiB written, "
              f"{written / max(touched, 1):.2f} times the files touched")


def changes(users):
    for many in (users, 3 * users):
        with Clerk("--users", str(many)) as clerk, tempfile.TemporaryDirectory() as lake:
            _, whole, first = sync(clerk, lake, "--resource", "users")
            clerk.hours(1)
            clerk.change("update-profile", 20_000)
            resources, seconds, peak = sync(clerk, lake, "--resource", "users")
            summary = resources["users"]
            print(f"20,000 of {many} users changed: {summary['rows_updated']} rows updated, peak memory {peak:.0f} MiB, "
                  f"{seconds:.1f} s (first sync: {first:.0f} MiB, {whole:.1f} s)")


def sessions(users):
    arguments = ("--users", str(users), "--no-plain-sessions")
    with Clerk(*arguments) as clerk, tempfile.TemporaryDirectory() as lake:
        resources = ("--resource", "users", "--resource", "sessions")
        sync(clerk, lake, *resources)
        asked = []
        # The simulator begins with more users active today than ever come later: they are read on the first two days.
        for _ in range(72):
            clerk.hours(1)
            # 10,000 active users a day: some sign in, the others use a session that they have.
            clerk.change("sign-in", 200)
            clerk.change("use-session", 217)
            asked.append(sync(clerk, lake, *resources)[0]["sessions"]["requests"])
        day = asked[48:]
        print(f"{users} users, 417 active an hour, 200 of them by a sign-in, no plain list of sessions: {sum(day) / len(day):.0f} session requests "
              f"a sync on average over the third day, {max(day)} at most (first day: {sum(asked[:24]) / 24:.0f}, "
              f"{max(asked[:24])}; second day: {sum(asked[24:48]) / 24:.0f}, {max(asked[24:48])})")


def years(users, syncs):
    """A lake after many syncs beside one that has the same rows from one sync: times of commands, and files."""
    with Clerk("--users", str(users)) as clerk, tempfile.TemporaryDirectory() as directory:
        old, new = (os.path.join(directory, name) for name in ("old", "new"))
        for _ in range(syncs):
            clerk.hours(1)
            for kind, count in (("create-user", 3), ("update-profile", 3), ("activity", 10), ("ban", 1)):
                clerk.change(kind, count)
            sync(clerk, old, "--resource", "users")
        sync(clerk, old, "--resource", "users")
        sync(clerk, new, "--resource", "users")

        def run(lake, *arguments):
            begun = time.monotonic()
            answer = subprocess.run([PROGRAM, *arguments], capture_output=True, check=True, text=True,
                                    env={"PATH": os.environ["PATH"], "CLERK_LAKE_LAKE": lake})
            return time.monotonic() - begun, answer.stdout

        def median(lake, *arguments):
            return sorted(run(lake, *arguments)[0] for _ in range(11))[5]

        content = "SELECT count(*), count(DISTINCT id), max(updated_at), count(*) FILTER (WHERE banned) FROM clerk_user"
        answers = [run(lake, "query", "--format", "csv", content)[1] for lake in (old, new)]
        assert answers[0] == answers[1], answers
        print(f"{users} users, {syncs} hourly syncs beside one (medians of 11):")
        for name, arguments in (("status", ["status"]), ("count of users", ["query", "SELECT count(*) FROM clerk_user"]),
                                ("daily active users", ["query", "--name", "daily_active_users"])):
            many, one = (median(lake, *arguments) for lake in (old, new))
            print(f"  {name}: {many:.3f} s and {one:.3f} s, {many / one:.2f} times")
        many, one = (len(data_files(lake)) for lake in (old, new))
        print(f"  data files: {many} and {one}, {many / one:.2f} times")


users = int(os.environ.get("CLERK_LAKE_BENCH_USERS", 1_000_000))
if "deletions" in WANTED:
    deletions(users)
if "hourly-deletions" in WANTED:
    hourly_deletions(users)
if "changes" in WANTED:
    changes(users)
if "sessions" in WANTED:
    sessions(int(os.environ.get("CLERK_LAKE_BENCH_USERS", 200_000)))
if "years" in WANTED:
    years(int(os.environ.get("CLERK_LAKE_BENCH_USERS", 50_000)), int(os.environ.get("CLERK_LAKE_BENCH_SYNCS", 2000)))
