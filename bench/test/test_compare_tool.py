import json
import subprocess
import tempfile
import unittest
from pathlib import Path

import here
from suite import process

# google-benchmark's own, of Debian's libbenchmark-tools; it wants python3-scipy of the same Python.
TOOL = Path("/usr/share/benchmark/compare.py")
PYTHON = Path("/usr/bin/python3")
SCIPY = Path("/usr/lib/python3/dist-packages/scipy")


class CompareTool(unittest.TestCase):
    """google-benchmark's compare.py reads the JSON of the shim."""

    def setUp(self):
        self.micro = here.BUILD / "micro"
        here.require(self.micro, TOOL, SCIPY)
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = Path(holder.name)

    def run_micro(self, name):
        out = self.directory / name
        self.call([self.micro, "--benchmark_filter=^(pair/64$|xthread/64/)", "--benchmark_min_time=0.001",
                   "--benchmark_repetitions=9", f"--benchmark_out={out}", "--benchmark_out_format=json"])
        return out

    def call(self, command):
        done = subprocess.run([str(part) for part in command], env=process.ENVIRONMENT, cwd=self.directory,
                              capture_output=True, text=True, check=False, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout[-1000:] + done.stderr[-2000:])
        return done.stdout

    def test_two_files(self):
        files, dump = [self.run_micro("a.json"), self.run_micro("b.json")], self.directory / "dump.json"
        text = self.call([PYTHON, TOOL, "--no-color", "-d", dump, "benchmarks", *files])
        for part in ("pair/64_pvalue", "pair/64_median", "U Test, Repetitions: 9 vs 9", "OVERALL_GEOMEAN"):
            self.assertIn(part, text)
        read = {entry["name"]: entry for entry in json.loads(dump.read_text(encoding="ascii"))}
        for name in ("pair/64", "xthread/64/real_time/threads:2"):
            self.assertEqual(len([m for m in read[name]["measurements"] if m["cpu_time"] >= 0]), 9, name)

    def test_filters_within_one_file_of_two(self):
        file = self.run_micro("a.json")
        text = self.call([PYTHON, TOOL, "--no-color", "filters", file, "pair/64$", "xthread/64/real_time/threads:2$"])
        self.assertIn("[pair/64$ vs. xthread", text)


if __name__ == "__main__":
    unittest.main()
