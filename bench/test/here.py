"""Lets the tests import lib and suite (python3 -m unittest discover -s bench/test); tells them where the build is."""

import os
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
BENCH = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCH))

# Of bench/test/run --build: then what a test needs must be there.
GIVEN = os.environ.get("BENCH_TEST_BUILD")
BUILD = Path(GIVEN) if GIVEN else BENCH.parent / "build" / "bench"


def require(*paths):
    """Skips the test if one of these is not there; with --build it fails."""
    missing = [str(path) for path in paths if not path.exists()]
    if missing and GIVEN:
        raise AssertionError(f"not there: {', '.join(missing)}")
    if missing:
        raise unittest.SkipTest(f"not there: {', '.join(missing)}")
