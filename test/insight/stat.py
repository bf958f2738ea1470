#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bslab-stat from end to end: heaps that are known, read from outside while they live and from cores, and every way to fail.

usage: stat.py BSLAB-STAT LIBRARY HEAP KINDS [STATIC-HEAP ...]
"""
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

from target import CONF, Target, folder, stat, state, stop_for, until

PROGRAM, LIBRARY, HEAP, KINDS_PROGRAM, *STATIC = sys.argv[1:]
CLASS = 208  # of 200 bytes
REPORTS = ["buddyinfo", "pagetypeinfo", "slabinfo", "zoneinfo", "vmstat", "vmallocinfo", "meminfo"]
failed = []


def check(what, condition, *details):
    if not condition:
        failed.append(what)
        print("FAIL", what, *details, sep="\n     ")
    return condition


def skip(what, why):
    print(f"skipped: {what}: {why}")


def look(*args, **run):
    """What a reading that has to succeed says."""
    status, out, err = stat(PROGRAM, *args, **run)
    check(f"{args} succeeds", status == 0 and out, status, out, err)
    return out


def snapshot(*args):
    return json.loads(look(*args, "--json"))


def cache(report, size):
    return next(c for c in report["slabinfo"]["caches"] if c["object_bytes"] == size)


def fields(text):
    """Lines of a name and a value, as --ptr has them."""
    return {line[:12].strip(): line[12:].strip() for line in text.splitlines()}


# --- what a heap must say, from wherever it is read -------------------------------------------------------------------


def check_objects(name, report, known):
    c = cache(report, CLASS)
    check(f"{name}: objects in use", c["used_objects"] == known["used"], c)
    check(f"{name}: objects add up", c["objects"] == c["used_objects"] + c["cached_objects"] + c["free_objects"], c)
    blocks = {int(b["address"], 0): b for b in report["vmallocinfo"]["blocks"]}
    check(f"{name}: large blocks", blocks.get(known["block"], {}).get("pageblocks") == 2 and
          blocks.get(known["mapping"], {}).get("kind") == "mapping", blocks)


def check_pointers(name, args, known):
    def at(where):
        return fields(look(*args, "--ptr", hex(known[where])))

    f = at("object")
    check(f"{name}: an object", f.get("state") == "in use" and f"{CLASS} bytes at {known['object']:#x}" in f.get("object", "") and
          f.get("cache", "").startswith(f"{CLASS} bytes") and f"[{f['object'].split()[0]} used]" in f.get("neighbours", ""), f)
    f = at("inside")
    check(f"{name}: inside an object", "the address is 17 bytes into it" in f.get("object", ""), f)
    f = at("freed")
    check(f"{name}: a freed object", f.get("state", "").startswith("free in "), f)
    f = at("run")
    check(f"{name}: a run", f.get("state") == "in use" and f.get("run") == f"33 pages at {known['run']:#x}", f)
    f = at("block")
    check(f"{name}: a large block", f.get("large block") == f"{3 << 20} bytes at {known['block']:#x}" and f.get("pageblocks") == "2", f)
    f = at("mapping")
    check(f"{name}: a mapping", f.get("large block") == f"{5 << 20} bytes at {known['mapping']:#x}" and "mapping" in f, f)
    f = fields(look(*args, "--ptr", hex(known["mapping"] + 4097)))
    check(f"{name}: inside a mapping", f.get("state") == "in use" and "4097 bytes into it" in f.get("large block", ""), f)
    f = fields(look(*args, "--ptr", hex(known["mapping"] - 1)))
    check(f"{name}: a guard page", f.get("state") == "a guard page", f)
    f = at("stack")
    check(f"{name}: not bslab's", f.get("state") == "not bslab's", f)


def check_blocks(name, args, known, report):
    head, *lines = look(*args, "--blocks").splitlines()
    rows = [line.split() for line in lines]
    check(f"{name}: a line for each pageblock", len(rows) == report["zoneinfo"]["present_pages"] // 512 and
          all(len(row) == len(head.split()) for row in rows), head, *lines)
    large = [row for row in rows if row[1] == "large" and int(row[2], 0) == known["block"]]
    check(f"{name}: pageblocks of a large block", len(large) == 2, *lines)
    buddy = [row for row in rows if row[1] == "buddy"]
    check(f"{name}: pages of a pageblock add up", buddy and all(sum(map(int, (row[4], row[6], row[7]))) == 512 for row in buddy), *lines)
    check(f"{name}: free pages add up", sum(int(row[4]) for row in rows) == report["zoneinfo"]["free_pages"], *lines)


def check_quiet(name, args, known):
    report = snapshot(*args)
    check_objects(name, report, known)
    check_pointers(name, args, known)
    check_blocks(name, args, known, report)
    for what in REPORTS:
        check(f"{name}: {what}", len(look(*args, what).splitlines()) >= 1)
    summary = look(*args)
    check(f"{name}: summary", "MemTotal:" in summary and re.search(rf"^ +{CLASS} +{known['used']} ", summary, re.M), summary)
    check(f"{name}: prometheus", "# TYPE bslab_" in look(*args, "--prometheus"))


# --- cases ------------------------------------------------------------------------------------------------------------


def case_live():
    with Target([HEAP], LIBRARY) as t:
        check_quiet("live", [t.pid], t.known)
        check("live: it was not stopped", until(lambda: state(t.pid) == "S"), state(t.pid))


def refuse_readv():
    """In a child: process_vm_readv(2) is not permitted, as some containers have it."""
    number = {"x86_64": 310, "aarch64": 270}[os.uname().machine]
    code = struct.pack("HBBI" * 4, 0x20, 0, 0, 0, 0x15, 0, 1, number, 0x06, 0, 0, 0x00050001, 0x06, 0, 0, 0x7FFF0000)
    text = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 4, ctypes.addressof(text)))
    libc = ctypes.CDLL(None)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
        os._exit(77)


def case_by_mem():
    with Target([HEAP], LIBRARY) as t:
        status, out, err = stat(PROGRAM, t.pid, "--json", preexec_fn=refuse_readv)
        if status == 77:
            return skip("process_vm_readv refused", "no seccomp filters here")
        check("process_vm_readv refused", status == 0, status, err)
        check_objects("by /proc/PID/mem", json.loads(out), t.known)


def has_heap(pid):
    """Whether it is test/insight/heap by now, which the reader has found."""
    status, out, err = stat(PROGRAM, pid, "--json")
    return not status and any(c["object_bytes"] == CLASS and c["used_objects"] == 2000 for c in json.loads(out)["slabinfo"]["caches"])


def read_until(run, pattern, nr=1, seconds=60):
    """Whether so many lines of its output came to match, however busy the machine is; who hangs is ended."""
    guard = threading.Timer(seconds, run.kill)
    guard.start()
    while nr and (line := run.stdout.readline()):
        nr -= re.match(pattern, line) is not None
    guard.cancel()
    return not nr


def case_another_program():
    """Its program is replaced while it is watched, by either way to read."""
    for refuse in None, refuse_readv:
        run = subprocess.Popen(["sh", "-c", f"echo ready; read x; exec {HEAP}"], env=dict(os.environ, LD_PRELOAD=LIBRARY), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
        run.stdout.readline()
        watcher = subprocess.Popen([PROGRAM, str(run.pid), "slabinfo", "--interval", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   preexec_fn=refuse)
        watcher.stdout.readline()
        run.stdin.write("\n")  # at once: the next look is a second away, when the loader is done
        run.stdin.flush()
        until(lambda: has_heap(run.pid))
        seen = read_until(watcher, rf"bslab-{CLASS} +2000 ")
        watcher.terminate()
        out, err = watcher.communicate(timeout=60)
        check(f"another program, {refuse}", watcher.returncode == 77 or seen, watcher.returncode, out[-500:], err)
        run.communicate("", timeout=60)


def case_without_main_thread():
    """It has ended, and others go on: for the kernel the process has no memory of its own any more."""
    with Target([HEAP, "--leave", "1"], LIBRARY) as t:
        check("without main thread: it has ended", until(lambda: state(t.pid) == "Z"))
        check_quiet("without main thread", [t.pid], t.known)
        status, out, err = stat(PROGRAM, t.pid, "--json", preexec_fn=refuse_readv)
        check("without main thread: by /proc/PID/mem", status in (0, 77), err)
        check("without main thread: a page", f"<h1>heap ({t.pid})" in look("--html", "-", t.pid))


def case_static():
    for program in STATIC:
        with Target([program]) as t:
            check_quiet(os.path.basename(program), [t.pid], t.known)


def case_dlopen():
    with Target([HEAP, "--library", LIBRARY]) as t:
        check_quiet("dlopen", [t.pid], t.known)


def case_other_files():
    """The library's file is gone, or in a namespace that is not ours: only memory counts."""
    with folder() as path:
        copy = shutil.copy(LIBRARY, path)
        with Target([HEAP], copy) as t:
            os.unlink(copy)
            check_quiet("deleted library", [t.pid], t.known)
        inside = f"mount -t tmpfs none {path} && cp {LIBRARY} {path}/l.so && LD_PRELOAD={path}/l.so exec {HEAP}"
        if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", path], capture_output=True).returncode:
            return skip("mount namespace", "may not unshare")
        with Target(["sh", "-c", inside], wrapper=["unshare", "-m"]) as t:
            check_quiet("mount namespace", [t.pid], t.known)


