#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Objects that have handles, seen from outside: what the program says of itself, and what is at an address.

usage: handles.py BSLAB-STAT PROGRAM
"""
import json
import sys

import target

STAT, PROGRAM = sys.argv[1:]
failed = False


def expect(good, what):
    global failed
    if not good:
        failed = True
        print("FAIL", what)


def caches(report):
    return {c["name"]: c for c in report["slabinfo"]["caches"] if c["name"].startswith("handle-")}


def check(own, seen):
    expect(set(caches(own)) == {"handle-512", "handle-run"}, f"caches {sorted(caches(own))}")
    expect(caches(own) == caches(seen), f"{caches(own)} is not {caches(seen)}")
    small = caches(own)["handle-512"]
    expect(small["used_objects"] == 30000 / 8 - 1, f"{small['used_objects']} objects in use")
    expect(small["cached_objects"] >= 1, "none is kept by the thread")
    expect(caches(own)["handle-run"]["used_objects"] == 5 * 25, "25 pages for each run")
    for name in own["vmstat"]:
        if name.startswith(("compact_", "handle_", "slab_")):
            expect(own["vmstat"][name] == seen["vmstat"][name], f"{name}: {own['vmstat'][name]}, {seen['vmstat'][name]}")
    expect(own["vmstat"]["compact_released"] > 0, "no pageblock was released")
    expect(own["vmstat"]["compact_moved"] > 0 and own["vmstat"]["compact_success"] > 0, "nothing was moved")
    for key in "handles", "page_runs":
        expect(own["meminfo"][key] == seen["meminfo"][key], f"{key}: {own['meminfo'][key]}, {seen['meminfo'][key]}")
    live = small["used_objects"] * 512 + 5 * 25 * 4096
    expect(own["meminfo"]["handles"] == live, f"handles: {own['meminfo']['handles']}, not {live}")


def check_pointers(pid, known):
    for address, handle, words in (
        ("mapped", "handle", ["3 times mapped", "512 bytes"]),
        ("run", "run_handle", ["1 times mapped", "102400 bytes"]),
    ):
        status, out, errors = target.stat(STAT, pid, "--ptr", hex(known[address]))
        expect(status == 0 and not errors, f"--ptr ended with {status}: {errors}")
        for word in [f"{known[handle]:#x}", *words]:
            expect(word in out, f"no '{word}' in what is at the address:\n{out}")


def main():
    with target.folder() as folder:
        path = f"{folder}/report"
        with target.Target([PROGRAM, path], conf="region=64M") as t:
            status, out, errors = target.stat(STAT, t.pid, "--json")
            expect(status == 0 and not errors, f"bslab-stat ended with {status}: {errors}")
            with open(path) as f:
                check(json.load(f), json.loads(out))
            check_pointers(t.pid, t.known)
            status, out, errors = target.stat(STAT, t.pid)
            expect("handles: " in out, f"no handles in the summary:\n{out}")
            for what in "slabinfo", "--prometheus":
                status, out, errors = target.stat(STAT, t.pid, what)
                expect("handle-512" in out, f"no handle-512 in {what}")
    return failed


sys.exit(main())
