#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The gdb script, in batch mode: on a live process and on its core.

usage: gdb.py BSLAB-STAT SCRIPT LIBRARY HEAP
"""
import os
import re
import shutil
import subprocess
import sys

from target import Target, folder

PROGRAM, SCRIPT, LIBRARY, HEAP = sys.argv[1:]
failed = False


def gdb(where, *commands):
    words = [w for c in (f"source {SCRIPT}", *commands) for w in ("-ex", c)]
    done = subprocess.run(["gdb", "-nx", "-batch", *words, *where], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                          env=dict(os.environ, BSLAB_STAT=PROGRAM))
    return done.stdout + done.stderr


def check(what, out, *parts):
    global failed
    for part in parts:
        if part not in out:
            failed = True
            print(f"FAIL {what}: no {part!r} in\n{out}")


def check_all(what, where, known):
    out = gdb(where, f"bslab ptr {known['object']:#x}", f"bslab ptr (char *){known['run']:#x} + 4096", "bslab ptr &environ")
    check(what, out, "state       in use", f"208 bytes at {known['object']:#x}", f"33 pages at {known['run']:#x}", "not bslab's")
    check(what, gdb(where, "bslab slabinfo"), "slabinfo - version", "bslab-208")
    check(what, gdb(where, "bslab pages"), "Pages per block:  512", "address          state", f"{known['block']:#x}   large")
    check(what, gdb(where, "bslab"), "MemTotal:")
    check(what, gdb(where, "bslab nonsense"), "no such report: nonsense")
    check(what, gdb(where, "bslab ptr"), "which address?")


if not shutil.which("gdb"):
    print("skipped: no gdb")
    sys.exit(77)
if "yes" not in gdb([], "python print('y' + 'es')"):
    print("skipped: gdb has no Python")
    sys.exit(77)
check("nothing", gdb([], "bslab slabinfo"), "no process and no core file")
with Target([HEAP], LIBRARY) as t, folder() as path:
    if "ptrace: Operation not permitted" in gdb(["-p", str(t.pid)]):
        print("skipped: may not attach")
        sys.exit(77)
    check_all("live", [HEAP, "-p", str(t.pid)], t.known)
    core, why = t.core(path)
    check_all("core", [HEAP, core], t.known)
    check("completion", gdb([], "complete bslab b", "complete bslab sl"), "bslab buddyinfo\n", "bslab slabinfo\n")
    # An old gdb does not say where the process is: it is not looked for here.
    with open(f"{path}/no-process", "w") as f:
        f.write(f'#!/bin/sh\ncase $1 in --core) exec {PROGRAM} "$@" ;; esac\necho "not this process" >&2\nexit 1\n')
    os.chmod(f"{path}/no-process", 0o755)
    real, PROGRAM = PROGRAM, f"{path}/no-process"
    old = "python class Old: pid, progspace = (lambda i: (i.pid, i.progspace))(gdb.selected_inferior())"
    check("an old gdb", gdb([HEAP, "-p", str(t.pid)], old, "python gdb.selected_inferior = Old", "bslab slabinfo"), "bslab-208")
    PROGRAM = real
    # Where the process may not be read, gdb writes a core: a bslab-stat that may not stands in for that.
    with open(f"{path}/may-not", "w") as f:
        f.write(f'#!/bin/sh\ncase $1 in --core) exec {PROGRAM} "$@" ;; esac\necho "bslab-stat: cannot read process $1" >&2\nexit 1\n')
    os.chmod(f"{path}/may-not", 0o755)
    real, PROGRAM = PROGRAM, f"{path}/may-not"
    check("by a core of its own", gdb([HEAP, "-p", str(t.pid)], "bslab slabinfo"), "bslab-208")
PROGRAM = real
with Target([HEAP], LIBRARY, conf="profile=1,profile_to=/dev/null", stderr=subprocess.DEVNULL) as t:
    out = gdb([HEAP, "-p", str(t.pid)], f"bslab ptr {t.known['object']:#x}")
    check("a sample", out, "in use, sampled by the profile", "sample      200 bytes asked for, ")
    if not re.search(r"^by          0x[0-9a-f]+  \w+.*(\n            0x[0-9a-f]+  \w+.*)*\n            0x[0-9a-f]+  main \+ \d+", out, re.M):
        check("a sample's stack", out, "main")
print("FAIL" if failed else "ok")
sys.exit(failed)
