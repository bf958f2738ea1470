#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The page of bslab-stat --html, parsed, against the JSON of the same heap: of a process that rests and of its core.

usage: page.py BSLAB-STAT LIBRARY HEAP
"""
import html.parser
import json
import os
import re
import signal
import subprocess
import sys

from target import Target, folder, stat, state, stop_for, until

PROGRAM, LIBRARY, HEAP = sys.argv[1:]
VOID = {"meta", "br", "link", "img"}
failed = []


def check(what, condition, *details):
    if not condition:
        failed.append(what)
        print("FAIL", what, *details, sep="\n     ")


class Page(html.parser.HTMLParser):
    """Tags that are balanced; rows and sections by what their data-... say."""

    def __init__(self, text):
        super().__init__()
        self.open, self.faults, self.tags = [], [], []
        self.sums, self.caches, self.kinds, self.samples = {}, {}, {}, 0
        self.nr_titles = self.nr_figures = 0
        self.outside = []
        self.feed(text)
        self.close()
        self.faults += [f"{tag} is not closed" for tag in self.open]

    def handle_starttag(self, tag, attrs, empty=False):
        a = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID and not empty:
            self.open.append(tag)
        self.outside += [v for k, v in attrs if k in ("src", "href", "srcset") or re.search(r"url\(", v or "")]
        if "data-key" in a:
            self.sums[a["data-key"]] = int(a["data-bytes"])
        if "data-size" in a:
            self.caches[int(a["data-size"])] = {k[5:]: v if k == "data-name" else int(v) for k, v in attrs if k.startswith("data-")}
        if "data-kind" in a:
            self.kinds[int(a["data-kind"])] = int(a["data-pages"])
        if "data-samples" in a:
            self.samples = int(a["data-samples"])
        if "data-low" in a:
            self.watermarks = {k[5:]: int(v) for k, v in attrs if k.startswith("data-")}
        self.nr_titles += tag == "title"
        self.nr_figures += tag == "figure"

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs, True)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")


def page_of(path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    page = Page(text)
    check(f"{path}: well-formed", not page.faults, page.faults[:5])
    check(f"{path}: nothing is fetched or executed", not page.outside and "script" not in page.tags and "@import" not in text, page.outside)
    check(f"{path}: light and dark", "prefers-color-scheme:dark" in text)
    return page


def look(*args):
    status, out, err = stat(PROGRAM, *args)
    check(f"{args} succeeds", status == 0, status, out, err)
    return out


def has_slept(pid, nr):
    """So many times, as it does between two samples."""
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", f.read(), re.M)[1]) >= nr


def compare(name, page, report):
    check(f"{name}: sums", page.sums == report["meminfo"], page.sums, report["meminfo"])
    caches = {c["object_bytes"]: c for c in report["slabinfo"]["caches"] if c["slabs"]}
    check(f"{name}: all caches", set(page.caches) == set(caches), set(page.caches) ^ set(caches))
    for size, row in page.caches.items():
        c = caches[size]
        want = (c["used_objects"], c["cached_objects"], c["free_objects"], c["slabs"], c["pages"] * 4096 - c["used_objects"] * size)
        check(f"{name}: the cache of {size}", row["name"] == c["name"] and (row["used"], row["cached"], row["free"], row["slabs"], row["waste"]) == want, row, c)
    zone = report["zoneinfo"]
    check(f"{name}: watermarks", page.watermarks == {"dirty": zone["zone_dirty_pages"], "low": zone["low_pages"], "high": zone["high_pages"]}, page.watermarks)
    k = page.kinds
    check(f"{name}: every page is of a kind", sum(k.values()) == zone["present_pages"], k)
    check(f"{name}: pages of slabs", sum(k[i] for i in range(5)) == sum(c["pages"] for c in caches.values()), k)
    check(f"{name}: pages of runs", k[5] * 4096 == report["meminfo"]["page_runs"], k)
    blocks = sum(b["pageblocks"] for b in report["vmallocinfo"]["blocks"])
    check(f"{name}: pages of large blocks", k[6] == blocks * 512, k, blocks)
    check(f"{name}: free pages", k[9] * 4096 == report["meminfo"]["dirty_free"] and k[10] * 4096 == report["meminfo"]["clean_free"], k, report["meminfo"])


def case_resting(path):
    with Target([HEAP, "--stir", "100200"], LIBRARY) as t:
        until(lambda: state(t.pid) == "S")
        look("--html", f"{path}/page.html", t.pid)
        page = page_of(f"{path}/page.html")
        compare("a process", page, json.loads(look(t.pid, "--json")))
        # A cell and, unless it is plain, a figure for each pageblock; and the page's own title.
        blocks = len(look(t.pid, "--blocks").splitlines()) - 1
        check("a title for each", page.nr_titles == 1 + blocks + page.nr_figures, page.nr_titles, blocks, page.nr_figures)
        check("pages in detail", page.nr_figures >= 1)
        core, why = t.core(path)
    if not core:
        print(f"skipped: a core: {why}")
        return
    odd = f"{path}/<b>&\"core'.42"
    os.rename(core, odd)
    look("--core", odd, "--html", f"{path}/core.html")
    with open(f"{path}/core.html", encoding="utf-8") as f:
        check("the name is escaped", "&lt;b&gt;&amp;&quot;core&#39;.42</h1>" in f.read())
    compare("a core", page_of(f"{path}/core.html"), json.loads(look("--core", odd, "--json")))


def case_series(path):
    with Target([HEAP, "--churn", "1"], LIBRARY) as t:
        look("--html", f"{path}/series.html", "--interval", "0.05", "--count", "12", t.pid)
        page = page_of(f"{path}/series.html")
        check("as many samples as asked for", page.samples == 12 and page.tags.count("polyline") == 4, page.samples)
        check("to standard output", look("--html", "-", t.pid).startswith("<!DOCTYPE html>"))
        # ^C ends the samples, and there is a page.
        run = subprocess.Popen([PROGRAM, "--html", f"{path}/broken-off.html", "--interval", "0.05", str(t.pid)], stdin=subprocess.DEVNULL)
        until(lambda: has_slept(run.pid, 3))
        stop_for(run, 5)
        run.send_signal(signal.SIGINT)
        check("broken off", run.wait(timeout=60) == 0)
        check("broken off: samples and a map", 2 < page_of(f"{path}/broken-off.html").samples < 50)
        run = subprocess.Popen([PROGRAM, "--html", f"{path}/ended.html", "--interval", "0.05", str(t.pid)], stdin=subprocess.DEVNULL)
        until(lambda: has_slept(run.pid, 30))
    check("the heap's program went on to its end", t.process.returncode == 0, t.process.returncode)
    # The process has ended meanwhile: what was seen is there, but no map.
    check("the process ended", run.wait(timeout=60) == 0)
    page = page_of(f"{path}/ended.html")
    check("the process ended: samples", page.samples > 2 and page.sums["total"] > 0 and not page.kinds, page.samples)


def case_faults(path):
    with Target([HEAP], LIBRARY) as t:
        for where, why in ((f"{path}/no/such/folder", "No such file or directory"), ("/dev/full", "No space left on device")):
            status, out, err = stat(PROGRAM, "--html", where, t.pid)
            check(f"{where}: one line", status == 1 and not out and err.count("\n") == 1 and where in err and why in err, status, out, err)
        for args in (["--html", "x", "--json"], ["--html", "x", "--blocks"], ["--html", "x", "slabinfo"]):
            status, out, err = stat(PROGRAM, t.pid, *args)
            check(f"{args}: a wrong use", status == 2 and err.count("\n") == 1, status, err)
    status, out, err = stat(PROGRAM, "--html", f"{path}/nobody.html", t.pid)
    check("no process: one line, no page", status == 1 and err.count("\n") == 1 and not os.path.exists(f"{path}/nobody.html"), status, err)


with folder() as path:
    for case in (case_resting, case_series, case_faults):
        case(path)
print("FAIL" if failed else "ok")
sys.exit(bool(failed))
