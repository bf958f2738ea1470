#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the look inside costs while nobody looks: nothing on the fast paths, next to nothing elsewhere.

usage: costs.py LIBRARY BARE PROGRAM    BARE: the library without probes and without a sampler; PROGRAM: insight/costs

1. The fast paths are the same in both, instruction for instruction. Only addresses may differ. So are the entry points as a
   whole, but for malloc, calloc and realloc: behind their fast path stands what they take while the profile is on.
2. Under callgrind, which counts instructions, a malloc and a free take as many in both, but for the slow paths: for each
   probe that is passed a nop, and its arguments. In all, less than MOST_MORE. PROGRAM has a clock of its own, so the counts
   are the same in each run, also on a busy machine.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

LIBRARY, BARE, PROGRAM = sys.argv[1:]
MOST_MORE = 0.005
ALLOCATE = ["malloc", "bslab_malloc", "calloc", "bslab_calloc", "realloc", "bslab_realloc", "memalign", "aligned_alloc",
            "posix_memalign", "bslab_memalign", "bslab_aligned_alloc", "bslab_posix_memalign", "_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t", "_ZnwmSt11align_val_t"]
RELEASE = ["free", "bslab_free", "cfree", "_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm", "_ZdlPvSt11align_val_t", "_ZdlPvmSt11align_val_t"]
failed = False


def fail(text):
    global failed
    failed = True
    print("FAIL", text)


def run(*words, **kind):
    return subprocess.run(words, check=True, capture_output=True, text=True, **kind)


def functions(path):
    """name -> (start, size)"""
    found = {}
    for line in run("nm", "-S", "--defined-only", path).stdout.splitlines():
        words = line.split()
        if len(words) == 4 and words[2] in "TtWw":
            found[words[3]] = int(words[0], 16), int(words[1], 16)
    return found


def code(path, start, size):
    """The instructions of a function. Where it jumps, and what it loads, is told by names, and by places within it."""
    out = run("objdump", "-d", "--no-show-raw-insn", f"--start-address={start}", f"--stop-address={start + size}", path).stdout
    lines = []
    for line in re.findall(r"^ +[0-9a-f]+:\t(.*)$", out, re.M):
        line = re.sub(r"\s+#.*", "", line)  # an address and the nearest name
        line = re.sub(r"-?0x[0-9a-f]+\(%rip\)", "ADDRESS(%rip)", line)
        line = re.sub(r"\b[0-9a-f]+ <([^>]+)>", r"<\1>", line)
        lines.append(line.rstrip())
    return lines


def fast_path(lines):
    """Up to where it returns, or leaves for memset(); how far jumps lead depends on what stands behind."""
    end = next(i for i, line in enumerate(lines) if re.match(r"ret|jmp", line)) + 1
    return [re.sub(r"\+0x[0-9a-f]+>", "+>", line) for line in lines[:end]]


def check_code():
    ours, bare = functions(LIBRARY), functions(BARE)
    nr = 0
    for name in ALLOCATE + RELEASE:
        if name not in ours or name not in bare:
            if name in ours or name in bare:
                fail(f"{name} is in one library only")
            continue
        a, b = code(LIBRARY, *ours[name]), code(BARE, *bare[name])
        if name.removeprefix("bslab_") in ("malloc", "calloc", "realloc"):
            a, b = fast_path(a), fast_path(b)
        if not a:
            fail(f"{name} has no instructions")
        elif a != b:
            first = next(i for i, (x, y) in enumerate(zip(a + [None], b + [None])) if x != y)
            fail(f"{name} differs at its instruction {first}: {(a + [None])[first]!r}, without a look inside {(b + [None])[first]!r}")
        nr += 1
    print(f"{nr} entry points are the same, instruction for instruction")
    if nr < 16:
        fail("too few to say so")


def count(library, n, folder):
    """Instructions of the whole program, from start to end."""
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "BSLAB_CONF")}
    done = run("valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", PROGRAM, str(n), env={**env, "LD_PRELOAD": library})
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])


def check_count():
    if not shutil.which("valgrind"):
        print("no valgrind: whole programs are not counted")
        return
    with tempfile.TemporaryDirectory(prefix="bslab-costs-") as folder:
        for n in (0, 200000):
            ours, bare = count(LIBRARY, n, folder), count(BARE, n, folder)
            print(f"{n} blocks: {ours} instructions, {bare} without a look inside: {100 * (ours / bare - 1):+.3f} %")
            if ours > bare * (1 + MOST_MORE):
                fail(f"that is more than {100 * MOST_MORE} % more")


check_code()
check_count()
sys.exit(failed)
