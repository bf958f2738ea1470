import unittest
from unittest import mock

import here  # noqa: F401
from suite import machine


class Programs(unittest.TestCase):
    def test_versions_of_what_is_installed(self):
        packages = "# a comment\n\nsqlite3 programs/sqlite3\nz3 programs/z3\nruby programs/ruby\nscipy bench/test\n"
        installed = {"sqlite3": "ii  3.46.1-7", "ruby": "rc  1:3.3", "scipy": "ii  1.15"}
        with mock.patch.object(machine, "read_text", lambda _: packages), \
                mock.patch.object(machine, "output", lambda *command: installed.get(command[-1])):
            self.assertEqual(machine.programs(), "sqlite3 3.46.1-7")


if __name__ == "__main__":
    unittest.main()
