#!/usr/bin/env python3
"""usage: profile.py PROGRAM: what life/profile.c's profiles estimate is what it holds, in each format and with each unwinder."""
import gzip
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1))
TIMEOUT = 120

# Sizes and numbers of life/profile.c's sites.
SITES = {"site_malloc": (100, 200000), "site_calloc": (1000, 20000), "site_new": (40, 300000),
         "site_aligned": (3000, 6000), "site_large": (150000, 150)}


def run(*arguments, conf="", program=PROGRAM):
    mode = os.environ.get("BSLAB_CONF", "")
    env = dict(os.environ, BSLAB_CONF=",".join(filter(None, [mode, conf])))
    return subprocess.run([program, *map(str, arguments)], env=env, capture_output=True, text=True, timeout=TIMEOUT,
                          stdin=subprocess.DEVNULL)


def parse_folded(text):
    """{stack: bytes}"""
    stacks = {}
    for line in text.splitlines():
        match = re.fullmatch(r"([^ ]+) (\d+)", line)
        assert match, line
        frames = tuple(match[1].split(";"))
        assert all(frames), line
        stacks[frames] = stacks.get(frames, 0) + int(match[2])
    return stacks


def by_site(stacks):
    """Bytes by the innermost function, which is the site, or the place in a library."""
    total = {}
    for frames, held in stacks.items():
        total[frames[-1]] = total.get(frames[-1], 0) + held
    return total


# --- profile.proto, decoded by hand ----------------------------------------------------------------------------------

def fields(data):
    """(number, value) of a message: an int, or bytes."""
    at = 0

    def varint():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            assert key & 7 == 2, key
            length = varint()
            assert at + length <= len(data)
            yield key >> 3, data[at:at + length]
            at += length


def packed(data):
    return [n for _, n in fields(b"".join(b"\x08" + piece for piece in re.findall(rb"[\x80-\xff]*[\x00-\x7f]", data, re.S)))]


def decode_pprof(path):
    with gzip.open(path) as stream:
        data = stream.read()
    out = {"types": [], "samples": [], "mappings": {}, "locations": {}, "functions": {}, "strings": []}
    for number, value in fields(data):
        if number == 6:
            out["strings"].append(value.decode())
    text = out["strings"].__getitem__
    for number, value in fields(data):
        part = dict(fields(value)) if isinstance(value, bytes) and number != 6 else None
        if number == 1:
            out["types"].append((text(part[1]), text(part[2])))
        elif number == 2:
            out["samples"].append((packed(part[1]), packed(part[2])))
        elif number == 3:
            out["mappings"][part[1]] = (part[2], part[3], part.get(4, 0), text(part[5]), text(part[6]) if 6 in part else "")
        elif number == 4:
            out["locations"][part[1]] = (part.get(2), part[3], dict(fields(part[4]))[1] if 4 in part else None)
        elif number == 5:
            out["functions"][part[1]] = text(part[2])
        elif number == 11:
            out["period_type"] = (text(part[1]), text(part[2]))
        elif number in (9, 12):
            out["time" if number == 9 else "period"] = value
        elif number in (13, 14):
            out["comment" if number == 13 else "default"] = text(value)
    return out


def pprof_stacks(profile, value):
    """As parse_folded(), of one of a sample's values."""
    stacks = {}
    for locations, values in profile["samples"]:
        frames = []
        for location in reversed(locations):
            mapping, address, function = profile["locations"][location]
            if function:
                frames.append(profile["functions"][function])
            else:
                frames.append(f"{mapping}+{address}")
        stacks[tuple(frames)] = stacks.get(tuple(frames), 0) + values[value]
    return stacks


class Profiles(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = folder.name

    def run_program(self, *arguments, conf="", says=""):
        done = run(*arguments, conf=conf)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, says, ""))

    def folded(self, name):
        with open(f"{self.dir}/{name}.folded") as stream:
            return parse_folded(stream.read())

    def assert_estimate(self, held, size, count, interval, what):
        """Within five standard deviations: each object has the variance (1 - p) / p in units of its own size."""
        p = 1 - math.exp(-(size + 1) / interval)
        bound = 5 * math.sqrt(count * (1 - p) / p) * size + 2 * size
        self.assertLess(abs(held - size * count), bound, what)

    def assert_sites(self, stacks, share, interval):
        total = by_site(stacks)
        for site, (size, count) in SITES.items():
            self.assert_estimate(total.get(site, 0), size, count * share, interval, site)