def is_json(path):
    """All of it, as far as can be told."""
    try:
        with open(path) as f:
            return bool(json.load(f))
    except (OSError, ValueError):
        return False


def case_own_report():
    """What the process says of itself is what is seen from outside."""
    with folder() as path, Target([HEAP], LIBRARY, conf=f"region=8M,large=4M,report=all:json,report_signal=USR2,report_to={path}/own") as t:
        t.process.send_signal(signal.SIGUSR2)
        check("own report: written", until(lambda: is_json(f"{path}/own")))
        own = json.load(open(f"{path}/own"))
        outside = snapshot(t.pid)
        for what in outside:
            check(f"own report: {what}", own.get(what) == outside[what], own.get(what), outside[what])
        check("own report: the same parts", list(own) == list(outside))


def check_mode(name, conf):
    with Target([HEAP], LIBRARY, conf=f"region=8M,large=4M,{conf}") as t:
        report = snapshot(t.pid)
        check_objects(name, report, t.known)
        f = fields(look(t.pid, "--ptr", hex(t.known["freed"])))
        check(f"{name}: a freed object", f["state"].startswith("free in "), f)


def case_modes():
    for conf in "index=cpu_id", "index=thread", "check=yes":
        check_mode(conf, conf)


def case_sampled():
    """Blocks that the profile sampled: who allocated them, and when. No guard pages: gcore leaves out a MiB around each."""
    with Target([HEAP], LIBRARY, conf="region=8M,large=4M,guard=no,profile=1,profile_to=/dev/null", stderr=subprocess.DEVNULL) as t, folder() as path:
        core, why = t.core(path)
        time.sleep(1.1)
        for where, size in ("object", 200), ("run", 33 << 12), ("block", 3 << 20), ("mapping", 5 << 20):
            out = look(t.pid, "--ptr", hex(t.known[where]))
            check(f"sampled: {where}", re.search(rf"^sample      {size} bytes asked for, [1-9]\d* s ago\n"
                                                 r"by          0x[0-9a-f]+\n(            0x[0-9a-f]+\n)+", out, re.M), out)
            if core:
                out = look("--core", core, "--ptr", hex(t.known[where]))
                check(f"sampled: {where} in a core", re.search(rf"^sample      {size} bytes asked for\nby          0x", out, re.M), out)


