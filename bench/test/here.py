"""Lets the tests import lib and suite: python3 -m unittest discover -s bench/test."""

import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
