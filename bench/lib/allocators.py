"""The allocators compared, where they are, and whether they can be loaded."""

import os
import platform
import re
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

REPOSITORY = Path(__file__).resolve().parents[2]

# The names Debian's packages install (libjemalloc2, libmimalloc2.0,
# libtcmalloc-minimal4), the newest first.
PEERS = {
    "jemalloc": ["libjemalloc.so.2"],
    "mimalloc": ["libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so.2.0"],
    "tcmalloc": ["libtcmalloc_minimal.so.4", "libtcmalloc.so.4"],
}

# It becomes part of arguments, file names and columns.
NAME = re.compile(r"[A-Za-z0-9_.+-]+")


@dataclass(frozen=True)
class Allocator:
    name: str
    path: Optional[str]  # None: nothing is preloaded


def warn(message):
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)


def fail(message):
    warn(f"error: {message}")
    sys.exit(2)


def library_directories():
    triplet = sysconfig.get_config_var("MULTIARCH")
    triplet = triplet or f"{platform.machine()}-linux-gnu"
    return [Path(root) / sub for root in ("/usr/lib", "/usr/local/lib")
            for sub in (triplet, ".")]


def find_library(names):
    for name in names:
        for directory in library_directories():
            if (directory / name).exists():
                return str(directory / name)
    return None


def known():
    """Name -> path, None for no preload, "" for one which is not installed."""
    found = {"glibc": None,
             "bslab": str(REPOSITORY / "build" / "libbslab.so")}
    for name, files in PEERS.items():
        found[name] = find_library(files) or ""
    return found


# What tunes an allocator: each is compared as it comes.
TUNING = re.compile(r"LD_PRELOAD$|MALLOC_|GLIBC_TUNABLES$|_?(RJEM|JE)_|MIMALLOC_"
                    r"|TCMALLOC_|BSLAB_")


def environment(allocator, base=None):
    env = dict(os.environ if base is None else base)
    env = {name: env[name] for name in env if not TUNING.match(name)}
    if allocator.path:
        env["LD_PRELOAD"] = allocator.path
    return env


def death(returncode):
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def why_unusable(allocator):
    """None if the preload takes, else the reason in a few words.

    ld.so only warns of an object it cannot preload and runs the program
    without it, which would measure glibc under another name.
    """
    if allocator.path is None:
        return None
    if allocator.path == "":
        return "not installed"
    if not os.path.exists(allocator.path):
        return f"no such file: {allocator.path}"
    try:
        probe = subprocess.run(["/bin/cat", "/proc/self/maps"],
                               env=environment(allocator), timeout=20,
                               capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired:
        return f"cat hangs under {allocator.path}"
    if probe.returncode != 0:
        return f"cat: {death(probe.returncode)} under {allocator.path}"
    if os.path.realpath(allocator.path) not in probe.stdout:
        return f"ld.so cannot preload {allocator.path}"
    return None


def add_arguments(parser):
    parser.add_argument("--only", metavar="NAME,...",
                        help="compare only these")
    parser.add_argument("--add", metavar="NAME=PATH", action="append",
                        default=[], help="one more allocator, or another "
                        "library for a known name; may be repeated")


def chosen(args):
    """The allocators to compare, those left out being told of in a line."""
    candidates = known()
    for text in args.add:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            fail(f"--add wants NAME=PATH, not '{text}'")
        if not NAME.fullmatch(name):
            fail(f"--add: a name has letters, digits and _.+- only, not "
                 f"'{name}'")
        candidates[name] = os.path.abspath(path)
    if args.only:
        names = args.only.split(",")
        for name in names:
            if name not in candidates:
                fail(f"--only: no allocator '{name}' "
                     f"(known: {', '.join(candidates)})")
        candidates = {name: candidates[name] for name in names}
    return [a for a in (Allocator(*item) for item in candidates.items())
            if usable(a)]


def usable(allocator):
    reason = why_unusable(allocator)
    if reason:
        warn(f"{allocator.name} left out: {reason}")
    return reason is None