# What stands at each address of kinds.c: a field and how it begins.
KINDS = {
    "part": ("cache", "parts__x_, 200 bytes"),
    "heap": ("state", "in a page of a library's heap"),
    "heap_large": ("large block", "5242880 bytes at "),
    "element": ("state", "in a page of a pool"),
    "reserved": ("state", "in a page of a pool"),
    "folio": ("run", "8 pages at "),
    "page_freed": ("state", "free, kept whole for the next request of its size"),
    "handle": ("state", "in use, 2 times mapped"),
    "handle_next": ("state", "free"),
    "handle_3k": ("object", "0 of 21 that have handles, 3072 bytes at "),
    "handle_free": ("state", "free in its slab"),
    "handle_behind": ("state", "behind the last object of its slab"),
    "dma32": ("cache", "DMA32-1024, 1024 bytes"),
    "contig": ("state", "in a range of the contiguous reserve"),
    "contig_free": ("state", "free, in "),
    "movable": ("state", "in a movable run"),
    "object": ("cache", "320 bytes"),
    "run": ("run", "25 pages at "),
}
KINDS_BY_MODE = {
    "dirty=64M": {"kept": ("state", "free, kept whole for the next request of its size")},
    "hardened=yes": {"zero": ("cache", "16 bytes"), "dma32": ("state", "in a page of a library's heap"), "before_run": ("state", "in a page that traps")},
    "guarded=1": {"object": ("state", "in the page of a guarded block")},
}


