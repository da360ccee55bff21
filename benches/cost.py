#!/usr/bin/env python3
"""Measures what syncs from a simulated Clerk cost: requests, bytes and files, which are reproducible, and peak memory.

    cargo build --release
    benches/cost.py target/release/clerk-lake [deletions] [hourly-deletions] [changes] [sessions] [years]
        [lists]

Without a name, the script runs all measurements. CLERK_LAKE_BENCH_USERS sets the number of users. The default is
1000000, but 200000 for `sessions` and 50000 for `years`. `changes` measures this number and three times this number.
CLERK_LAKE_BENCH_SYNCS sets the number of hourly syncs of `years` (default: 2000).
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
SELECTED = sys.argv[2:] or ["deletions", "hourly-deletions", "changes", "sessions", "years", "lists"]
KEY = "sk_live_simulated"
HOUR = 3_600_000


class Clerk:
    """A simulated Clerk instance in a separate process."""

    def __init__(self, *arguments):
        command = [PROGRAM, "simulate", "--address", "127.0.0.1:0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.process.stdout.readline().strip()
        self.now = self.post("clock?advance=0")["now"]

    def post(self, endpoint):
        request = urllib.request.Request(f"{self.url}/_simulator/{endpoint}", data=b"", method="POST")
        return json.load(urllib.request.urlopen(request))

    def change(self, kind, count):
        self.post(f"change?kind={kind}&count={count}")

    def advance(self, hours):
        self.now = self.post(f"clock?advance={hours * HOUR}")["now"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def sync(clerk, lake, *arguments, settings=None):
    """Runs a sync with these environment variables. Returns the summary by resource, the seconds, and the peak memory in MiB."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clerk.now / 1000))
    environment = {"PATH": os.environ["PATH"], "CLERK_SECRET_KEY": KEY, "CLERK_LAKE_API_URL": clerk.url,
                   "CLERK_LAKE_LAKE": lake, "CLERK_LAKE_NOW": now, "CLERK_LAKE_RATE_LIMIT": "off"} | (settings or {})
    start = time.monotonic()
    process = subprocess.Popen([PROGRAM, "sync", "--json", *arguments], env=environment, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    summary = json.loads(output)
    assert status == 0, summary
    resources = {resource["name"]: resource for resource in summary["resources"]}
    return resources, time.monotonic() - start, usage.ru_maxrss / 1024


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
        clerk.advance(1)
        quiet = sync(clerk, lake, "--resource", "users")[0]["users"]["requests"]
        for deleted in (1, 3):
            before = data_files(lake)
            clerk.change("delete-user", deleted)
            clerk.advance(1)
            resources, seconds, peak = sync(clerk, lake, "--resource", "users")
            after, summary = data_files(lake), resources["users"]
            print(f"{deleted} of {users} users deleted: {summary['requests'] - quiet} requests more than the {quiet} "
                  f"of a quiet sync, {len(before.keys() - after.keys())} of {len(before)} data files rewritten as "
                  f"{len(after.keys() - before.keys())}, {seconds:.1f} s, {peak:.0f} MiB ({summary['mode']})")


def hourly_deletions(users):
    with Clerk("--users", str(users), "--offset-cost", "1") as clerk, tempfile.TemporaryDirectory() as lake:
        sync(clerk, lake, "--resource", "users")
        touched, written = 0, 0
        for _ in range(24):
            before = data_files(lake)
            clerk.change("delete-user", 1)
            clerk.advance(1)
            sync(clerk, lake, "--resource", "users")
            after = data_files(lake)
            touched += sum(before[name] for name in before.keys() - after.keys())
            written += sum(after[name] for name in after.keys() - before.keys())
        print(f"1 of {users} users deleted in each of 24 hours: {written / 2**20:.0f} MiB written, "
              f"{written / max(touched, 1):.2f} times the size of the affected files")


def changes(users):
    for count in (users, 3 * users):
        with Clerk("--users", str(count)) as clerk, tempfile.TemporaryDirectory() as lake:
            _, first_seconds, first_peak = sync(clerk, lake, "--resource", "users")
            clerk.advance(1)
            clerk.change("update-profile", 20_000)
            resources, seconds, peak = sync(clerk, lake, "--resource", "users")
            summary = resources["users"]
            print(f"20,000 of {count} users changed: {summary['rows_updated']} rows updated, peak memory {peak:.0f} "
                  f"MiB, {seconds:.1f} s (first sync: {first_peak:.0f} MiB, {first_seconds:.1f} s)")


def sessions(users):
    arguments = ("--users", str(users), "--no-plain-sessions")
    with Clerk(*arguments) as clerk, tempfile.TemporaryDirectory() as lake:
        resources = ("--resource", "users", "--resource", "sessions")
        sync(clerk, lake, *resources)
        requests = []
        # At the start, more users are active today than on any later day. The first two days read their sessions.
        for _ in range(72):
            clerk.advance(1)
            # 10,000 users are active per day. Some sign in; the others use an existing session.
            clerk.change("sign-in", 200)
            clerk.change("use-session", 217)
            requests.append(sync(clerk, lake, *resources)[0]["sessions"]["requests"])
        third_day = requests[48:]
        print(f"{users} users, 417 active per hour, 200 of them by a sign-in, sessions listed only by user: "
              f"{sum(third_day) / len(third_day):.0f} session requests per sync on average on the third day, at most "
              f"{max(third_day)} (first day: {sum(requests[:24]) / 24:.0f}, {max(requests[:24])}; second day: "
              f"{sum(requests[24:48]) / 24:.0f}, {max(requests[24:48])})")


def years(users, syncs):
    """Compares a lake after many syncs with a lake that got the same rows in one sync: command times and data files."""
    with Clerk("--users", str(users)) as clerk, tempfile.TemporaryDirectory() as directory:
        old, new = (os.path.join(directory, name) for name in ("old", "new"))
        for _ in range(syncs):
            clerk.advance(1)
            for kind, count in (("create-user", 3), ("update-profile", 3), ("activity", 10), ("ban", 1)):
                clerk.change(kind, count)
            sync(clerk, old, "--resource", "users")
        sync(clerk, old, "--resource", "users")
        sync(clerk, new, "--resource", "users")

        def run(lake, *arguments):
            start = time.monotonic()
            result = subprocess.run([PROGRAM, *arguments], capture_output=True, check=True, text=True,
                                    env={"PATH": os.environ["PATH"], "CLERK_LAKE_LAKE": lake})
            return time.monotonic() - start, result.stdout

        def median(lake, *arguments):
            return sorted(run(lake, *arguments)[0] for _ in range(11))[5]

        content = "SELECT count(*), count(DISTINCT id), max(updated_at), count(*) FILTER (WHERE banned) FROM clerk_user"
        contents = [run(lake, "query", "--format", "csv", content)[1] for lake in (old, new)]
        assert contents[0] == contents[1], contents
        print(f"{users} users, {syncs} hourly syncs compared with one (medians of 11 runs):")
        for name, arguments in (("status", ["status"]),
                                ("count of users", ["query", "SELECT count(*) FROM clerk_user"]),
                                ("daily active users", ["query", "--name", "daily_active_users"])):
            many, one = (median(lake, *arguments) for lake in (old, new))
            print(f"  {name}: {many:.3f} s vs. {one:.3f} s, {many / one:.2f} times")
        many, one = (len(data_files(lake)) for lake in (old, new))
        print(f"  data files: {many} vs. {one}, {many / one:.2f} times")


def lists(scale):
    """Reads large lists by offset from a server with 100 ms of latency, within half of a production request budget."""
    budget = {"CLERK_LAKE_RATE_LIMIT": "1000"}
    rate = 0.99 * 1000 / 10 / 2
    counts = {"organizations": 20_000, "memberships": 200_000, "invitations": 50_000, "subscription_items": 30_000}
    counts = {name: int(count * scale) for name, count in counts.items()}
    rows = [f"{name}={count}" for name, count in counts.items() if name != "organizations"]
    arguments = [argument for row in rows for argument in ("--rows", row)]
    resources = [argument for name in counts for argument in ("--resource", name)]
    with Clerk("--users", str(counts["memberships"] // 10), "--organizations", str(counts["organizations"]),
               "--latency", "100", "--limit", "1000", *arguments) as clerk, tempfile.TemporaryDirectory() as lake:
        for name in ("first sync", "quiet sync"):
            clerk.advance(1)
            done, seconds, peak = sync(clerk, lake, *resources, settings=budget)
            requests = sum(resource["requests"] for resource in done.values()) + 1
            print(f"{name} of {', '.join(f'{count:,} {name}' for name, count in counts.items())}: {requests} requests, "
                  f"{seconds:.1f} s, {seconds / (requests / rate):.2f} times the least time of the request budget, "
                  f"peak memory {peak:.0f} MiB")
            for resource in done.values():
                pages = -(-resource["rows_read"] // 500)
                print(f"  {resource['name']}: {resource['rows_read']:,} rows, {resource['requests']} requests, "
                      f"{resource['requests'] - pages} beyond the pages of 500 rows")


users = int(os.environ.get("CLERK_LAKE_BENCH_USERS", 1_000_000))
if "deletions" in SELECTED:
    deletions(users)
if "hourly-deletions" in SELECTED:
    hourly_deletions(users)
if "changes" in SELECTED:
    changes(users)
if "sessions" in SELECTED:
    sessions(int(os.environ.get("CLERK_LAKE_BENCH_USERS", 200_000)))
if "years" in SELECTED:
    years(int(os.environ.get("CLERK_LAKE_BENCH_USERS", 50_000)), int(os.environ.get("CLERK_LAKE_BENCH_SYNCS", 2000)))
if "lists" in SELECTED:
    for scale in (0.2, 1):
        lists(scale)