class Estimates(Profiles):
    def check_sites(self, interval, conf=""):
        self.run_program("sites", self.dir, 0 if conf else interval, conf=conf)
        self.assert_sites(self.folded("held"), 1, interval)
        self.assert_sites(self.folded("half"), 0.5, interval)
        self.assertEqual(self.folded("stopped"), self.folded("half"))
        self.assertEqual({s for s in by_site(self.folded("empty")) if s.startswith("site")}, set())
        again = by_site(self.folded("again"))
        self.assert_estimate(again.pop("site_late"), 10000, 2000, 10000, "again")
        self.assertEqual({s for s in again if s.startswith("site")}, set())

    def test_a_sample_for_each_16_KiB(self):
        self.check_sites(16384)
        for stack in self.folded("held"):
            if stack[-1].startswith("site"):
                self.assertIn("main", stack)

    def test_by_frame_pointers(self):
        self.run_program("sites", self.dir, 16384, conf="profile_unwind=frames")
        self.assert_sites(self.folded("held"), 1, 16384)
        with open(f"{self.dir}/held.text") as stream:
            self.assertIn("stacks by frame pointers", stream.read())
        for stack in self.folded("held"):
            if stack[-1].startswith("site"):
                self.assertIn("main", stack)

    def test_with_checks(self):
        self.run_program("sites", self.dir, 65536, conf="check=yes")
        self.assert_sites(self.folded("held"), 1, 65536)

    def test_formats_agree(self):
        self.run_program("sites", self.dir, 65536)
        for name in "held", "half", "empty", "again":
            profile = decode_pprof(f"{self.dir}/{name}.pprof")
            self.assertEqual(by_site(pprof_stacks(profile, 1)).get("site_new"), by_site(self.folded(name)).get("site_new"))
            self.assertEqual(sum(pprof_stacks(profile, 1).values()), sum(self.folded(name).values()))
            with open(f"{self.dir}/{name}.text") as stream:
                text = stream.read()
            held = re.match(r"heap profile: about (\d+) bytes in (\d+) objects are held, from (\d+) stacks", text)
            self.assertLessEqual(abs(int(held[1]) - sum(self.folded(name).values())), len(profile["samples"]))
            self.assertLessEqual(abs(int(held[2]) - sum(pprof_stacks(profile, 0).values())), len(profile["samples"]))
            self.assertEqual(int(held[3]), len(profile["samples"]))
            # Ranked: each list of bytes falls.
            held, pinned = text.split("by bytes pinned")
            for numbers in (re.findall(r"^#\d+  (\d+) bytes", part, re.M) for part in (held, pinned)):
                self.assertEqual(numbers, sorted(numbers, key=int, reverse=True))
        half = decode_pprof(f"{self.dir}/half.pprof")
        pinned = by_site(pprof_stacks(half, 2))
        # Every other object was freed: what is left pins about as much as it holds.
        held = by_site(pprof_stacks(half, 1))
        for site in "site_malloc", "site_new":
            self.assertGreater(pinned[site], held[site] / 3, site)
            self.assertLess(pinned[site], held[site] * 3, site)

    def test_pprof_is_well_formed(self):
        self.run_program("sites", self.dir, 65536)
        profile = decode_pprof(f"{self.dir}/held.pprof")
        self.assertEqual(profile["strings"][0], "")
        self.assertEqual(profile["types"], [("inuse_objects", "count"), ("inuse_space", "bytes"), ("pinned_space", "bytes")])
        self.assertEqual((profile["period_type"], profile["period"]), (("space", "bytes"), 65536))
        self.assertEqual(profile["default"], "inuse_space")
        self.assertRegex(profile["comment"], r"^bslab: \d+ samples, 0 lost$")
        self.assertGreater(profile["time"], 1.6e18)
        used = {location for locations, _ in profile["samples"] for location in locations}
        self.assertEqual(used, set(profile["locations"]))
        for mapping, address, function in profile["locations"].values():
            if mapping:
                start, limit = profile["mappings"][mapping][:2]
                self.assertTrue(start <= address < limit)
            self.assertTrue(function is None or function in profile["functions"])
        program = [m for m in profile["mappings"].values() if m[3] == PROGRAM]
        self.assertEqual(len(program), 1)
        notes = subprocess.run(["readelf", "-n", PROGRAM], capture_output=True, text=True, check=True).stdout
        build_id = re.search(r"Build ID: (\w+)", notes)
        self.assertEqual(program[0][4], build_id[1] if build_id else "")
        with open(f"{self.dir}/held.pprof") as stream:
            self.assertIn(b"inuse_space", subprocess.run(["zcat"], stdin=stream, capture_output=True, check=True).stdout)

    def test_all_entries_find_their_callers(self):
        for conf in "", "profile_unwind=frames":
            self.run_program("entries", self.dir, conf=conf)
            stacks = self.folded("entries")
            self.assertEqual({s[-1] for s in stacks if "main" in s}, {"site_entry"})
            self.assertEqual({s[-2] for s in stacks if "main" in s}, {"main"})
            self.assertEqual(sum(1 for s in stacks if s[-1] == "site_entry"), 1)  # the offsets are not shown
            self.assertEqual(by_site(stacks)["site_entry"], 19 * 4096)


