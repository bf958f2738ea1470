"""Runs the micro binary, one benchmark and one allocator at a time."""

import json
import os
import re
import subprocess
import sys

from . import allocators, figures

TIMEOUT = 300


def list_benchmarks(args):
    bare = allocators.environment(allocators.Allocator("glibc", None))
    done = subprocess.run([args.micro, "--benchmark_list_tests",
                           f"--benchmark_filter={args.filter}"], env=bare,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip() or allocators.death(done.returncode)
        allocators.fail(said.splitlines()[-1])
    return done.stdout.split()


def is_threaded(benchmark):
    return "/threads:" in benchmark


def run_once(args, benchmark, allocator, launcher=()):
    """One entry of google-benchmark's JSON; RuntimeError says what failed."""
    command = [args.micro, f"--benchmark_filter=^{re.escape(benchmark)}$",
               f"--benchmark_min_time={args.min_time}",
               "--benchmark_format=json"]
    if args.pin is not None and not is_threaded(benchmark):
        command = ["taskset", "-c", str(args.pin)] + command
    command = list(launcher) + command
    try:
        done = subprocess.run(command, env=allocators.environment(allocator),
                              capture_output=True, text=True, check=False,
                              timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not done after {TIMEOUT} s") from None
    return entry_of(done, allocator)


def entry_of(done, allocator):
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(allocators.death(done.returncode)) from None
    entry = report["benchmarks"][0]
    if "error_message" in entry:
        raise RuntimeError(entry["error_message"])
    if done.returncode != 0:
        raise RuntimeError(allocators.death(done.returncode))
    check_provider(report["context"]["malloc"], allocator)
    return entry


def check_provider(provider, allocator):
    """The preload is mapped, but is it what malloc resolved to?"""
    if allocator.path and not os.path.samefile(provider, allocator.path):
        raise RuntimeError(f"malloc came from {provider}")


class Results:
    """Entries by benchmark and allocator, one for each round.

    An allocator which fails in any round is left out of that benchmark
    altogether, so that the rounds of those which remain stay aligned.
    """

    def __init__(self):
        self.runs = {}
        self.failed = set()

    def measure(self, args, benchmark, allocator):
        if (benchmark, allocator.name) in self.failed:
            return
        by_name = self.runs.setdefault(benchmark, {})
        try:
            entry = run_once(args, benchmark, allocator)
        except RuntimeError as error:
            allocators.warn(f"{benchmark} under {allocator.name} left out: "
                            f"{error}")
            self.failed.add((benchmark, allocator.name))
            by_name.pop(allocator.name, None)
        else:
            by_name.setdefault(allocator.name, []).append(entry)


def run_all(args, benchmarks, chosen):
    results = Results()
    for turn in range(args.rounds):
        for place, benchmark in enumerate(benchmarks):
            for allocator in figures.rotated(chosen, turn + place):
                results.measure(args, benchmark, allocator)
        print(f"round {turn + 1} of {args.rounds}", file=sys.stderr)
    return results
