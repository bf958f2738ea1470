#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares what the tests reached with what is known not to be reached, and why.

usage: check.py COVERAGE.json UNCOVERED [--least PERCENT]

COVERAGE.json is gcovr's; the source is found from the working directory. UNCOVERED has reasons, lines that begin with "=", and
the lines of code that each explains, as they stand in the source: PATH:FUNCTION: TEXT. An entry explains one line; of equal lines
of a function each has its own. A line that no test reached and no entry explains is an error; so is an entry whose line is no
longer there. An entry whose line was reached is said: some are reached only now and then.
"""
import collections
import json
import os
import re
import sys


def entries_of(path):
    """How often each (path, function, text) is explained."""
    entries, reason = collections.Counter(), None
    for number, line in enumerate(open(path), 1):
        line = line.rstrip("\n")
        if not line or line.startswith("#"):
            continue
        if line.startswith("="):
            reason = line[1:].strip()  # or its last line
            continue
        match = re.match(r"(\S+?):(\S*): (.*)$", line)
        if not match or not reason:
            sys.exit(f"{path}:{number}: not an entry: {line}")
        entries[match.groups()] += 1
    return entries


def function_at(text, number):
    """The name before the "(" of the last line that begins a function: at the margin, before its brace."""
    for line in reversed(text[:number]):
        line = re.sub(r"__attribute__\(\(.*?\)\)", "", line)
        match = re.match(r"[A-Za-z_].*?\b([A-Za-z_]\w*)\(", line)
        if match and not line.rstrip().endswith((";", ",\\")):
            return match[1]
    return ""


def source_of(path):
    return open(path, errors="replace").read().split("\n") if os.path.exists(path) else []


def occurrences(path, function, text):
    """How many lines of the source an entry may stand for."""
    source = source_of(path)
    return sum(line.strip() == text and function_at(source, n) == function for n, line in enumerate(source, 1))


def main():
    least = float(sys.argv[sys.argv.index("--least") + 1]) if "--least" in sys.argv else 95
    coverage, entries = json.load(open(sys.argv[1])), entries_of(sys.argv[2])
    found, faults = collections.Counter(), []
    lines = reached = branches = taken = 0
    for file in coverage["files"]:
        path = file["file"][file["file"].index("src/"):]
        source = source_of(path)
        for line in file["lines"]:
            if line.get("gcovr/noncode"):
                continue
            lines += 1
            branches += len(line["branches"])
            taken += sum(b["count"] > 0 for b in line["branches"])
            if line["count"]:
                reached += 1
                continue
            number = line["line_number"]
            key = path, function_at(source, number), source[number - 1].strip()
            found[key] += 1
            if found[key] > entries[key]:
                faults.append(f"not reached, and not explained: {path}:{number}: {key[1]}: {key[2]}")
    for key, explained in entries.items():
        name = f"{key[0]}:{key[1]}: {key[2]}"
        stands = occurrences(*key)
        if explained > stands:
            faults.append(f"explained, but not in the source: {name}" + f" ({explained} entries, {stands} lines)" * (stands > 0))
        elif explained > found[key]:
            print(f"reached this time: {name}")
    percent = 100 * reached / max(lines, 1)
    if percent < least:
        faults.append(f"{percent:.1f} % of lines reached, at least {least:g} are asked for")
    for fault in faults:
        print("FAIL", fault)
    print(f"{reached} of {lines} lines ({percent:.1f} %), {taken} of {branches} branches ({100 * taken / max(branches, 1):.1f} %), "
          f"{lines - reached} lines not reached, {len(faults)} faults")
    return bool(faults)


sys.exit(main())
