import contextlib
import io
import json
import signal
import tempfile
import unittest
from pathlib import Path

import here
from suite import driver, machine, rawfile


class Resumed(unittest.TestCase):
    """bench/run itself, on the row that needs no allocator."""

    def setUp(self):
        here.require(here.BUILD / "bench-runner", here.BUILD / "limit-touch")
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = Path(holder.name)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def call(self, *arguments):
        """The exit status, and what was said."""
        said = io.StringIO()
        line = [*arguments, "--results", str(self.directory), "--build", str(here.BUILD)]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                return driver.main(line), said.getvalue()
            except SystemExit as ended:
                return ended.code, said.getvalue()

    def start(self, *more):
        return self.call("--smoke", "--groups", "limits", "--only", "glibc,gone", "--add", "gone=/nonexistent.so",
                         *more)

    def records(self, kind):
        return [record for record in rawfile.read(self.directory / rawfile.NAME) if record["kind"] == kind]

    def change_start(self, change):
        path = self.directory / rawfile.NAME
        first, _, rest = path.read_text(encoding="utf-8").partition("\n")
        record = json.loads(first)
        change(record)
        path.write_text(json.dumps(record) + "\n" + rest, encoding="utf-8")

    def test_what_was_left_out_decides_the_status_again(self):
        self.assertEqual(self.start()[0], driver.INCOMPLETE)
        self.assertEqual(self.call("--resume")[0], driver.INCOMPLETE)
        self.assertEqual(len(self.records("sample")), 1)

    def test_the_record_of_it_and_a_line_if_something_differs(self):
        self.start()
        self.call("--resume")
        self.assertEqual(self.records("resumed")[0]["machine"]["benchmarks"],
                         self.records("start")[0]["machine"]["benchmarks"])
        self.assertEqual(self.records("note"), [])
        self.change_start(lambda record: record["machine"].update(commit="another", benchmarks="others"))
        self.call("--resume")
        self.assertIn("(was: another)", self.records("note")[0]["text"])
        self.assertIn("benchmarks: sha256 ", (self.directory / "report.md").read_text(encoding="utf-8"))
        self.assertIn("(was: others)", (self.directory / "report.md").read_text(encoding="utf-8"))

    def test_another_floor(self):
        self.start()
        self.change_start(lambda record: record.update(floor="0123"))
        status, said = self.call("--resume")
        self.assertEqual(status, driver.WRONG)
        self.assertIn("libfloor.so has changed since", said)
        self.change_start(lambda record: record.pop("floor"))
        self.assertEqual(self.call("--resume")[0], driver.INCOMPLETE)

    def test_a_name_that_cannot_be(self):
        status, said = self.start("--add", "a/b=/nonexistent.so")
        self.assertEqual(status, driver.WRONG)
        self.assertIn("letters, digits", said)


class Differences(unittest.TestCase):
    def test_of_what_both_know(self):
        self.assertEqual(machine.differences({"kernel": "a", "commit": "1", machine.LOAD: "9"},
                                             {"kernel": "b", "commit": "1", machine.LOAD: "0", "programs": "x"}),
                         ["kernel: b (was: a)"])


if __name__ == "__main__":
    unittest.main()