class Blocks(Profiles):
    def test_realloc_moves_the_sample(self):
        self.run_program("realloc", self.dir)
        steps = [f[:-len(".folded")] for f in os.listdir(self.dir) if re.match(r"\d", f)]
        self.assertEqual(len(steps), 27)
        for step in steps:
            number, size = map(int, step.split("-"))
            held = by_site(self.folded(step)).get("site_realloc", 0)
            # A block that stays in its size class is not counted anew; of the room that one gets which grows again and
            # again nobody asked.
            low, high = (60, 105) if number in (1, 2) else (size, size)
            self.assertTrue(low <= held <= high, f"{step}: {held}")
        self.assertNotIn("site_realloc", by_site(self.folded("end")))

    def test_growth_by_pages_is_seen(self):
        self.run_program("grow", self.dir)
        held = by_site(self.folded("grown")).get("site_grow", 0)
        self.assertTrue(64 << 20 < held < 192 << 20, held)  # of 128 MiB, by a sample for each MiB

    def test_sampled_blocks_are_as_others(self):
        self.run_program("same")
        self.run_program("same", conf="check=yes")

    def test_misuse_is_caught(self):
        for n, says in enumerate([r"invalid free of 0x\w+: freed before, or never allocated",
                                  r"invalid free of 0x\w+: inside a block of 112 bytes at 0x\w+",
                                  r"invalid free of 0x\w+: freed before, or never allocated",
                                  r"invalid free of 0x\w+: inside a block of 53248 bytes at 0x\w+",
                                  r"sized free of 0x\w+: asked for 1000 bytes aligned to 1, but the block has 112"]):
            done = run("misuse", n)
            self.assertEqual(done.returncode, -signal.SIGABRT)
            self.assertRegex(done.stderr, rf"^bslab: {says}\n$")


