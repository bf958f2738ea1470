"""What the figures were measured on and with: read, never set."""

import hashlib
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from lib import allocators


def output(*command):
    """What a command prints, or None: no figure depends on it."""
    env = {**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def first_line(text):
    return text.splitlines()[0].strip() if text else None


def read_text(path):
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def field(text, name):
    """The value of the first line "name : value"."""
    found = re.search(rf"^{re.escape(name)}\s*:\s*(.*)$", text or "", re.MULTILINE)
    return found.group(1).strip() if found else None


def chosen_option(text):
    """"always [madvise] never" -> "madvise"."""
    found = re.search(r"\[(\w+)\]", text or "")
    return found.group(1) if found else text


def libc_path():
    for line in (read_text("/proc/self/maps") or "").splitlines():
        if re.search(r"/libc\.so\.6$|/libc-[\d.]+\.so$", line):
            return line.split()[-1]
    return None


def package_of(path):
    """"libjemalloc2 5.3.0-1" if a package brought the file, under whichever of its names the package has it."""
    names = {path, os.path.realpath(path)}
    names |= {name[len("/usr"):] for name in names if name.startswith("/usr/lib")}
    for name in sorted(names):
        owner = first_line(output("dpkg-query", "-S", name))
        if owner:
            package = owner.split(": ")[0].split(",")[0]
            return output("dpkg-query", "-W", "-f", "${Package} ${Version}", package) or package
    return None


def sha256_of(path):
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError:
        return None


def identity_of(path):
    """What differs when a file is replaced or written, or None if it is gone."""
    try:
        now = os.stat(path)
    except OSError:
        return None
    return now.st_dev, now.st_ino, now.st_mtime_ns, now.st_size


def describe_allocator(allocator):
    path = allocator.path or libc_path()
    if not path:
        return {"path": None, "package": None, "sha256": None}
    real = os.path.realpath(path)
    return {"path": real, "package": package_of(path), "sha256": sha256_of(real)}


def compiler(build):
    """The one that built the benchmarks, if the build directory says, else cc."""
    cache = read_text(build / "CMakeCache.txt") or read_text(build.parent / "CMakeCache.txt") or ""
    found = re.search(r"^CMAKE_C_COMPILER:\w+=(.+)$", cache, re.MULTILINE)
    return first_line(output(found.group(1) if found else "cc", "--version"))


def checksum_of_benchmarks(build):
    """Of the built programs and libraries together, by name and content."""
    together = hashlib.sha256()
    for path in sorted(path for path in build.iterdir() if path.is_file() and os.access(path, os.X_OK)):
        together.update(f"{path.name} {sha256_of(path)}\n".encode())
    return together.hexdigest()[:16]


def commit():
    """The commit, with "(changed)" if the tree is not what was committed."""
    there = str(allocators.REPOSITORY)
    name = output("git", "-C", there, "rev-parse", "--short=12", "HEAD")
    changes = output("git", "-C", there, "status", "--porcelain")
    return name and name + (" (changed)" if changes else "")


def memory():
    kib = (field(read_text("/proc/meminfo"), "MemTotal") or "").split()
    return f"{int(kib[0]) / 1048576:.1f} GiB" if kib and kib[0].isdigit() else None


def programs():
    """"clang 1:19.0-63, dash 0.5.12-12": the packages of the programs that are measured, those that are installed."""
    lines = (read_text(allocators.REPOSITORY / "bench" / "programs" / "packages.txt") or "").splitlines()
    names = [line.split()[0] for line in lines if line and not line.startswith("#") and "bench/test" not in line]
    return ", ".join(f"{name} {version}" for name in names for version in [version_of(name)] if version)


def version_of(package):
    fields = (output("dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Version}", package) or "").split()
    return fields[1] if fields[:1] == ["ii"] else None


def libc():
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (OSError, ValueError):
        return " ".join(platform.libc_ver())


LOAD = "load at the start"


def differences(before, now):
    """"kernel: Linux 7 (was: Linux 6)": what two descriptions both have, and not alike."""
    return [f"{name}: {now[name]} (was: {before[name]})" for name in now
            if name != LOAD and name in before and now[name] != before[name]]


def describe(build):
    """Name -> text; what cannot be found out is left out."""
    uname = os.uname()
    known = {
        "kernel": f"{uname.sysname} {uname.release} {uname.machine}",
        "CPU": f"{os.cpu_count()} x {field(read_text('/proc/cpuinfo'), 'model name') or uname.machine}",
        "memory": memory(),
        "transparent huge pages": chosen_option(read_text("/sys/kernel/mm/transparent_hugepage/enabled")),
        "overcommit": read_text("/proc/sys/vm/overcommit_memory"),
        "CPU governor": read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "libc": libc(),
        "compiler": compiler(build),
        "commit": commit(),
        "benchmarks": f"sha256 {checksum_of_benchmarks(build)}",
        "programs": programs(),
        LOAD: " ".join((read_text("/proc/loadavg") or "").split()[:3]),
    }
    return {name: value for name, value in known.items() if value}


def free_megabytes(path):
    return shutil.disk_usage(path).free >> 20


FULL = 4  # MB: with less than this free, a program that writes a file fails


def is_full(path):
    return free_megabytes(path) < FULL
