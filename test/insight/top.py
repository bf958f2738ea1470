#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bslab-top in a terminal of tmux's, by its keys; and as plain text, parsed.

usage: top.py BSLAB-TOP BSLAB-STAT LIBRARY HEAP
"""
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from target import Target, stat, state, until

PROGRAM, STAT, LIBRARY, HEAP = sys.argv[1:]
CLASS = 208
COLOURED = r"\x1b\[([0-9;]*;)?[34][0-8]\b"  # not 39 or 49, the usual ones
failed = []


def check(what, condition, *details):
    if not condition:
        failed.append(what)
        print("FAIL", what, *details, sep="\n")
    return condition


# --- plain text -------------------------------------------------------------------------------------------------------


def top(*args, **env):
    run = subprocess.run([PROGRAM, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=dict(os.environ, **env))
    return run.returncode, run.stdout, run.stderr


def rows(text):
    """The table of caches: lists of words by object size, in order."""
    return {int(w[3]): w for w in (line.split() for line in text.splitlines()) if w and w[-1].startswith("bslab-")}


def screens(text):
    return [s for s in re.split(r"(?m)^(?=heap \()", text) if s.strip()]


def case_batch():
    with Target([HEAP], LIBRARY) as t:
        report = json.loads(stat(STAT, t.pid, "--json")[1])
        status, out, err = top("-b", "-n", 3, "-d", "0.1", t.pid)
        check("three screens", status == 0 and not err and len(screens(out)) == 3, status, out, err)
        for c in report["slabinfo"]["caches"]:
            row = rows(out).get(c["object_bytes"])
            check(f"the cache of {c['object_bytes']}", row and row[:2] == [str(c["objects"]), str(c["used_objects"])] and row[4] == str(c["slabs"]), row, c)
        status, out, err = top("--once", "--sort", "n", t.pid)
        check("by name", status == 0 and list(rows(out)) == sorted(rows(out)), out, err)
        check("no control characters", not re.search(r"[^\n -~]", top("--once", "--view", "map", t.pid, LC_ALL="C")[1]))
        # No terminal: the same as --once.
        status, out, err = top(t.pid, TERM="")
        check("without a terminal", status == 0 and len(screens(out)) == 1, out, err)
        known = stat(STAT, t.pid, "--blocks")[1].splitlines()[1:]
        for colours, letters in (("type", "[URMALCurmadi.]"), ("full", "[0-9#.]"), ("resident", "[0-9#.H?]")):
            out = top("--once", "--view", "map", "--map", colours, t.pid)[1]
            cells = "".join(re.findall(rf"(?m)^0x[0-9a-f]+  ({letters}+)$", out))
            check(f"a cell for each pageblock, by {colours}", len(cells) == len(known), out, *known)
        check("a mapping", "a mapping of its own, 5.0M" in out, out)
        blocks = [line.split()[1] for line in known]
        cells = "".join(re.findall(r"(?m)^0x[0-9a-f]+  ([A-Za-z.]+)$", top("--once", "--view", "map", t.pid)[1]))
        check("large ones where they are", [c == "L" for c in cells] == [b == "large" for b in blocks], cells, blocks)
        out = top("--once", "--view", "counters", t.pid)[1]
        counters = {w[0]: int(w[1]) for w in (line.split() for line in out.splitlines()) if len(w) > 3 and w[0] in report["vmstat"] and w[1].isdigit()}
        check("counters", counters == report["vmstat"], counters)
        check("cpus", re.search(rf"(?m)^ +\d+ +\d+ .*{CLASS}:\d+/\d+", top("--once", "--view", "cpus", t.pid)[1]))
        check("the graph", "RSS" in top("--once", "--view", "graph", t.pid, LC_ALL="C")[1])
        run = subprocess.Popen([PROGRAM, "-b", "-d", "0.1", str(t.pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out = ""
        while len(screens(out)) < 2 and (line := run.stdout.readline()):
            out += line
    err = run.communicate(timeout=60)[1]
    check("the process ended: said, and status 0", run.returncode == 0 and err == f"bslab-top: process {t.pid} has ended\n" and len(screens(out)) > 1, err)


def case_without_main_thread():
    with Target([HEAP, "--leave", "1"], LIBRARY) as t:
        until(lambda: state(t.pid) == "Z")
        status, out, err = top("--once", "-v", "map", "-m", "resident", t.pid)
        check("without main thread", status == 0 and not err and re.search(r"(?m)^RSS [1-9]", out) and re.search(r"(?m)^0x[0-9a-f]+  [0-9#.H]+$", out), out, err)


def case_faults():
    for args, status, part in (([], 2, "which process?"), (["x"], 2, "not a process number: x"), (["-s", "?", 1], 2, "no such order"),
                               (["-d", "0", 1], 2, "not a number of seconds"), (["-v", "x", 1], 2, "no such view"), ([1, 2], 2, "one process"),
                               (["--nonsense"], 2, "unrecognized option"),
                               (["-n", "-1", 1], 2, "not a count"), ([2147483647], 1, "there is no process"), ([os.getpid()], 1, "does not run under bslab")):
        got, out, err = top(*args)
        check(f"{args}: one line", got == status and part in err and err.count("\n") == 1 and not out, got, out, err)
    check("--help", top("--help")[0] == 0 and "usage:" in top("--help")[1])
    check("--version", re.match(r"bslab-top \d", top("-V")[1]))
    with Target([HEAP], LIBRARY) as t, open("/dev/full", "w") as full:
        run = subprocess.run([PROGRAM, "-o", str(t.pid)], stdout=full, stderr=subprocess.PIPE, text=True)
        check("a full disk", run.returncode == 1 and "No space left" in run.stderr, run.stderr)


# --- in a terminal ----------------------------------------------------------------------------------------------------


class Terminal:
    """A shell in a terminal of a known size, on a server of its own."""

    def __init__(self, width=80, height=24, **env):
        self.folder = tempfile.TemporaryDirectory(prefix="bslab-top-")
        self.nr = 0  # of the run, so that the end of an earlier one is not taken for its
        words = [f"{k}={shlex.quote(v)}" for k, v in {"LC_ALL": "C.UTF-8", "ENV": "", "PS1": "$ ", **env}.items()]
        self.tmux("new-session", "-d", "-x", str(width), "-y", str(height), " ".join(["env", "-u", "NO_COLOR", *words, "sh"]))

    def tmux(self, *args):
        return subprocess.run(["tmux", "-S", f"{self.folder.name}/socket", "-f", "/dev/null", *args], check=True, capture_output=True, text=True,
                              timeout=60).stdout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")
        self.folder.cleanup()

    def send(self, *keys):
        self.tmux("send-keys", *keys)

    def screen(self, colours=False):
        return self.tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def wait(self, what, condition, seconds=60):
        """Looks until the screen is as it should be, in two looks alike; the last one. A single look may meet it half drawn."""
        if isinstance(condition, str):
            part = condition
            condition = lambda s: part in s
        end = time.monotonic() + seconds
        before = None
        while True:
            screen = self.screen()
            is_so = condition(screen)
            if is_so and screen == before or time.monotonic() > end:
                check(what, is_so, screen)
                return screen
            before = screen
            time.sleep(0.05)

    def wait_order(self, words, values):
        """Looks until the table is said to be in this order, and is: a screen may be caught half drawn."""
        def is_so(screen):
            v = values(rows(screen).values()) if f"{words}: " in screen else []
            return v and v == sorted(v)
        return self.wait(words, is_so)

    def run(self, *args):
        self.nr += 1
        self.send(f"clear; echo before; {PROGRAM} {' '.join(map(str, args))}; echo end {self.nr}: $?; stty -a | grep -c -- '-icanon'", "Enter")

    def wait_end(self, what, status, seconds=60):
        """Until the program has ended with this status and the terminal takes whole lines again; the screen."""
        return self.wait(what, f"end {self.nr}: {status}\n0\n$", seconds)

    def quit(self, what, *keys, status=0, other_screen=True):
        self.send(*keys)
        # The screen of before is back, the terminal in its usual state, and the cursor is there.
        screen = self.wait_end(what, status)
        check(f"{what}: the screen is restored", not other_screen or screen.startswith("before\nend") and "OBJS" not in screen, screen)
        check(f"{what}: the cursor is back", self.tmux("display-message", "-p", "#{cursor_flag}").strip() == "1")


def order(screen):
    return list(rows(screen))


def case_keys(t):
    with Terminal() as term:
        term.run("-d", 1, t.pid)
        screen = term.wait("the first view", lambda s: is_whole(s, 80, 24))
        check("a header", screen.startswith(f"heap ({t.pid})  up ") and "RSS" in screen and "committed" in screen, screen)
        check("no line is cut off", all(len(line) <= 80 for line in screen.splitlines()), screen)
        known = {c["object_bytes"]: c for c in json.loads(stat(STAT, t.pid, "--json")[1])["slabinfo"]["caches"]}
        for size, row in rows(screen).items():
            check(f"{size}: active", row[1] == str(known[size]["used_objects"]), row, known[size])
        check("as many rows as fit", len(rows(screen)) == 24 - 7, screen)
        sizes = {"c": lambda r: [-unit(w[8]) for w in r], "o": lambda r: [-int(w[0]) for w in r], "n": lambda r: [int(w[3]) for w in r],
                 "s": lambda r: [-int(w[3]) for w in r], "l": lambda r: [-int(w[4]) for w in r]}
        orders = set()
        for key, values in sizes.items():
            term.send(key)
            name = {"c": "size", "o": "objects", "n": "name", "s": "object-size", "l": "slabs"}[key]
            screen = term.wait_order(f"by {name}", values)
            orders.add(tuple(order(screen)))
        check("the order changes", len(orders) == len(sizes), orders)
        for key, name in (("a", "active"), ("u", "use"), ("w", "waste"), ("r", "rate"), ("v", "partial-slabs"), ("b", "objects-per-slab"),
                          ("p", "pages-per-slab"), ("e", "cached")):
            term.send(key)
            term.wait(f"by {name}", f"by {name}: ")
        term.send("s")
        down = order(term.wait_order("by object-size", sizes["s"]))
        term.send("R")
        up = order(term.wait_order("by object-size, reversed", lambda r: [int(w[3]) for w in r]))
        check("reversed", up[0] < down[-1], down, up)
        term.send("n")
        for key, part in (("2", "PLACES"), ("3", "pageblocks, "), ("m", "by how full"), ("m", "by what is resident"), ("m", "by type"),
                          ("4", "live and resident"), ("5", "sheaf_refill"), ("Tab", "ACTIVE"), ("Right", "PLACES"), ("Left", "ACTIVE"), ("BTab", "sheaf_refill")):
            term.send(key)
            term.wait(f"{key} shows", part)
        term.send("End")
        term.wait("the end", lambda s: "alloc_fail" in s and "alloc_slowpath" not in s)
        term.send("Up")
        term.wait("up", lambda s: "alloc_fail" not in s)
        term.send("Home")
        term.wait("the beginning", "alloc_slowpath")
        term.send("PageDown")
        term.wait("a page on", lambda s: "alloc_slowpath" not in s)
        term.send("PageUp")
        term.wait("a page back", "alloc_slowpath")
        term.send("Down")
        term.wait("down", lambda s: "alloc_slowpath" not in s)
        term.send("C-l")
        term.send("Home")
        term.wait("drawn anew", "alloc_slowpath")
        term.send("h")
        term.wait("help", "quit")
        term.send("x")
        term.wait("help is left", "COUNTER")
        term.send("d")
        term.wait("asks", "seconds between two looks (now 1): _")
        term.send("0", ".", "2", "5", "Enter")
        term.wait("the new delay", "every 0.25 s")
        term.send("d", "9", "BSpace", "0", ".", "5", "Enter")
        term.wait("a delay mistyped first", "every 0.5 s")
        term.send("d", "0", ".", "2", "5", "Enter")
        term.wait("the delay of before", "every 0.25 s")
        term.send("d", "9", "Escape")
        term.wait("broken off", "every 0.25 s")
        term.quit("q", "q")


def unit(text):
    """A number of bytes from its short form."""
    return float(text[:-1]) * 1024 ** ("KMGT".index(text[-1]) + 1) if text[-1] in "KMGT" else float(text)


def is_whole(screen, width, height):
    """The header as far as it goes, its clock at the right end where there is room, and rows of a table down to the last."""
    lines = screen.splitlines()
    return (lines[0].startswith("heap ("[:width]) and (width < 80 or re.search(r"\d:\d\d:\d\d$", lines[0]) and len(lines[0]) == width) and
            (width < 80 or len(lines) == height and "bslab-" in lines[-1]) and (width < 40 or "OBJS" in screen))


def case_sizes(t):
    with Terminal() as term:
        term.run(t.pid)
        term.wait("80 by 24", "OBJS")
        for width, height in ((40, 8), (10, 3), (1, 1), (200, 50), (80, 24)):
            term.tmux("resize-window", "-x", str(width), "-y", str(height))
            time.sleep(0.1)
            if width == 1:
                continue  # nothing can be told from it
            screen = term.wait(f"{width} by {height}", lambda s: is_whole(s, width, height))
            check(f"{width} by {height}: fits", all(len(line) <= width for line in screen.splitlines()), screen)
        term.quit("after resizes", "Q")


def case_kinds_of_terminal(t):
    with Terminal() as term:
        term.run("-v map", t.pid)
        term.wait("with colours", lambda s: "pageblocks" in s and re.search(COLOURED, term.screen(True)))
        term.quit("with colours", "q")
    for env in ({"TERM": "vt100"}, {"NO_COLOR": "1"}):
        with Terminal(**env) as term:
            term.run("-v map", t.pid)
            term.wait(f"{env}", lambda s: re.search(r"(?m)^0x[0-9a-f]{12}  [URMLurmd.]+$", s))
            check(f"{env}: no colours", not re.search(COLOURED, term.screen(True)), repr(term.screen(True)))
            term.quit(f"{env}", "q", other_screen="TERM" not in env)  # a VT100 has but one
    with Terminal(LC_ALL="C") as term:
        term.run("-v graph -d 0.1", t.pid)
        screen = term.wait("a plain locale", lambda s: s.count("#") > 3)
        check("a plain locale: plain characters", screen.isascii(), screen)
        term.quit("a plain locale", "q")
    with Terminal(TERM="no-such-terminal", ASAN_OPTIONS="detect_leaks=0") as term:  # ncurses loses some memory over it
        term.run(t.pid)
        term.wait("an unknown terminal", "not known; --batch needs none\nend 1: 1\n")
    with Terminal(TERM="dumb") as term:  # it cannot move its cursor: whatever is shown, it ends as usual
        term.run("-n 1", t.pid)
        term.wait("a dumb terminal", "end 1: ")


def case_ends(t):
    with Terminal() as term:
        for number in (signal.SIGTERM, signal.SIGHUP):
            term.run(t.pid)
            term.wait(f"before {number}", "OBJS")
            pid = int(subprocess.run(["pgrep", "-n", "-f", f"^{PROGRAM} {t.pid}"], check=True, capture_output=True, text=True).stdout)
            os.kill(pid, number)
            term.wait_end(f"{number}: restored", 128 + number)
        term.run(t.pid)
        term.wait("before ^C", "OBJS")
        term.quit("^C", "C-c")
        term.run("-n 2 -d 0.1", t.pid)
        term.wait_end("-n: an end by itself", 0)
        term.run("</dev/null", t.pid)
        term.wait("standard input is none", "OBJS")
        term.quit("standard input is none", "q")


def case_process_ends():
    with Terminal() as term:
        with Target([HEAP], LIBRARY) as t:
            term.run("-d 0.2", t.pid)
            term.wait("it lives", f"bslab-{CLASS}")
        screen = term.wait("it has ended: said", f"process {t.pid} has ended")
        check("what was seen stays", f"bslab-{CLASS}" in screen, screen)
        term.send("2")
        term.wait("views still change", "PLACES")
        term.send("Space")
        term.quit("it has ended: status", "q")
        with Target([HEAP], LIBRARY) as t:
            term.run("-n 30 -d 0.1", t.pid)
            term.wait("it lives, too", f"bslab-{CLASS}")
        term.wait_end("-n: an end when the process has ended", 0)


def case_another_program():
    """Its program is replaced: by another one under bslab, and it goes on; the rows are of the new one."""
    env = dict(os.environ, LD_PRELOAD=LIBRARY)
    run = subprocess.Popen(["sh", "-c", f"echo ready; read x; exec {HEAP}"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        with Terminal() as term:
            run.stdout.readline()
            term.run("-d 0.2", run.pid)
            term.wait("a shell", lambda s: s.startswith(f"sh ({run.pid})") and "OBJS" in s)
            run.stdin.write("\n")
            run.stdin.flush()
            term.wait("another program", lambda s: s.startswith(f"heap ({run.pid})") and rows(s).get(CLASS, [0, 0])[1] == "2000")
            term.quit("another program", "q")
    finally:
        run.stdin.close()
        run.wait(timeout=60)
        run.stdout.close()


def cpu_seconds(function, *args):
    """Of the processes that it starts."""
    before = os.times()
    function(*args)
    now = os.times()
    return now.children_user + now.children_system - before.children_user - before.children_system


def case_cost():
    """Looks cost the observer little, and nothing that the process could count."""
    with Target([HEAP], LIBRARY) as t:
        def of_process():
            with open(f"/proc/{t.pid}/stat") as f, open(f"/proc/{t.pid}/status") as s:
                words = f.read().split()
                return words[9], words[11], words[13], words[14], re.findall(r"ctxt_switches:\s*(\d+)", s.read())
        until(lambda: state(t.pid) == "S")
        before = of_process()
        seconds = cpu_seconds(top, "-b", "-n", 50, "-d", "0.05", t.pid)
        check("the process did nothing", of_process() == before, before, of_process())
        # bslab-stat of the same build says what a look takes on this machine, and under a sanitizer.
        of_stat = cpu_seconds(stat, STAT, "--interval", "0.05", "--count", 50, t.pid)
        check("50 looks cost as much as those of bslab-stat", seconds < 0.25 + 4 * of_stat, seconds, of_stat)


case_batch()
case_without_main_thread()
case_faults()
case_cost()
if not shutil.which("tmux"):
    print("skipped: no tmux")
else:
    with Target([HEAP, "--stir", "100200"], LIBRARY) as t:
        for case in (case_keys, case_sizes, case_kinds_of_terminal, case_ends):
            case(t)
    case_process_ends()
    case_another_program()
print("FAIL" if failed else "ok")
sys.exit(bool(failed))