def case_kinds():
    """Memory that is not malloc's alone; nothing of it is in doubt, since nobody is at work."""
    for conf, others in KINDS_BY_MODE.items():
        with Target([KINDS_PROGRAM], conf=f"{CONF},{conf}") as t:
            t.known["before_run"] = t.known["run"] - 1
            t.known["handle_free"] = t.known["handle_3k"] + 20 * 3072
            t.known["handle_behind"] = t.known["handle_3k"] + 21 * 3072
            for where, (field, text) in {**KINDS, **others}.items():
                status, out, err = stat(PROGRAM, t.pid, "--ptr", hex(t.known[where]))
                check(f"{conf}: {where}", status == 0 and not err and fields(out).get(field, "").startswith(text), out, err)
            status, out, err = stat(PROGRAM, t.pid, "slabinfo", "vmallocinfo")
            rows = [line.split() for line in out.splitlines()]
            check(f"{conf}: a cache by its name", [r[1] for r in rows if r and r[0] == "parts__x_"] == ["100"] and not err, out, err)
            contig = [row for row in (line.split() for line in look(t.pid, "--blocks").splitlines()) if row[1] == "contig"]
            check(f"{conf}: the contiguous reserve", len(contig) == 2 and sum(int(row[4]) for row in contig) == 1024 - 25 - 25 and
                  sum(int(row[7]) for row in contig) == 25 + 25, contig)
            if conf == "dirty=64M":
                kept = [int(line.split()[0], 0) for line in look(t.pid, "--blocks").splitlines() if line.split()[2] == "kept"]
                check("pageblocks of a large block that is kept", kept == [t.known["kept"], t.known["kept"] + (2 << 20)], kept)
            check(f"{conf}: a large block of a heap", f"{t.known['heap_large']:#x}" in out, out)


def case_churn():
    """Other threads allocate and free while it is read: what they do not touch comes out right each time."""
    with Target([HEAP, "--churn", "3"], LIBRARY) as t:
        for _ in range(25):
            # What rests in a sheaf is brought home now and then, by those who churn: seen in both places, or in none.
            reports = (snapshot(t.pid) for _ in range(5))
            report = next((r for r in reports if cache(r, CLASS)["used_objects"] == t.known["used"]), None)
            if not check("churn: objects in use", report):
                break
            check_objects("churn", report, t.known)
            check_pointers("churn", [t.pid], t.known) if _ < 3 else None
            lines = look(t.pid, "--blocks").splitlines()
            check("churn: pageblocks", len(lines) > 3)
            if failed:
                break
        out = look(t.pid, "--interval", "0.1", "--count", "3").splitlines()
        rows = [line.split() for line in out[2:]]
        check("interval: a line each time", len(rows) == 3 and all(len(r) == 11 for r in rows), *out)
        check("interval: rates", int(rows[0][4]) == 0 and any(int(row[4]) > 0 for row in rows[1:]), *out)
        out = look(t.pid, "slabinfo", "--interval", "0.05", "--count", "2")
        check("interval: a report each time", out.count("slabinfo - version") == 2, out)


