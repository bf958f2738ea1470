import re
import subprocess
import unittest
from unittest import mock

import here
from suite import groups, limits, micro


class Contract(unittest.TestCase):
    """What bench/suite/workload.py says, of every group."""

    def setUp(self):
        here.require(here.BUILD / "micro")
        self.started, self.told = [], []
        real = subprocess.Popen

        def popen(command, *arguments, **more):
            self.started.append(command)
            return real(command, *arguments, **more)

        with mock.patch.object(subprocess, "Popen", popen):
            self.workloads, left_out = groups.load(groups.KNOWN, here.BUILD, self.told.append)
        self.assertEqual((left_out, self.told), ([], []))

    def test_workloads_starts_nothing_but_a_program_of_the_build_that_lists(self):
        self.assertEqual(self.started, [[str(here.BUILD / "micro"), "--benchmark_list_tests"]])

    def test_each_says_what_it_models(self):
        for workload in self.workloads:
            self.assertRegex(workload.models, r"^[^\n]{10,160}$", workload.name)
            self.assertRegex(workload.name, r"^\w+/\S")
        families = {workload.benchmark.partition("/")[0] for workload in self.workloads if workload.group == "micro"}
        self.assertEqual(families, set(micro.MODELS))

    def test_pinned_is_only_what_has_one_thread(self):
        free = {workload.name for workload in self.workloads if workload.threaded}
        for name in ("startup/configure", "threads/churn/64", "micro/pair_mt/64/threads:8", "trace/redis/threads",
                     "programs/node", "programs/memcached", "programs/nginx", "programs/postgres-select",
                     "programs/rocksdb"):
            self.assertIn(name, free)
        for name in ("startup/true", "micro/pair/64", "trace/redis", "programs/sqlite3", "memory/shift",
                     limits.PAGE_ROW):
            self.assertNotIn(name, free)

    def test_names_are_those_of_the_packages(self):
        lines = (here.BENCH / "programs" / "packages.txt").read_text(encoding="ascii").splitlines()
        wanted = {name for line in lines if not line.startswith("#") for name in line.split()[1:]}
        wanted -= {"bench/test"}
        self.assertLessEqual(wanted, {workload.name for workload in self.workloads})

    def test_sizes_from_8_bytes_to_1_gib(self):
        sizes = [workload.curve[1] for workload in self.workloads
                 if workload.curve and workload.curve[0] == "pair by size in bytes"]
        self.assertEqual((min(sizes), max(sizes)), (8, 1 << 30))

    def test_the_floor_is_not_asked_for_more_than_it_has(self):
        self.assertTrue(limits.has_floor("micro/pair/32768"))
        for name in ("micro/pair/65536", "micro/pair_mt/64/threads:1", "micro/calloc/64"):
            self.assertFalse(limits.has_floor(name), name)


class Headers(unittest.TestCase):
    def test_each_program_says_at_its_head_what_it_models(self):
        folders = ("micro", "threads", "memory", "limits")
        helpers = {"micro/main.c", "threads/common.c", "memory/heap.c", "memory/report.c", "memory/rss.c"}
        for path in sorted(path for folder in folders for path in (here.BENCH / folder).glob("*.c")):
            if str(path.relative_to(here.BENCH)) in helpers:
                continue
            head = re.match(r"/\*(.*?)\*/", path.read_text(encoding="utf-8"), re.DOTALL)
            self.assertTrue(head and len(head.group(1)) > 200, path)


if __name__ == "__main__":
    unittest.main()
