#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the documentation lists of the reports is what they have: JSON's members, counters, metrics, lines. Both ways.

usage: formats.py BSLAB-STAT DOCS LIBRARY HEAP
"""
import json
import re
import sys

from target import Target, stat

PROGRAM, DOCS, LIBRARY, HEAP = sys.argv[1:]
failed = False


def compare(what, documented, real):
    global failed
    for name in sorted(documented ^ real):
        failed = True
        print(f"FAIL {what}: {name} is {'documented and not there' if name in documented else 'not documented'}")
    if not real:
        failed = True
        print(f"FAIL {what}: there is nothing")


def section(file, title):
    with open(f"{DOCS}/{file}") as f:
        return re.split(r"^#+ ", f.read().split(f"# {title}\n")[1], flags=re.M)[0]


def names_of(cell):
    """`a_b`, `_c`: a_b and a_c."""
    names, whole = [], ""
    for name in re.findall(r"`(\w+)`", cell):
        whole = whole if name.startswith("_") else name
        names.append(whole.rsplit("_", 1)[0] + name if name.startswith("_") else name)
    return names


def members(value):
    found = set()
    if isinstance(value, dict):
        for name, inner in value.items():
            found |= {name} | members(inner)
    elif isinstance(value, list):
        for inner in value:
            found |= members(inner)
    return found


def look(pid, *options):
    code, out, err = stat(PROGRAM, pid, *options)
    if code:
        raise RuntimeError(err)
    return out


def check_json(report, counters):
    described = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section("insight-formats.md", "JSON"), re.M))
    compare("JSON: reports", described.keys() | {"schema", "index"}, report.keys())
    for name, text in described.items():
        if name == "vmstat":
            compare("JSON: vmstat", counters, report[name].keys())
        else:  # in brackets stand a member's values
            compare(f"JSON: {name}", set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", text))), members(report[name]))


def check_prometheus(text, counters, sums):
    described = set(re.findall(r"`(bslab_\w+)`", section("insight-formats.md", "Prometheus")))
    described |= {f"bslab_vmstat_{c}_total" for c in counters} | {f"bslab_meminfo_{s}_bytes" for s in sums}
    compare("Prometheus", described - {"bslab_vmstat_NAME_total", "bslab_meminfo_NAME_bytes"}, set(re.findall(r"^# TYPE (\w+)", text, re.M)))


with Target([HEAP], LIBRARY) as t:
    report = json.loads(look(t.pid, "--json"))
    counters = {n for cell in re.findall(r"^\| (`[^|]*) \|", section("statistics.md", "vmstat"), re.M) for n in names_of(cell)}
    compare("vmstat", counters, {line.split()[0] for line in look(t.pid, "vmstat").splitlines()})
    lines = {n for cell in re.findall(r"^\| (`[^|]*) \|", section("statistics.md", "meminfo"), re.M) for n in names_of(cell)}
    compare("meminfo", lines, {line.split(":")[0] for line in look(t.pid, "meminfo").splitlines()})
    check_json(report, counters)
    check_prometheus(look(t.pid, "--prometheus"), counters, report["meminfo"].keys())
print("FAIL" if failed else f"ok: {len(counters)} counters, {len(lines)} lines of meminfo, {len(report)} members")
sys.exit(failed)
