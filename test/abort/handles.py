#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs `handles CASE` for each misuse of handles, and compares what it says, exactly, and how it ends.

usage: handles.py PROGRAM [CASE ...]

By default each must abort; with on_error=warn it must say the same and go on. {it} is what the program prints.
"""
import os
import re
import signal
import subprocess
import sys

FREED = "bslab: invalid {call} of handle {it}: freed before"
MAPPED = "bslab: invalid {call} of handle {it}: it is mapped 1 times"
UNMAPPED = "bslab: invalid unmap of handle {it}: it is not mapped"
WILD = "bslab: invalid {call} of handle {it}: not a handle from bslab"

CASES = {
    "double_free": FREED.replace("{call}", "free"),
    "double_free_run": FREED.replace("{call}", "free"),
    "double_free_large": FREED.replace("{call}", "free"),
    "stale": FREED.replace("{call}", "free"),
    "map_freed": FREED.replace("{call}", "map"),
    "unmap_freed": FREED.replace("{call}", "unmap"),
    "size_freed": FREED.replace("{call}", "size"),
    "resize_freed": FREED.replace("{call}", "resize"),
    "free_mapped": MAPPED.replace("{call}", "free"),
    "free_mapped_elsewhere": MAPPED.replace("{call}", "free"),
    "resize_mapped": MAPPED.replace("{call}", "resize"),
    "unmap_unmapped": UNMAPPED,
    "wild_free": WILD.replace("{call}", "free"),
    "wild_map": WILD.replace("{call}", "map"),
    "map_none": WILD.replace("{call}", "map"),
    "wild_high": WILD.replace("{call}", "unmap"),
    "free_address": "bslab: invalid free of {it}: an object that has a handle",
    "free_address_large": "bslab: invalid free of {it}: an object that has a handle",
    "realloc_address_large": "bslab: invalid realloc of {it}: an object that has a handle",
}


def fault(program, case, conf):
    env = dict(os.environ, BSLAB_CONF=",".join(filter(None, [os.environ.get("BSLAB_CONF", ""), conf])))
    run = subprocess.run([program, case], env=env, capture_output=True, text=True, timeout=60)
    it = re.search(r"^it (0x[0-9a-f]+|\(nil\))$", run.stdout, re.M)
    expected = CASES[case].replace("{it}", it[1].replace("(nil)", "0x0") if it else "?") + "\n"
    if run.stderr != expected:
        return f"not {expected!r} but {run.stderr!r}"
    if "did something" in run.stdout:
        return "the call did something"
    if conf and (run.returncode != 0 or not run.stdout.endswith("went on\n")):
        return f"did not go on, but ended with {run.returncode}"
    if not conf and run.returncode != -signal.SIGABRT:
        return f"was not ended by SIGABRT, but with {run.returncode}"
    return None


def main():
    program, cases = sys.argv[1], sys.argv[2:] or list(CASES)
    failures = 0
    for case in cases:
        for conf in "", "on_error=warn":
            why = fault(program, case, conf)
            if why:
                failures += 1
                print(f"FAIL {case} [{conf}]: {why}")
    print(f"{2 * len(cases) - failures} passed, {failures} failed")
    return failures != 0


sys.exit(main())
