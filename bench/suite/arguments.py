"""The command line of bench/run."""

import argparse
import os
import re
from pathlib import Path

from lib import allocators
from . import groups

BUILD = allocators.REPOSITORY / "build" / "bench"
DESCRIPTION = "measures the workloads of the suite under the allocators, in turns, and writes it all down."


def parse(argv):
    parser = argparse.ArgumentParser(prog="run", description=DESCRIPTION, epilog="Exit status: 0; 1 if "
                                     "something failed; 3 if nothing failed but something could not be measured; 2 "
                                     "for an error in the arguments; 130 if interrupted. See bench/suite/README.md.")
    mode = parser.add_mutually_exclusive_group()
    for name, text in (("quick", "everything within 5 minutes (the default)"), ("full", "within 2 hours"),
                       ("smoke", "each workload once under bslab and glibc: does it work?")):
        mode.add_argument(f"--{name}", dest="mode", action="store_const", const=name, help=text)
    allocators.add_arguments(parser)
    parser.add_argument("--filter", action="append", default=[], metavar="REGEX",
                        help="only the workloads whose name it matches; may be repeated")
    parser.add_argument("--groups", metavar="NAME,...", help=f"only these of {', '.join(groups.KNOWN)}")
    parser.add_argument("--rounds", type=positive, metavar="N", help="exactly N, instead of what the time allows")
    parser.add_argument("--pin", type=int, metavar="CPU", help="run the workloads with one thread on this CPU")
    parser.add_argument("--results", type=Path, metavar="DIR", help="where to write (default: a new one in "
                        "build/bench-results)")
    parser.add_argument("--resume", action="store_true", help="go on with what is in --results, or with the newest")
    parser.add_argument("--noise", type=float, default=10, metavar="PERCENT",
                        help="a row with a larger spread gets more rounds and a ~ (default: %(default)g)")
    parser.add_argument("--outside", type=float, default=10, metavar="PERCENT", help="a round during which others "
                        "had more of the machine is measured again (default: %(default)g)")
    parser.add_argument("--lock", type=Path, metavar="FILE", help="measure while this file is locked, and let others "
                        "have the machine between two rounds")
    parser.add_argument("--build", type=Path, default=BUILD, metavar="DIR", help="where bench/ is built")
    return parser.parse_args(argv)


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def check(args):
    if args.pin is not None and args.pin not in os.sched_getaffinity(0):
        allocators.fail(f"--pin: no CPU {args.pin} here")
    for pattern in args.filter:
        try:
            re.compile(pattern)
        except re.error as error:
            allocators.fail(f"--filter {pattern}: {error}")
    args.build = args.build.resolve()
    if args.lock:
        try:
            with open(args.lock, "ab"):
                pass
        except OSError as error:
            allocators.fail(f"--lock {args.lock}: {error.strerror}")
    if not os.access(args.build / "bench-runner", os.X_OK):
        allocators.fail(f"no {args.build / 'bench-runner'}: build bench/ first (see bench/README.md)")
