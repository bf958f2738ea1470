#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check.py passes what is explained, and fails at what is not: on a source of a few lines, of which gcovr's answer is made up."""
import json
import os
import subprocess
import sys
import tempfile

CHECK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "check.py")
SOURCE = """\
int first(int a)
{
	if (a)
		return -1;
	if (a > 1)
		return -1;
	return 0;
}

static int __attribute__((noinline)) second(int a)
{
	if (a)
		return -1;
	return 0;
}
"""
CODE = (3, 4, 5, 6, 7, 12, 13, 14)
TWICE = ["= It cannot be.", "src/a.c:first: return -1;", "src/a.c:first: return -1;"]
faults = []


def check(what, unreached, entries, fault=None, said="", least=50, broken=False):
    """Runs it with these lines unreached and these entries: it must pass, fail with this fault, or say what is broken."""
    with tempfile.TemporaryDirectory() as place:
        os.mkdir(f"{place}/src")
        open(f"{place}/src/a.c", "w").write(SOURCE)
        lines = [{"line_number": n, "count": int(n not in unreached), "branches": [{"count": 1}, {"count": 0}]} for n in CODE]
        lines.append({"line_number": 1, "count": 0, "branches": [], "gcovr/noncode": True})
        json.dump({"files": [{"file": "src/a.c", "lines": lines}]}, open(f"{place}/coverage.json", "w"))
        open(f"{place}/uncovered.txt", "w").write("\n".join(entries) + "\n")
        run = subprocess.run([sys.executable, CHECK, "coverage.json", "uncovered.txt", "--least", str(least)], cwd=place,
                             capture_output=True, text=True)
    failed = [line for line in run.stdout.split("\n") if line.startswith("FAIL ")]
    expected = [f"FAIL {fault}"] if fault else []
    if run.returncode != (broken or fault is not None) or failed != expected or said not in run.stdout + run.stderr:
        faults.append(f"{what}: exit {run.returncode}\n{run.stdout}{run.stderr}")


check("all is reached", [], [], said="8 of 8 lines (100.0 %), 8 of 16 branches (50.0 %), 0 lines not reached, 0 faults\n")
check("a line without an entry", [13], [], fault="not reached, and not explained: src/a.c:13: second: return -1;")
check("a line with its entry", [13], ["= It cannot be.", "", "# a note", "src/a.c:second: return -1;"])
check("the entry of another function", [13], TWICE[:2], fault="not reached, and not explained: src/a.c:13: second: return -1;")
check("of two equal lines one is explained", [4, 6], TWICE[:2], fault="not reached, and not explained: src/a.c:6: first: return -1;")
check("of two equal lines both are explained", [4, 6], TWICE)
check("of two equal lines one is reached", [6], TWICE, said="reached this time: src/a.c:first: return -1;\n")
check("more entries than lines", [4, 6], TWICE + TWICE[1:2],
      fault="explained, but not in the source: src/a.c:first: return -1; (3 entries, 2 lines)")
check("a line that is gone", [], ["= It cannot be.", "src/a.c:first: return -2;"],
      fault="explained, but not in the source: src/a.c:first: return -2;")
check("a file that is gone", [], ["= It cannot be.", "src/b.c:first: return -1;"],
      fault="explained, but not in the source: src/b.c:first: return -1;")
check("too few lines", [4, 6], TWICE, fault="75.0 % of lines reached, at least 95 are asked for", least=95)
check("an entry without a reason", [], TWICE[1:2], said="uncovered.txt:1: not an entry: src/a.c:first: return -1;", broken=True)
check("an entry without its place", [], [TWICE[0], "return -1;"], said="uncovered.txt:2: not an entry: return -1;", broken=True)
print("\n".join(faults) or "ok")
sys.exit(bool(faults))
