#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Cores that are cut short at many lengths, and cores with bytes changed: bslab-stat says what it can, and ends.

usage: garbage.py BSLAB-STAT LIBRARY HEAP [ROUNDS [SEED]]

Each round changes some bytes that are not zero, and takes one of the ways to look. It may fail with status 1 and a
line; it may not crash (nor find a fault, where it was built with sanitizers) and may not take longer than SECONDS.
"""
import mmap
import os
import random
import subprocess
import sys

from target import Target, folder

PROGRAM, LIBRARY, HEAP = sys.argv[1:4]
ROUNDS = int(sys.argv[4]) if len(sys.argv) > 4 else 150
SEED = int(sys.argv[5]) if len(sys.argv) > 5 else random.randrange(1 << 30)
SECONDS = 20
PAGE = 4096


def look(path, *args):
    try:
        done = subprocess.run([PROGRAM, "--core", path, *args], stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"{args}: still running after {SECONDS} s"
    if done.returncode not in (0, 1) or b"ERROR: " in done.stderr or b"runtime error" in done.stderr:
        return f"{args}: status {done.returncode}\n" + done.stderr.decode(errors="replace")
    return None


def ways(known, rng):
    address = rng.choice([*known.values()]) + rng.choice([0, 0, 8, 4096, -4096])
    return [["all"], [], ["--json"], ["--blocks"], ["--html", "-"], ["--ptr", hex(max(address, 1))]]


def dense_pages(data):
    """Pages that hold something, headers and notes first: most of a core is zeros or the program's own."""
    pages = [at for at in range(0, len(data), PAGE) if data[at:at + PAGE].strip(b"\0\xa5")]
    return pages


def change(data, rng, pages):
    """Changes some bytes; what undoes it."""
    undo = []
    for _ in range(rng.choice([1, 1, 4, 30, 400])):
        page = rng.choice(pages)
        at = page + rng.randrange(min(PAGE, len(data) - page))
        if not data[at] and rng.random() < 0.8:
            continue
        undo.append((at, data[at]))
        data[at] = rng.choice([0, 1, 0x7f, 0xff, rng.randrange(256), data[at] ^ 1 << rng.randrange(8)])
    return undo


def cut_short(path, size, rng):
    lengths = sorted({*range(0, 200, 7), *(rng.randrange(size) for _ in range(ROUNDS // 3)), size - 1, size}, reverse=True)
    for length in lengths:
        os.truncate(path, length)
        fault = look(path, "all")
        if fault:
            return f"at {length} of {size} bytes: {fault}"
    return None


def main():
    rng = random.Random(SEED)
    print(f"seed {SEED}, {ROUNDS} rounds")
    with folder() as path, Target([HEAP, "--churn", "2"], LIBRARY) as t:
        core, why = t.core(path)
        if not core:
            print(f"skipped: {why}")
            return 77
        with open(core, "r+b") as f, mmap.mmap(f.fileno(), 0) as data:
            pages = dense_pages(data)
            # Half of the changes where one leads furthest: in headers, and in pages that hold addresses of the heap.
            heap = t.known["object"] >> 32
            mark = heap.to_bytes(2, "little") if heap else b"\x7f"
            near = [0, *(p for p in pages if data[p:p + PAGE].count(mark) > 8)]
            for i in range(ROUNDS):
                undo = change(data, rng, near if i % 2 else pages)
                args = rng.choice(ways(t.known, rng))
                fault = look(core, *args)
                if fault:
                    print(f"FAIL round {i}: {fault}")
                    return 1
                for at, byte in reversed(undo):
                    data[at] = byte
            size = len(data)
        fault = cut_short(core, size, rng)
        if fault:
            print(f"FAIL {fault}")
            return 1
    print("ok")
    return 0


sys.exit(main())
