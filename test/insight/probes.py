#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The probes: those in the library are those that the documentation lists, and gdb stops at them with the right arguments.

usage: probes.py LIST LIBRARY STATIC-PROGRAM PROGRAM    LIST: docs/outside.md; STATIC-PROGRAM: with the archive in it
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

LIST, LIBRARY, STATIC, PROGRAM = sys.argv[1:]
# A register or a constant, with its size: what every tracer understands.
OPERAND = re.compile(r"-?[1248]@(%\w+|\$-?\d+|[wx]\d+|-?\d+)$")
failed = False


def fail(text):
    global failed
    failed = True
    print("FAIL", text)


def probes_of(path):
    """name -> the operands of each place where it stands"""
    notes = subprocess.run(["readelf", "-n", path], check=True, capture_output=True, text=True).stdout
    found = {}
    for name, arguments in re.findall(r"Provider: bslab\n\s+Name: (\w+)\n\s+Location: [^\n]*\n\s+Arguments: ?([^\n]*)", notes):
        found.setdefault(name, []).append(arguments.split())
    return found


def listed():
    """name -> number of arguments"""
    with open(LIST) as f:
        text = f.read().split("## Probes\n")[1].split("\n## ")[0]
    # Commas in brackets belong to what an argument means.
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|$", text, re.M)
    return {name: len(re.sub(r"\([^)]*\)", "", arguments).split(",")) for name, arguments in rows}


def check_list(path, found):
    want = listed()
    for name in sorted(want.keys() - found.keys()):
        fail(f"{path} has no probe {name}, which {LIST} lists")
    for name in sorted(found.keys() - want.keys()):
        fail(f"{LIST} does not list {name} of {path}")
    for name in sorted(found.keys() & want.keys()):
        for arguments in found[name]:
            if len(arguments) != want[name]:
                fail(f"{name} has {len(arguments)} arguments, listed are {want[name]}")
            for a in arguments:
                if not OPERAND.match(a):
                    fail(f"{name} of {path}: an argument is at {a}")
    print(f"{path}: {len(found)} probes in {sum(map(len, found.values()))} places")


def gdb(*words, **run):
    return subprocess.run(["gdb", "-nx", "-batch", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, **run).stdout


def script(path, watched):
    with open(path, "w") as f:
        f.write(f"set pagination off\nset confirm off\nset breakpoint pending on\nset startup-with-shell off\n"
                f"set environment LD_PRELOAD {LIBRARY}\n")
        for name, nr in watched.items():
            values = " ".join(["%#lx"] * nr)
            words = ", ".join(f"(unsigned long)$_probe_arg{i}" for i in range(nr))
            f.write(f'break -probe-stap bslab:{name}\ncommands\nsilent\nprintf "hit {name} {values}\\n", {words}\ncontinue\nend\n')
        f.write("run\n")


def lines(out, kind):
    found = {}
    for line in re.findall(rf"^{kind} (.*)$", out, re.M):
        name, *values = line.split()
        found.setdefault(name, []).append([int(v, 0) for v in values])
    return found


def check_hits(out):
    known, hits = lines(out, "known"), lines(out, "hit")
    if not known:
        fail(f"the program did not run:\n{out}")
    for name, [want] in known.items():
        got = hits.get(name, [])
        if name == "slab_create":  # the object stands in the new slab
            good = any(h[0] == want[0] and h[1] <= want[1] < h[1] + h[3] * 4096 and h[2] * h[0] <= h[3] * 4096 for h in got)
        else:
            good = got == [want]
        if not good:
            fail(f"{name}: want {want}, gdb saw {got}")
    refills = [h for h in hits.get("sheaf_refill", []) if h[0] == 3072]
    if len(refills) != 1 or not 0 < refills[0][1] <= refills[0][2]:
        fail(f"sheaf_refill of 3072 bytes: {refills}")
    if not any(h[1] for h in hits.get("thread_exit", [])):
        fail(f"thread_exit: {hits.get('thread_exit')}")
    if len(hits.get("reclaim_end", [])) != 1:
        fail(f"reclaim_end: {hits.get('reclaim_end')}")
    print(f"gdb stopped {sum(map(len, hits.values()))} times, at {len(hits)} probes")


found = probes_of(LIBRARY)
if not found:
    print("skipped: built without probes")
    sys.exit(77)
check_list(LIBRARY, found)
check_list(STATIC, probes_of(STATIC))
if not shutil.which("gdb"):
    print("no gdb: where they fire is not looked at")
else:
    shown = set(re.findall(r"^stap\s+bslab\s+(\w+)", gdb("-ex", "info probes stap bslab", LIBRARY), re.M))
    if shown != found.keys():
        fail(f"gdb shows other probes: {sorted(shown ^ found.keys())}")
    with tempfile.TemporaryDirectory(prefix="bslab-probes-") as folder:
        watched = {name: len(places[0]) for name, places in found.items()}
        script(f"{folder}/script", watched)
        out = gdb("-x", f"{folder}/script", PROGRAM, env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"})
        if "ptrace" in out and "not permitted" in out:
            print("gdb may not trace here: where they fire is not looked at")
        else:
            check_hits(out)
sys.exit(failed)
