#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs `suite CASE SIZE` for the 116 of them, by default and in the hardened mode, and counts what is caught.

usage: suite.py LIBRARY PROGRAM [--list]

Caught at once: the process was ended, or refused what was asked for, before its next line. Caught at exit: it was ended
by the last look. What may be missed has its place in MISSED; everything else has to be caught.
"""
import os
import signal
import subprocess
import sys

import misuse

SIZES = (8, 4096, 256 * 1024)
PLAIN = [f"{where}_{by}" for where in ("overflow", "underflow", "copy_overflow", "copy_underflow") for by in ("1", "32", "1m")] + [
    "double_free", "double_free_delayed", "double_free_interleaved", "double_free_reuse", "double_free_single_reuse",
    "invalid_free", "invalid_free_alloca", "invalid_free_stack", "invalid_free_close", "invalid_free_far",
    "invalid_free_unaligned", "invalid_free_unaligned_multiple", "write_after_free", "write_after_free_reuse",
    "zero_after_free", "malloc_reuse", "malloc_reuse_downsize", "realloc_reuse", "zero_on_malloc", "executable_heap",
    "impossibly_large_malloc", "read_zero_size", "read_zero_size_free", "write_zero_size", "write_zero_size_free"]
CXX = ["delete_type_size_mismatch", "invalid_array_delete_char", "invalid_array_delete_string", "invalid_delete_array_char",
       "invalid_delete_array_string"]
CASES = [(case, size) for case in PLAIN for size in SIZES] + [(case, 4096) for case in CXX]


def each(*names):
    return {(name, size) for name in names for size in SIZES}


BESIDE = each(*[name for name in PLAIN if "flow" in name]) - {("underflow_1m", s) for s in SIZES} - {
    ("copy_underflow_1m", s) for s in SIZES}
ZERO_SIZE = each("read_zero_size", "read_zero_size_free", "write_zero_size", "write_zero_size_free")
# No write beside a block is seen by default, nor is one after its free, and a block serves again at once.
MISSED = {
    "": BESIDE | ZERO_SIZE | each("write_after_free", "write_after_free_reuse", "zero_after_free", "malloc_reuse",
                                  "malloc_reuse_downsize") | {
        ("double_free_interleaved", 8), ("double_free_interleaved", 4096),
        ("invalid_free_unaligned_multiple", 4096),  # an inner pointer is found when objects come home
        ("invalid_array_delete_char", 4096)},
    # Far behind the block is memory that nobody has; what is written before it was zero already; delete[] has no size.
    "hardened=yes": each("overflow_1m") | {("copy_underflow_32", 8), ("invalid_array_delete_char", 4096)},
}
LEAST = {"": 55, "hardened=yes": 110}


def run(library, program, case, size, conf):
    base = os.environ.get("BSLAB_CONF", "")
    env = dict(os.environ, LD_PRELOAD=library, BSLAB_CONF=",".join(filter(None, [base, conf])))
    done = subprocess.run([program, case, str(size)], env=env, capture_output=True, timeout=120)
    said = done.stdout.split()
    if said == [b"began", b"refused"] and done.returncode == 0:
        return "at once"
    # Ended by bslab, with a line that says why; or by the memory, where nobody is to write, or to execute.
    ended = done.returncode == -signal.SIGABRT and b"bslab: " in done.stderr or done.returncode in (-signal.SIGSEGV, -signal.SIGBUS)
    if said == [b"began"] and ended:
        return "at once"
    if said == [b"began", b"went", b"on"]:
        return "at exit" if ended else "missed" if done.returncode == 0 else "broken"
    return "broken"


def main():
    library, program = sys.argv[1:3]
    failed = False
    misuse.stay()
    for conf, may_miss in MISSED.items():
        got = {c: run(library, program, *c, conf) for c in CASES}
        counts = {how: list(got.values()).count(how) for how in ("at once", "at exit", "missed")}
        print(f"{conf or 'default'}: {counts['at once']} of {len(CASES)} at once, {counts['at exit']} at exit")
        if counts["at once"] + counts["at exit"] < LEAST[conf]:
            print(f"FAIL fewer than {LEAST[conf]} were caught")
            failed = True
        for c, how in got.items():
            if how == "broken":
                print(f"FAIL {c[0]} {c[1]} ended in another way")
                failed = True
            if how == "missed" and c not in may_miss:
                print(f"FAIL {c[0]} {c[1]} was not caught")
                failed = True
            if "--list" in sys.argv and how != "at once":
                print(f"  {c[0]} {c[1]}: {how}")
        if len(CASES) - len(may_miss) < LEAST[conf] or len(CASES) != 116:
            print(f"FAIL {len(CASES) - len(may_miss)} of {len(CASES)} have to be caught: fewer than {LEAST[conf]}")
            failed = True
    return failed


if __name__ == "__main__":
    sys.exit(main())