def case_stopped():
    """While it is stopped looks are missed, and not made up for."""
    with Target([HEAP], LIBRARY) as t, subprocess.Popen([PROGRAM, str(t.pid), "--interval", "0.05"], stdout=subprocess.PIPE, text=True) as run:
        numbers = r"[\d\s]+$"
        check("stopped: the first line", read_until(run, numbers))
        began = time.monotonic()
        stop_for(run, 5)
        check("stopped: it goes on", read_until(run, numbers, 2))
        run.terminate()
        nr_lines = run.stdout.read().count("\n")
        seconds = time.monotonic() - began - 5
        check("stopped: a line each time", nr_lines < 20 + seconds / 0.05, nr_lines, seconds)


def case_large_blocks_that_come_and_go():
    """Those that stay are in the list, or a doubt is said; nothing is there twice, or after it was freed."""
    with Target([HEAP, "--swap", "1"], LIBRARY) as t:
        good = 0
        for _ in range(100):
            status, out, err = stat(PROGRAM, t.pid, "vmallocinfo", "--json")
            blocks = [int(b["address"], 0) for b in json.loads(out)["vmallocinfo"]["blocks"]]
            whole = {t.known["block"], t.known["mapping"]} <= set(blocks)
            good += whole
            if not check("swap: the list", status == 0 and (whole or err) and len(blocks) == len(set(blocks)) <= 4, out, err):
                break
        check("swap: whole lists", good > 50, good)


def case_two_heaps():
    with folder() as path, Target([HEAP, "--library", LIBRARY], shutil.copy(LIBRARY, f"{path}/other.so")) as t:
        _, _, err = stat(PROGRAM, t.pid)
        check("two heaps", err.endswith(f"there are 2 heaps of bslab in process {t.pid}; this is the first\n"), err)
        core, why = t.core(path)
        if not core:
            return skip("a core with two heaps", why)
        _, _, err = stat(PROGRAM, "--core", core)
        check("two heaps in a core", err.startswith(f"bslab-stat: there are 2 heaps of bslab in core core.{t.pid}; this is the first\n"), err)


def case_core():
    with Target([HEAP], LIBRARY) as t, folder() as path:
        live = look(t.pid, "all"), look(t.pid, "--blocks")
        core, why = t.core(path)
        if not core:
            return skip("cores", why)
        check("core: reports are those of the process", live == (look("--core", core, "all"), look("--core", core, "--blocks")))
        check_quiet("core", ["--core", core], t.known)
        check_damaged(path, core)
    with Target([HEAP, "--churn", "3"], LIBRARY) as t, folder() as path:
        core, _ = t.core(path)
        check_pointers("core of a churn", ["--core", core], t.known)


def case_core_of_kernel():
    """As the kernel writes it: without the pages of files, but for their first."""
    pattern = open("/proc/sys/kernel/core_pattern").read().strip()
    if pattern.startswith("|") or "/" in pattern:
        return skip("the kernel's core", f"core_pattern is {pattern}")
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard == 0:
        return skip("the kernel's core", "the limit does not allow one")
    with folder() as path:
        with Target([HEAP], LIBRARY, wrapper=["prlimit", f"--core={'unlimited' if hard < 0 else hard}:"], cwd=path) as t:
            live = look(t.pid, "all")
            t.process.send_signal(signal.SIGABRT)
            t.process.wait()
        cores = os.listdir(path)
        if not cores:
            return skip("the kernel's core", "none was written")
        check("kernel's core: reports are those of the process", look("--core", f"{path}/{cores[0]}", "all") == live)


def refused(what, args, status, pattern, **run):
    got, out, err = stat(PROGRAM, *args, **run)
    check(f"refused: {what}", got == status and not out and err.count("\n") == 1 and err.startswith("bslab-stat: ") and
          re.search(pattern, err), got, out, err)