class Life(Profiles):
    def test_threads(self):
        self.run_program("threads", self.dir)
        self.assert_estimate(by_site(self.folded("held")).get("site_malloc"), 200, 160000, 16384, "held")
        self.assertNotIn("site_malloc", by_site(self.folded("freed")))
        with open(f"{self.dir}/meanwhile.text") as stream:
            ages = [int(age) for pair in re.findall(r", (\d+) to (\d+) s old$", stream.read(), re.M) for age in pair]
        self.assertTrue(ages)
        self.assertLess(max(ages), TIMEOUT)  # also of samples that are made while a dump is

    def test_fork(self):
        self.run_program("fork", self.dir)
        parent, child = self.folded("parent"), self.folded("child-held")
        self.assert_estimate(by_site(parent).get("site_malloc"), 200, 160000, 16384, "parent")
        self.assertEqual(by_site(parent)["site_malloc"], by_site(child)["site_malloc"])
        freed = by_site(self.folded("child-freed"))
        self.assertNotIn("site_malloc", freed)
        self.assert_estimate(freed["site_late"], 10000, 1000, 16384, "late")

    def test_where_unwinding_is_hard(self):
        for conf in "", "profile_unwind=frames":
            self.run_program("dlopen", conf=conf, says="done\n")
        self.run_program("frames", conf="profile_unwind=frames", says="done\n")

    def test_stacks_that_end_in_anything(self):
        for conf in "", "profile_unwind=frames":
            self.run_program("coroutine", self.dir, conf=conf)
            stacks = {s: held for s, held in self.folded("coroutine").items() if s[-1] == "site_malloc"}
            self.assertEqual(sum(stacks.values()), 9 * 1000)
            for stack in stacks:
                self.assertEqual(stack[-2], "coroutine")
                if os.uname().machine == "x86_64":
                    self.assertLessEqual(len(stack), 3)

    def test_the_edge_of_memory(self):
        self.run_program("edge", says="done\n")

    def test_restarts(self):
        self.run_program("restarts", says="done\n")

    @unittest.skipUnless(shutil.which("cc"), "no compiler")
    def test_a_library_that_was_built_anew(self):
        source = "void plugin(void (*call)(void)) { volatile char room[ROOM]; room[0] = 1; call(); room[0] = 2; }\n"
        names = []
        for room in 200, 400:  # the same code at the same place, but for its frame
            names.append(f"{self.dir}/plugin-{room}.so")
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-x", "c", f"-DROOM={room}", "-o", names[-1], "-"], input=source, text=True, check=True)
        done = run("reload", *names)
        self.assertEqual(done.returncode, 0, done)
        self.assertTrue(done.stdout.endswith("at the same place\n"), done.stdout)
        held = 0
        for stack, size in re.findall(r"(\S*;site_malloc) (\d+)\n", done.stdout):
            self.assertRegex(stack, r";main;plugin;[^;]*;site_malloc$")
            held += int(size)
        self.assertEqual(held, 3000, done.stdout)  # what the first one holds is in both dumps

    def test_nobody_waits_for_the_first_start(self):
        self.run_program("first-start", says="done\n")

    def test_deep_stacks_are_cut(self):
        for conf in "", "profile_unwind=frames":
            self.run_program("deep", self.dir, conf=conf)
            (stack,) = [s for s in self.folded("deep") if s[-1] == "site_deep"]
            self.assertEqual(set(stack), {"site_deep"})
            self.assertIn(len(stack), range(60, 65))  # a debug build's own frames are among the 64

    def test_stacks_that_are_much_alike(self):
        for conf in "", "profile_unwind=frames":
            self.run_program("paths", self.dir, conf=conf)
            expected = {}
            for i in range(3000):
                depth = i % 7 % 4 * (30 if i % 50 == 0 else 1)
                way = "b" if i % 2 else "a" if i % 3 else "c"
                expected[way, depth] = expected.get((way, depth), 0) + 1000
            found = {}
            for stack, held in self.folded("paths").items():
                if stack[-1] == "site_malloc":
                    depth = stack.count("way_down") - 1
                    self.assertEqual(stack[-2:-depth - 3:-1], ("way_down",) * (depth + 1))
                    ways = tuple(f for f in stack if f.startswith("way_") and f != "way_down")
                    if depth < 50:  # a debug build's own frames are among the 64
                        self.assertIn("main", stack)
                    way = {("way_a",): "a", ("way_b",): "b", ("way_c", "way_a"): "c", (): "cut"}[ways]
                    found[way, depth] = found.get((way, depth), 0) + held
            for depth in [d for d in {d for _, d in expected} if d >= 60]:  # cut at 64 frames, wherever they came from
                for way in "abc":
                    expected.pop((way, depth), None)
            for way, depth in [k for k in found if k[0] == "cut" or k[1] >= 60]:
                del found[way, depth]
            self.assertEqual(found, expected)

    def test_starts_and_stops_of_two_threads(self):
        self.run_program("starts", self.dir)
        held = by_site(self.folded("starts"))
        self.assertEqual((held.get("site_malloc"), held.get("site_late")), (100, None))

    def test_errors(self):
        self.run_program("errors", says="done\n")


