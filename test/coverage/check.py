#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares what the tests reached with what is known not to be reached, and why.

usage: check.py COVERAGE.json UNCOVERED [--least PERCENT]

COVERAGE.json is gcovr's. UNCOVERED has reasons, lines that begin with "=", and the lines of code that each explains, as they
stand in the source: PATH:FUNCTION: TEXT. A line that no test reached and no entry explains is an error; so is an entry whose
line is no longer there. An entry whose line was reached is said: some are reached only now and then.
"""
import json
import re
import sys


def entries_of(path):
    entries, reason = {}, None
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
        entries[match.groups()] = reason
    return entries


def function_at(text, number):
    """The name before the "(" of the last line that begins a function: at the margin, before its brace."""
    for line in reversed(text[:number]):
        line = re.sub(r"__attribute__\(\(.*?\)\)", "", line)
        match = re.match(r"[A-Za-z_].*?\b([A-Za-z_]\w*)\(", line)
        if match and not line.rstrip().endswith((";", ",\\")):
            return match[1]
    return ""


def main():
    least = float(sys.argv[sys.argv.index("--least") + 1]) if "--least" in sys.argv else 95
    coverage, entries = json.load(open(sys.argv[1])), entries_of(sys.argv[2])
    found, faults, texts = set(), [], {}
    lines = reached = branches = taken = 0
    for file in coverage["files"]:
        path = file["file"][file["file"].index("src/"):]
        texts[path] = text = open(path, errors="replace").read().split("\n")
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
            key = path, function_at(text, number), text[number - 1].strip()
            found.add(key)
            if key not in entries:
                faults.append(f"not reached, and not explained: {path}:{number}: {key[1]}: {key[2]}")
    for key in entries:
        if key[0] in texts and not any(key[2] == t.strip() and key[1] == function_at(texts[key[0]], n + 1)
                                       for n, t in enumerate(texts[key[0]])):
            faults.append(f"explained, but not in the source: {':'.join(key[:2])}: {key[2]}")
        elif key not in found:
            print(f"reached this time: {key[0]}:{key[1]}: {key[2]}")
    percent = 100 * reached / max(lines, 1)
    if percent < least:
        faults.append(f"{percent:.1f} % of lines reached, at least {least} are asked for")
    for fault in faults:
        print("FAIL", fault)
    print(f"{reached} of {lines} lines ({percent:.1f} %), {taken} of {branches} branches ({100 * taken / max(branches, 1):.1f} %), "
          f"{lines - reached} lines not reached, {len(faults)} faults")
    return bool(faults)


sys.exit(main())