def without_first_pages(data, name):
    """The core as if it had nothing of the file's: each PT_LOAD whose bytes begin with an ELF header is emptied."""
    data = bytearray(data)
    at, size, n = (int.from_bytes(data[i:i + k], "little") for i, k in ((32, 8), (54, 2), (56, 2)))
    for i in range(n):
        h = at + i * size
        offset, length = int.from_bytes(data[h + 8:h + 16], "little"), int.from_bytes(data[h + 32:h + 40], "little")
        if data[h:h + 4] == b"\1\0\0\0" and length and data[offset:offset + 4] == b"\x7fELF":
            data[h + 32:h + 40] = bytes(8)
    return data


def check_damaged(path, core):
    data = open(core, "rb").read()

    def damaged(text):
        with open(f"{path}/damaged", "wb") as f:
            f.write(text)
        return ["--core", f"{path}/damaged"]

    for size in len(data) // 2, 5000, 100:
        refused(f"a core of {size} bytes", damaged(data[:size]), 1, "is truncated")
    refused("an empty file", damaged(b""), 1, "is not an ELF file")
    refused("a text", damaged(b"text" * 100), 1, "is not an ELF file")
    refused("a program", ["--core", HEAP], 1, "no core")
    refused("a core of 32 bits", damaged(data[:4] + b"\1" + data[5:]), 1, "64 bits")
    note = data.find(b"blsbbslab\0")
    check("core: it holds the note", note > 0)
    layout = note + len("blsb") + len("bslab\0\0\0") + 4
    other = bytearray(data)
    other[layout] ^= 1
    refused("another layout", damaged(other), 1, r"has bslab [0-9.]+ with layout 2\.[0-9a-f]{8}; this bslab-stat [0-9.]+ reads layout 2\.[0-9a-f]{8}")
    # What the core does not hold is in the file, if it is the same file.
    bare = damaged(without_first_pages(data, LIBRARY))
    check("core without files' pages: read from the file", "MemTotal" in look(*bare, "--lib", LIBRARY, "meminfo"))
    moved = damaged(bytes(without_first_pages(data, LIBRARY)).replace(b"/libbslab.so", b"/nothere/.so"))
    refused("the file is missing", moved, 1, "no such file|does not run under bslab")
    odd = damaged(bytes(without_first_pages(data, LIBRARY)).replace(b"/libbslab.so", b"/\x1b]0;x\x07\n.so\xff"))
    status, out, err = stat(PROGRAM, *odd)
    check("a file's name that is none for a terminal", status == 1 and err.count("\n") == 1 and re.fullmatch("[ -~]+\n", err) and
          "/?]0;x??.so?" in err, err)
    # What stands at the paths that a core names is not waited for.
    fifo = f"{path}/fifo"
    os.mkfifo(fifo)
    refused("a FIFO", ["--core", fifo], 1, "is no regular file")
    name = os.path.realpath(LIBRARY).encode()
    if len(fifo) > len(name):
        return skip("a FIFO that a core names", "the library's name has no room for the FIFO's")
    check("core: it names the library", name in data, name)
    to_fifo = damaged(bytes(without_first_pages(data, LIBRARY)).replace(name, fifo.encode().rjust(len(name), b"/")))
    refused("a FIFO that a core names", to_fifo, 1, "no such file|does not run under bslab")


