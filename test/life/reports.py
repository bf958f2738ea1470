#!/usr/bin/env python3
"""usage: reports.py PROGRAM: what life/reports.c prints is valid, and comes at exit and on signals as the options say."""
import fcntl
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1))
REPORTS = ["buddyinfo", "pagetypeinfo", "slabinfo", "zoneinfo", "vmstat", "vmallocinfo", "meminfo"]
TIMEOUT = 60


def environment(conf):
    mode = os.environ.get("BSLAB_CONF", "")
    return dict(os.environ, BSLAB_CONF=",".join(filter(None, [mode, conf])))


def run(*arguments, conf=""):
    return subprocess.run([PROGRAM, *arguments], env=environment(conf), capture_output=True, text=True,
                          timeout=TIMEOUT, stdin=subprocess.DEVNULL)


def run_on_broken_pipe(*arguments, conf=""):
    """The exit status, stderr being a pipe without a reader."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run([PROGRAM, *arguments], env=environment(conf), stdin=subprocess.DEVNULL, stderr=write_end,
                          timeout=TIMEOUT)
    os.close(write_end)
    return done.returncode


def no_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def report(what, form):
    done = run("print", what, form)
    assert done.returncode == 0, done
    return done.stdout


METRIC = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\d+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')


def parse_prometheus(text):
    """{metric: {labels: value}}; fails where the exposition format is broken."""
    values, types, helps, current = {}, {}, set(), None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            assert name not in helps, line
            helps.add(name)
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name in helps and name not in types and kind in ("counter", "gauge"), line
            types[name] = kind
            current = name
            continue
        match = METRIC.match(line)
        assert match, line
        name, labels, value = match.groups()
        assert name == current, f"{line}: the values of a metric stand together"
        assert (types[name] == "counter") == name.endswith("_total"), line
        pairs, rest = [], labels or ""
        while rest:
            label = LABEL.match(rest)
            assert label, line
            pairs.append((label[1], label[2]))
            rest = rest[label.end():]
        assert tuple(pairs) not in values.setdefault(name, {}), line
        values[name][tuple(pairs)] = int(value)
    return values


class Formats(unittest.TestCase):
    def test_json(self):
        whole = json.loads(report("all", "json"))
        self.assertEqual(list(whole), ["schema", "index"] + REPORTS)
        buddy, types = whole["buddyinfo"], whole["pagetypeinfo"]["types"]
        self.assertEqual(sum(n << o for o, n in enumerate(buddy["free"])), buddy["free_pages"])
        self.assertEqual([sum(column) for column in zip(*(t["free"] for t in types))], buddy["free"])
        self.assertEqual(sum(t["free_pages"] for t in types), buddy["free_pages"])
        for cache in whole["slabinfo"]["caches"]:
            self.assertEqual(cache["objects"], cache["used_objects"] + cache["cached_objects"] + cache["free_objects"])
            self.assertLessEqual(cache["partial_slabs"], cache["slabs"])
        blocks = whole["vmallocinfo"]["blocks"]
        self.assertEqual(len(blocks), whole["vmallocinfo"]["count"])
        self.assertIn(300 << 20, [b["bytes"] for b in blocks])
        info = whole["meminfo"]
        self.assertEqual(info["total"], info["live"] + info["free"])
        self.assertEqual(info["live"], info["small"] + info["page_runs"] + info["large"])
        for name in REPORTS:
            self.assertEqual(list(json.loads(report(name, "json"))), ["schema", "index", name])

    def test_prometheus(self):
        values = parse_prometheus(report("all", "prometheus"))
        self.assertGreater(values["bslab_vmstat_sheaf_refill_total"][()], 0)
        self.assertEqual(values["bslab_large_blocks"][(("kind", "mapping"),)], 1)
        self.assertEqual(len(values["bslab_buddyinfo_blocks"]), 10)
        total = sum(values["bslab_meminfo_%s_bytes" % kind][()] for kind in ("live", "free"))
        self.assertEqual(values["bslab_meminfo_total_bytes"][()], total)
        for name in REPORTS:
            parse_prometheus(report(name, "prometheus"))

    def test_text_by_the_rules_of_the_kernel_s(self):
        buddy = report("buddyinfo", "text").split()
        self.assertEqual(buddy[:4], ["Node", "0,", "zone", "Normal"])
        self.assertEqual(len([int(n) for n in buddy[4:]]), 10)
        lines = report("slabinfo", "text").splitlines()
        self.assertEqual(lines[0], "slabinfo - version: 2.1")
        for line in lines[1:]:
            if line.startswith("#"):
                continue
            row = re.fullmatch(r"(\S+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) : tunables +(\d+) +(\d+) +(\d+)"
                               r" : slabdata +(\d+) +(\d+) +(\d+)", line)
            self.assertTrue(row, line)
            self.assertLessEqual(int(row[2]), int(row[3]))
        for line in report("vmstat", "text").splitlines():
            self.assertRegex(line, r"^\w+ \d+$")
        for line in report("meminfo", "text").splitlines():
            self.assertRegex(line, r"^\w+: +\d+ kB$")
        for line in report("vmallocinfo", "text").splitlines():
            start, end, size = re.match(r"0x([0-9a-f]+)-0x([0-9a-f]+) +(\d+) ", line).groups()
            self.assertEqual(int(end, 16) - int(start, 16), int(size))


class AtExit(unittest.TestCase):
    def test_stderr(self):
        done = run("exit", conf="report=meminfo+vmstat")
        self.assertEqual(done.returncode, 0)
        self.assertTrue(done.stderr.startswith("==> vmstat <=="), done.stderr)
        self.assertIn("==> meminfo <==\nMemTotal:", done.stderr)

    def test_file_with_the_process_number(self):
        with tempfile.TemporaryDirectory() as folder:
            done = run("exit", conf=f"report=all:json,report_to={folder}/r%%.%p")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            (name,) = os.listdir(folder)
            self.assertRegex(name, r"^r%\.\d+$")
            with open(f"{folder}/{name}") as stream:
                self.assertEqual(json.load(stream)["schema"], 1)

    def test_where_it_cannot_be_written(self):
        for path, says in [("/dev/full", "no space left on device"), ("/no/such/folder/file", "no such directory"),
                           ("/", "is a directory"), ("/dev/null/file", "not a directory")]:
            done = run("exit", conf=f"report=meminfo,report_to={path}")
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stderr, rf"^bslab: report: cannot write {path}: {says} \(error \d+\)\n$")

    def run_with_small_pipe(self, conf):
        """On a pipe of 4 KiB that does not block: the end to read from, and the process."""
        read_end, write_end = os.pipe()
        self.addCleanup(os.close, read_end)
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(write_end, False)
        child = subprocess.Popen([PROGRAM, "exit"], env=environment(conf), stdin=subprocess.DEVNULL, stderr=write_end)
        self.addCleanup(child.wait)
        os.close(write_end)
        return read_end, child

    def test_stderr_that_does_not_block(self):
        read_end, child = self.run_with_small_pipe("report=all:json")
        text = b""
        while piece := os.read(read_end, 1000):
            text += piece
            time.sleep(0.002)
        self.assertEqual(child.wait(TIMEOUT), 0)
        self.assertEqual(list(json.loads(text)), ["schema", "index"] + REPORTS)
        self.assertGreater(len(text), 4096)

    def test_no_signal_ends_the_process(self):
        for conf in "report=all", "stats=yes", "report=meminfo,report_to=/no/such/folder/file":
            self.assertEqual(run_on_broken_pipe("exit", conf=conf), 0, conf)
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([PROGRAM, "exit"], env=environment(f"report=all,report_to={folder}/r"), text=True,
                                  capture_output=True, preexec_fn=no_files, stdin=subprocess.DEVNULL, timeout=TIMEOUT)
            self.assertEqual((done.returncode, done.stderr),
                             (0, f"bslab: report: cannot write {folder}/r: file too large (error 27)\n"))

    def test_nobody_reads(self):
        started = time.monotonic()
        _, child = self.run_with_small_pipe("report=all:json")
        self.assertEqual(child.wait(TIMEOUT), 0)
        self.assertGreater(time.monotonic() - started, 0.9)

    def test_bad_values(self):
        for conf, value, key in [("report=bogus", "bogus", "report"), ("report=all:xml", "all:xml", "report"),
                                 ("report=", "", "report"), ("report_to=", "", "report_to"),
                                 ("report_signal=NONE", "NONE", "report_signal"),
                                 ("report_signal=65", "65", "report_signal")]:
            done = run("exit", conf=conf)
            self.assertEqual(done.returncode, -signal.SIGABRT)
            self.assertEqual(done.stderr, f"bslab: BSLAB_CONF: bad value '{value}' for '{key}'\n")
            self.assertEqual(run("exit", conf=conf + ",on_error=warn").returncode, 0)

    def test_good_values_beside_bad_ones(self):
        for conf in "colour=red,report=meminfo", "report=bogus,report_signal=USR2", "report=bogus:json,report_signal=USR2":
            with tempfile.TemporaryDirectory() as folder:
                done = run("raise", str(int(signal.SIGUSR2)) if "signal" in conf else "0",
                           conf=f"{conf},on_error=warn,report_to={folder}/r")
                self.assertEqual(done.returncode, 0)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                with open(f"{folder}/r") as stream:
                    self.assertIn("MemTotal:", stream.read())


class OnSignal(unittest.TestCase):
    def test_of_a_process_that_sleeps(self):
        """At once: nobody has to allocate for it."""
        with subprocess.Popen([PROGRAM, "wait"], env=environment("report=meminfo,report_signal=SIGUSR2"),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            self.assertEqual(child.stdout.readline(), "ready\n")
            child.send_signal(signal.SIGUSR2)
            self.assertTrue(child.stderr.readline().startswith("MemTotal:"))
            child.stdin.close()
            self.assertEqual(child.wait(TIMEOUT), 0)
            self.assertNotIn("MemTotal", child.stderr.read(), "at exit too")

    def test_while_threads_churn(self):
        """The handler interrupts threads that hold locks. None hangs, and each report is whole."""
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            done = run("churn", str(int(signal.SIGUSR2)), "60",
                       conf=f"report=all:json,report_signal={int(signal.SIGUSR2)},report_to={folder}/r")
            self.assertLess(time.monotonic() - started, TIMEOUT)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "done\n", ""))
            with open(f"{folder}/r") as stream:
                text = stream.read()
            decoder, at, count = json.JSONDecoder(), 0, 0
            while at < len(text):
                whole, at = decoder.raw_decode(text, at)
                at += 1
                count += 1
                self.assertLessEqual(whole["meminfo"]["live"], whole["meminfo"]["total"])
            # Signals that come while one is handled are one; of the rest each is answered.
            self.assertGreater(count, 60)

    def test_stack(self):
        number = int(signal.SIGUSR2)
        for form in "text", "json", "prometheus":
            with tempfile.TemporaryDirectory() as folder:
                done = run("stack", str(number), conf=f"report=all:{form},report_signal={number},report_to={folder}/r.%p")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            taken, most = map(int, done.stdout.split())
            self.assertLessEqual(taken, most, form)

    def test_no_signal_is_raised_and_none_is_lost(self):
        number = int(signal.SIGUSR2)
        self.assertEqual(run_on_broken_pipe("pending", str(number), conf=f"report_signal={number}"), 0)

    def test_a_handler_of_the_program_wins(self):
        done = run("own", str(int(signal.SIGUSR1)), conf="report_signal=USR1")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "mine\n", ""))

    def test_a_signal_that_cannot_be_handled(self):
        done = run("exit", conf="report_signal=9")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr, "bslab: report_signal: cannot handle signal 9\n")


unittest.main(argv=sys.argv[:1], verbosity=1)
