import argparse
import contextlib
import io
import unittest
from unittest import mock

import here  # noqa: F401
from lib import allocators
from lib.allocators import Allocator


class Environment(unittest.TestCase):
    def test_what_tunes_an_allocator_is_left_out(self):
        tuned = {name: "x" for name in ("LD_PRELOAD", "MALLOC_CONF", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES",
                                        "MIMALLOC_SHOW_STATS", "TCMALLOC_RELEASE_RATE", "BSLAB_CONF",
                                        "_RJEM_MALLOC_CONF", "JE_MALLOC_CONF")}
        kept = {"PATH": "/bin", "PYTHONMALLOC": "malloc", "LD_LIBRARY_PATH": "/x"}
        self.assertEqual(allocators.environment(Allocator("glibc", None), {**tuned, **kept}), kept)
        with mock.patch.dict("os.environ", tuned):
            found = allocators.environment(Allocator("mine", "/mine.so"))
        self.assertEqual({name: found[name] for name in found if name in tuned}, {"LD_PRELOAD": "/mine.so"})


class Adding(unittest.TestCase):
    def said(self, add):
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), self.assertRaises(SystemExit) as caught:
            allocators.chosen(argparse.Namespace(add=[add], only=None))
        self.assertEqual(caught.exception.code, 2)
        return errors.getvalue()

    def test_names(self):
        for name in ("a b", "a/b", "a,b", "a\tb", "ä"):
            self.assertIn("letters, digits", self.said(f"{name}=/lib.so"))
        self.assertIn("NAME=PATH", self.said("/lib.so"))
        args = argparse.Namespace(add=["v1.2_c++-x=/nonexistent/lib.so"], only="v1.2_c++-x")
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(allocators.chosen(args), [])


if __name__ == "__main__":
    unittest.main()