def case_errors():
    refused("no such process", [2**22 - 1], 1, "there is no process")
    refused("a core that is not there", ["--core", "/nonexistent"], 1, "No such file")
    refused("no process named", [], 2, "which process")
    refused("not a number", ["x12"], 2, "not a process number")
    refused("an unknown report", [1, "nonsense"], 2, "no such report: nonsense")
    refused("two things at once", [1, "--blocks", "meminfo"], 2, "at a time")
    refused("a bad address", [1, "--ptr", "here"], 2, "not an address")
    refused("a bad interval", [1, "--interval", "-1"], 2, "not a number of seconds")
    refused("a count alone", [1, "--count", "2"], 2, "--interval")
    refused("two formats", [1, "--json", "--prometheus"], 2, "not both")
    refused("a count of none", [1, "--interval", "1", "--count", "0"], 2, "not a count: 0")
    refused("process 0", [0], 2, "not a process number: 0")
    refused("a program without a core", [1, "--exe", "program"], 2, "--exe and --lib go with --core")
    refused("a core again and again", ["--core", "core", "--interval", "1"], 2, "a core does not change")
    refused("too many libraries", ["--core", "core"] + ["--lib", "library"] * 1000, 2, "too many files")
    check("unknown option", stat(PROGRAM, "--nonsense")[0] == 2)
    check("help", "usage: bslab-stat PID" in look("--help"))
    check("version", re.fullmatch(r"bslab-stat [0-9.]+, layout 2\.[0-9a-f]{8}\n", look("--version")))
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    with subprocess.Popen(["sleep", "60"], env=env) as sleep:
        until(lambda: state(sleep.pid) == "S")
        refused("a process without bslab", [sleep.pid], 1, "does not run under bslab")
        sleep.kill()
        os.waitid(os.P_PID, sleep.pid, os.WEXITED | os.WNOWAIT)
        refused("a process that has ended", [sleep.pid], 1, "has ended")
    if os.path.exists("/proc/2/comm") and open("/proc/2/comm").read() == "kthreadd\n":
        refused("a thread of the kernel", [2], 1, "a thread of the kernel")


def check_ended_amid():
    """It ends while what it had is printed, into a pipe that takes one page at a time: all of it was read before."""
    program = "blocks = [bytearray(3 << 20) for i in range(200)]; print('ready', flush=True); input()"
    with Target([sys.executable, "-c", program], LIBRARY) as t:
        nr_lines = look(t.pid, "--blocks").count("\n")
        check("many pageblocks", nr_lines > 400, nr_lines)
        with subprocess.Popen([PROGRAM, str(t.pid), "--blocks"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pipesize=4096) as run:
            until(lambda: state(run.pid) == "S")
            t.process.kill()
            t.process.wait()
            out, err = run.communicate(timeout=60)
    whole = run.returncode == 0 and out.count("\n") == nr_lines and not err
    check("it ends amid", whole or run.returncode == 1 and not out and "has ended" in err, run.returncode, out[-500:], nr_lines, err)


def case_errors_of_targets():
    with Target([HEAP], LIBRARY) as t:
        with open("/dev/full", "w") as full:
            done = subprocess.run([PROGRAM, str(t.pid), "all"], stdout=full, stderr=subprocess.PIPE, text=True)
        check("a full disk", done.returncode == 1 and done.stderr == "bslab-stat: cannot write: No space left on device\n", done.stderr)
        with subprocess.Popen([PROGRAM, str(t.pid), "--interval", "0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as watcher:
            time.sleep(0.3)
            t.process.kill()
            err = watcher.communicate(timeout=60)[1]
        check("it ends meanwhile", watcher.returncode == 1 and re.fullmatch(r"bslab-stat: process \d+ has ended.*\n", err), err)
    check_ended_amid()
    if os.geteuid() != 0:
        return skip("another user's process", "not root")
    with Target([HEAP], LIBRARY) as t, folder() as path:
        os.chmod(path, 0o755)
        program = shutil.copy(PROGRAM, path)
        done = subprocess.run([program, str(t.pid)], capture_output=True, text=True, user=65534, group=65534, extra_groups=[])
        check("another user's process", done.returncode == 1 and done.stderr.count("\n") == 1 and
              re.search(r"cannot read process \d+: .*another user's \(uid 0\)", done.stderr), done.stderr)


for name, case in list(globals().items()):
    if name.startswith("case_"):
        before = len(failed)
        began = time.time()
        case()
        print(f"{'ok  ' if len(failed) == before else 'FAIL'} {name[5:]} ({time.time() - began:.1f} s)", flush=True)
sys.exit(bool(failed))
