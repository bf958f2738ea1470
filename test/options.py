#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fails where an option of BSLAB_CONF is missing in one of the texts that list them, or one of theirs is none.

usage: options.py ROOT
"""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
keys = set(re.findall(r'token_is\(key, "(\w+)"\)', (root / "src/os/options.c").read_text()))


def rows(name):
    """The keys in the first column of the tables whose head is "key"."""
    found, inside = set(), False
    for line in (root / name).read_text().splitlines():
        cells = line.split("|")
        inside = line.startswith("|") and (inside or cells[1].strip() == "key")
        if inside:
            found |= set(re.findall(r"`(\w+)`", cells[1]))
    return found


def manual():
    text = (root / "docs/man/bslab.3").read_text().partition(".SH OPTIONS")[2].partition("\n.SH ")[0]
    return set(re.findall(r"^\.TP\n\.B[IR]? (\w+)=", text, re.M))


faults = []
for name, listed in (("README.md", rows("README.md")), ("docs/options.md", rows("docs/options.md")), ("docs/man/bslab.3", manual())):
    faults += [f"{name}: no '{key}'" for key in sorted(keys - listed)]
    faults += [f"{name}: '{key}' is no option" for key in sorted(listed - keys)]
if len(keys) < 10:
    faults.append("no options were found")
for fault in faults:
    print("FAIL", fault)
print(f"{len(keys)} options, {len(faults)} faults")
sys.exit(bool(faults))