class Options(Profiles):
    def test_leak_report_on_stderr(self):
        done = run("leak", conf="profile=16K")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertTrue(done.stderr.startswith("heap profile: about "), done.stderr)
        first = re.search(r"^#1  (\d+) bytes .*\n.*\n      site_malloc\+0x", done.stderr, re.M)
        self.assert_estimate(int(first[1]), 1000, 12000, 16384, "leak")
        self.assertNotIn("site_calloc", done.stderr)

    def test_files(self):
        done = run("leak", conf=f"profile=16384,profile_to={self.dir}/r%%.%p.folded")
        self.assertEqual(done.returncode, 0)
        self.assertTrue(done.stderr.startswith("heap profile: about "))
        (name,) = os.listdir(self.dir)
        self.assertRegex(name, r"^r%\.\d+\.folded$")
        self.assert_estimate(by_site(self.folded(name[:-7]))["site_malloc"], 1000, 12000, 16384, "file")
        done = run("leak", conf=f"profile=on,profile_to={self.dir}/leaks")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(f"{self.dir}/leaks") as stream:
            self.assertTrue(stream.read().startswith("heap profile: about "))
        run("leak", conf=f"profile=16K,profile_to={self.dir}/p.pb.gz")
        profile = decode_pprof(f"{self.dir}/p.pb.gz")
        self.assert_estimate(by_site(pprof_stacks(profile, 1))["site_malloc"], 1000, 12000, 16384, "pprof")

    def test_a_program_far_down(self):
        far = "/".join([os.path.realpath(self.dir), *["x" * 200] * 5])
        os.makedirs(far)
        program = shutil.copy(PROGRAM, far)
        for name in "leaks", "p.gz":
            self.assertEqual(run("leak", conf=f"profile=16K,profile_to={self.dir}/{name}", program=program).returncode, 0)
        with open(f"{self.dir}/leaks") as stream:
            self.assertIn(f" ({program}+0x", stream.read())
        self.assertIn(program, {mapping[3] for mapping in decode_pprof(f"{self.dir}/p.gz")["mappings"].values()})

    @unittest.skipUnless(shutil.which("go"), "no go (Debian: golang-go)")
    def test_pprof_reads_it(self):
        run("leak", conf=f"profile=16K,profile_to={self.dir}/p.pb.gz")
        for index, value in ("inuse_space", 12000000), ("inuse_objects", 12000), ("pinned_space", None):
            done = subprocess.run(["go", "tool", "pprof", "-top", "-unit=bytes", f"-sample_index={index}", f"{self.dir}/p.pb.gz"],
                                  env=dict(os.environ, HOME=self.dir), capture_output=True, text=True, timeout=TIMEOUT)
            self.assertEqual(done.returncode, 0, done)
            self.assertRegex(done.stdout, rf"Type: {index}\n")
            if value:  # nothing may be pinned
                (held,) = re.findall(r"(?m)^ *(\d+)[a-zB]* .* site_malloc$", done.stdout)
                self.assert_estimate(int(held) * (12000000 // value), 1000, 12000, 16384, index)

    def test_a_child_leaves_its_parent_s_file_alone(self):
        for name in "x.folded", "x":
            done = run("children", conf=f"profile=1,profile_to={self.dir}/{name}")
            self.assertEqual((done.returncode, os.listdir(self.dir)), (0, []), done)
        done = run("children", conf=f"profile=1,profile_to={self.dir}/%p.folded")
        self.assertEqual(done.returncode, 0, done)
        (name,) = os.listdir(self.dir)
        held = by_site(self.folded(name[:-len(".folded")]))
        self.assertEqual((held.get("site_malloc"), held.get("site_late")), (2000000, 3000000))

    def test_not_in_the_hardened_mode(self):
        done = run("leak", conf=f"hardened=yes,profile=1,profile_to={self.dir}/x")
        self.assertEqual((done.returncode, done.stderr, os.listdir(self.dir)), (0, "bslab: profile: not in the hardened mode\n", []))

    def test_no_signal_ends_the_process(self):
        read_end, write_end = os.pipe()
        os.close(read_end)
        env = dict(os.environ, BSLAB_CONF="profile=on")
        self.assertEqual(subprocess.run([PROGRAM, "leak"], env=env, stderr=write_end, timeout=TIMEOUT).returncode, 0)
        os.close(write_end)
        env["BSLAB_CONF"] = f"profile=on,profile_to={self.dir}/x"
        done = subprocess.run([PROGRAM, "leak"], env=env, capture_output=True, text=True, timeout=TIMEOUT,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)))
        self.assertEqual((done.returncode, done.stderr),
                         (0, f"bslab: profile: cannot write {self.dir}/x: file too large (error 27)\n"))

    def test_where_it_cannot_be_written(self):
        for path, says in [("/dev/full", "no space left on device"), ("/no/such/folder/file", "no such directory"),
                           ("/", "is a directory")]:
            done = run("leak", conf=f"profile=on,profile_to={path}")
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stderr, rf"^bslab: profile: cannot write {path}: {says} \(error \d+\)\n$")

    def test_off(self):
        for conf in "profile=off", f"profile_to={self.dir}/x", "profile=on,profile=off":
            self.run_program("leak", conf=conf)
        self.assertEqual(os.listdir(self.dir), [])

    def test_bad_values(self):
        for key, value in [("profile", "yes"), ("profile", "0"), ("profile", "2G"), ("profile", "1.5M"), ("profile", ""),
                           ("profile_to", ""), ("profile_unwind", "dwarf")]:
            done = run("leak", conf=f"{key}={value}")
            self.assertEqual(done.returncode, -signal.SIGABRT)
            self.assertEqual(done.stderr, f"bslab: BSLAB_CONF: bad value '{value}' for '{key}'\n")


unittest.main(argv=sys.argv[:1], verbosity=1)
