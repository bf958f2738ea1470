#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the commands of docs/insight.md, compares what they write with what stands there, and checks what the text claims.

usage: document.py [--show] DOCUMENT SOURCE-TREE FOLDER...    FOLDERs: where the commands and the programs are

A block of the document is a shell's: "$ COMMAND", then what it writes. Numbers and addresses may differ, and columns
be wider; "..." stands for lines that were left out, and ends a line that was cut off. A command that ends in "&" has to write
its first line before the next one is given; what it writes when it ends belongs to the command that waits for it.
--show writes what the commands really write.
"""
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time

show = sys.argv[1] == "--show"
DOCUMENT, TREE, *FOLDERS = sys.argv[1 + show:]
# bursts' finding depends on how fast its jobs follow each other: its clock is that of its own work.
CLOCK = next(f"{folder}/cpu-clock.so" for folder in FOLDERS if os.path.exists(f"{folder}/cpu-clock.so"))
INSTALLED = "/usr/local/share/bslab/bslab-gdb.py"
DEADLINE = 60
failed = False


def fail(text):
    global failed
    failed = True
    print("FAIL", text)


class Shell:
    """One bash for a chapter, fed a command at a time."""

    def __init__(self, folder):
        env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "BSLAB_CONF")}
        env.update(PATH=":".join([*FOLDERS, env["PATH"]]), LC_ALL="C", COLUMNS="100", BSLAB_STAT=shutil.which("bslab-stat", path=":".join(FOLDERS)))
        self.shell = subprocess.Popen(["bash"], cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      start_new_session=True)
        self.background = f"{folder}/background"
        self.seen = 0

    def end(self):
        """With all that it left in the background."""
        os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.stdin.close()
        self.shell.stdout.close()
        self.shell.wait()

    def give(self, command):
        self.shell.stdin.write(f"{command}\necho '---end---'\n".encode())
        self.shell.stdin.flush()
        out, until = b"", time.monotonic() + DEADLINE
        with selectors.DefaultSelector() as s:
            s.register(self.shell.stdout, selectors.EVENT_READ)
            while not out.endswith(b"---end---\n"):
                if not s.select(max(0, until - time.monotonic())):
                    raise TimeoutError(f"no end of: {command}")
                piece = os.read(self.shell.stdout.fileno(), 1 << 16)
                if not piece:
                    raise EOFError(command)
                out += piece
        return out.decode(errors="replace")[: -len("---end---\n")]

    def rest(self):
        with open(self.background) as f:
            f.seek(self.seen)
            text = f.read()
            self.seen = f.tell()
        return text

    def run(self, command):
        command = command.replace(INSTALLED, f"{TREE}/src/insight/bslab-gdb.py")
        if command.startswith("bslab-run bursts"):
            command = f"LD_PRELOAD={CLOCK} {command}"
        if not command.endswith("&"):
            out = self.give(command)
            return out + (self.rest() if "wait" in command else "")
        with open(self.background, "w"):
            self.seen, until = 0, time.monotonic() + DEADLINE
        self.give(f"{command[:-1]} >{self.background} 2>&1 </dev/null &")
        while not os.path.getsize(self.background) and time.monotonic() < until:
            time.sleep(0.01)
        if not os.path.getsize(self.background):
            raise TimeoutError(f"no first line of: {command}")
        return self.rest()


def words(line):
    return " ".join(line.split())


def pattern(line):
    cut = line.endswith(" ...")
    text = re.escape(words(line[:-4] if cut else line))
    text = re.sub(r"0x[0-9a-f]+", "0x[0-9a-f]+", text)
    # A number may end in a unit; "1.4M" and "970K" are both sizes.
    text = re.sub(r"(?<![\w\-+\[])\d+(\\?\.\d+)?[KMGk]?(?![\w\-\]])", r"\\d+(?:\\.\\d+)?[KMGk]?", text)
    return re.compile(text + (".*" if cut else "$"))


def compare(command, want, out):
    """Each wanted line is the next one, but behind "..."."""
    lines, at, free = [words(line) for line in out.splitlines()], 0, False
    for line in want:
        if line.strip() == "...":
            free = True
            continue
        p = pattern(line)
        found = next((i for i in range(at, len(lines)) if p.match(lines[i])), None) if free else at if at < len(lines) and p.match(lines[at]) else None
        if found is None:
            fail(f"$ {command}\nno line {line!r} from line {at + 1} of\n{out}")
            return
        at, free = found + 1, False
    if at < len(lines) and not free and want:
        fail(f"$ {command}\nwrites more than the document has: {lines[at]!r}")


def chapters():
    with open(DOCUMENT) as f:
        text = f.read()
    for chapter in re.split(r"^## ", text, flags=re.M)[1:]:
        steps = []
        for line in chapter.splitlines():
            if line.startswith("    $ "):
                steps.append((line[6:], []))
            elif line.startswith("    ") and steps:
                steps[-1][1].append(line[4:])
        if steps:
            yield chapter.splitlines()[0], steps


def gdb_says(what, command):
    """Whether gdb, at a process that sleeps, says it for the command, and nothing of a refusal."""
    if not shutil.which("gdb"):
        return False
    child = subprocess.Popen(["sleep", "60"])
    out = subprocess.run(["gdb", "-nx", "-batch", "-p", str(child.pid), "-ex", command], capture_output=True, text=True, timeout=60,
                         stdin=subprocess.DEVNULL)
    child.kill()
    child.wait()
    return what in out.stdout and "not permitted" not in out.stdout + out.stderr


def can_gdb(command, known={}):
    """A gdb may trace a process and yet fail to call its functions: 13.1 does on CPUs whose registers are more than it knows."""
    call = "-ex 'call" in command
    if call not in known:
        known[call] = gdb_says("$1 = 42", "call (int)abs(-42)") if call else gdb_says("can trace", "python print('can' + ' trace')")
    return known[call]


def number(text, what):
    """The number behind `what`; in bytes where it is a size."""
    m = re.search(what + r"\s*(\d+(?:\.\d+)?)\s*(kB|K|M|G)?", text)
    if not m:
        fail(f"no {what} in\n{text}")
        return 0
    return float(m[1]) * {None: 1, "kB": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[m[2]]


def claim(what, holds):
    if not holds:
        fail(f"not so: {what}")


MIB = 1 << 20


def check_bursts(outs):
    rss = [number(o, "VmRSS:") for c, o in outs if "VmRSS" in c]
    before = next(o for c, o in outs if "meminfo" in c)
    zone = next(o for c, o in outs if "zoneinfo" in c)
    claim("RSS stays above 40 MiB", rss[0] > 40 * MIB)
    claim("next to nothing is live", number(before, "Live:") < MIB)
    claim("neither caches nor slabs hold it", number(before, "Cached:") + number(before, "SlabFree:") < MIB)
    claim("it is dirty free memory", number(before, "DirtyFree:") > 0.8 * rss[0])
    claim("which the watermark allows, by what was learned", number(zone, "nr_zone_dirty") < number(zone, "high") < 2 * number(zone, "boost"))
    claim("--trim: it is gone", rss[1] < 8 * MIB)
    if any(c.startswith("gdb") for c, o in outs):
        claim("and so it is when gdb calls malloc_trim()", rss[2] < 8 * MIB)


def check_sessions(outs):
    summaries = [o for c, o in outs if c == "bslab-stat $!"]
    reports = [o for c, o in outs if "wait" in c]
    rows = [re.search(r"^ +192 +(\d+) +(\d+) +(\d+) +(\d+)", s, re.M) for s in summaries]
    claim("much is free in slabs, little is live", number(summaries[0], "SlabFree:") > 20 * number(summaries[0], "Live:"))
    claim("it is the cache of 192 bytes", rows[0] and int(rows[0][1]) < int(rows[0][3]) / 20)
    claim("the stack that pins the most is session_open's", re.search(r"by bytes pinned\n#1 .*: session_open\n", reports[0]))
    claim("and it pins about what is free", 0.5 < number(reports[0], "they pin about") / number(summaries[0], "SlabFree:") < 2)
    rss = [number(o, "VmRSS:") for c, o in outs if "VmRSS" in c]
    claim("--apart: nearly nothing is left", rss[1] < 0.2 * rss[0])
    claim("--move: half of it is gone", rss[2] < 0.6 * rss[0])


def check_resolver(outs):
    tops = [o for c, o in outs if "bslab-top" in c]
    first, last = ([float(x) for x in re.findall(r"^ *(\d+) +\d+ .* bslab-320$", t, re.M)] for t in (tops[0], tops[-1]))
    claim("the cache of 320 bytes grows", len(first) == 2 and first[1] > first[0] + 1000)
    second = tops[0].split("CACHE NAME\n")[-1]
    claim("and is the first by rate", second.splitlines()[0].endswith("bslab-320"))
    folded = next(o for c, o in outs if c.startswith("sed"))
    held = sum(int(n) for n in re.findall(r"^main;query_handle;answer_remember (\d+)$", folded, re.M))
    used = [int(line.split()[0]) << 10 for line in next(o for c, o in outs if "--interval" in c).splitlines()[2:]]
    claim("what is live grows", used[2] > used[1] > used[0])
    claim("answer_remember holds it", held > 0.8 * used[2])
    claim("--bounded: it does not", len(last) == 2 and abs(last[1] - last[0]) < 1000 and last[1] < 8000)


CHECKS = {"1.": check_bursts, "2.": check_sessions, "3.": check_resolver}
done = set()
for title, steps in chapters():
    outs = []
    with tempfile.TemporaryDirectory(prefix="bslab-document-") as folder:
        shell = Shell(folder)
        try:
            for command, want in steps:
                if command.startswith("gdb") and not can_gdb(command):
                    print(f"left out, gdb cannot do so here: {command}")
                    if "call" in command:
                        break  # what follows shows what it did
                    continue
                out = shell.run(command)
                if "sampled by the profile" in out and not any("sampled" in line for line in want):
                    out = shell.run(command.replace("sessions->next", "sessions->next->next"))  # one in ninety is a sample
                outs.append((command, out))
                if show:
                    print(f"    $ {command}\n" + "".join(f"    {line}\n" for line in out.splitlines()))
                else:
                    compare(command, want, out)
        finally:
            shell.end()
    for number_, check in CHECKS.items():
        if title.startswith(number_):
            check(outs)
            done.add(number_)
    print(f"{title}: {len(steps)} commands")
if done != CHECKS.keys():
    fail(f"no chapter for {sorted(CHECKS.keys() - done)}")
sys.exit(failed)
