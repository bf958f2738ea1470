"""A server under an allocator: started, checked, watched, and ended whatever happens."""

import glob
import os
import pwd
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from lib import runner
from suite import process
from suite.workload import Failed

PATIENCE = 30  # seconds, to be ready and to end
# The group ends with this program, however that ends. INT is the quick and orderly end for each of the servers.
LEASH = ["/usr/bin/setpriv", "--pdeathsig", "INT"]


class Server:
    """`with Server(...) as server:` is ready inside; stop() then ends it well, leaving the block ends it anyhow."""

    def __init__(self, context, allocator, command, *, ready, user=None):
        self.context, self.allocator, self.command, self.ready = context, allocator, command, ready
        self.prefix = LEASH + (as_user(user) if user else [])
        self.child = self.log = None

    def __enter__(self):
        self.log = tempfile.TemporaryFile(dir=self.context.scratch)  # pylint: disable=consider-using-with
        # pylint: disable-next=consider-using-with
        self.child = subprocess.Popen(self.prefix + [str(part) for part in self.command], stdin=subprocess.DEVNULL,
                                      stdout=self.log, stderr=self.log, cwd=self.context.scratch,
                                      env=process.environment(self.allocator), start_new_session=True)
        try:
            self.wait_until_ready()
            for pid in family(self.child.pid):
                self.check_preload(pid)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            if self.child.returncode is None:
                self.kill()
        finally:
            self.log.close()

    @property
    def pid(self):
        return self.child.pid

    def wait_until_ready(self):
        end = time.monotonic() + PATIENCE
        while not self.ready():
            if self.child.poll() is not None:
                raise Failed(f"the server ended at once: {self.last_words()}")
            if time.monotonic() > end:
                raise Failed(f"the server is not ready after {PATIENCE} s")
            time.sleep(0.01)

    def last_words(self):
        size = self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, size - 1000))
        lines = self.log.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else "it said nothing"

    def check_preload(self, pid):
        """ld.so only warns of an object that it cannot preload."""
        if not self.allocator.path:
            return
        try:
            maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return  # it ended meanwhile
        if maps and os.path.realpath(self.allocator.path) not in maps:
            raise Failed(f"process {pid} of the server runs without {self.allocator.path}")

    def stop(self):
        """Ends the server in order; Sample's costs, of it and of all the children it has waited for."""
        self.require_alive()
        os.kill(self.pid, signal.SIGINT)
        usage = self.reap()
        if self.child.returncode not in (0, -signal.SIGINT):
            raise Failed(f"the server ended with {runner.allocators.death(self.child.returncode)}: {self.last_words()}")
        return {"user_ns": int(usage.ru_utime * 1e9), "system_ns": int(usage.ru_stime * 1e9),
                "minor_faults": usage.ru_minflt, "voluntary_switches": usage.ru_nvcsw}

    def require_alive(self):
        if self.child.poll() is not None:
            raise Failed(f"the server ended with {runner.allocators.death(self.child.returncode)}: {self.last_words()}")

    def reap(self):
        """wait4 and not Popen's wait, for the rusage."""
        end = time.monotonic() + PATIENCE
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.child.returncode = os.waitstatus_to_exitcode(status)
                return usage
            if time.monotonic() > end:
                raise Failed(f"the server does not end within {PATIENCE} s")
            time.sleep(0.005)

    def kill(self):
        """Every process of it: those that are in sessions of their own as well."""
        for pid in reversed(family(self.pid)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait()


def as_user(name):
    """Not root, which some servers refuse to be; but where only root may go, such as this directory, it may go too."""
    if os.geteuid() != 0:
        return []
    who = pwd.getpwnam(name)
    return ["--reuid", str(who.pw_uid), "--regid", str(who.pw_gid), "--clear-groups",
            "--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]


def children(pid):
    found = []
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            found += [int(child) for child in Path(path).read_text(encoding="ascii").split()]
        except OSError:
            pass
    return found


def family(pid):
    """The process and all below it, parents first."""
    found = [pid]
    for one in found:
        found += children(one)
    return found


def field(path, name):
    """A number of kB from a file of /proc, 0 if the process is gone."""
    try:
        for line in Path(path).read_text(encoding="ascii").splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def peak_rss_kb(pid):
    return field(f"/proc/{pid}/status", "VmHWM")


class Watch:
    """The private memory of all processes of a server together, looked at now and then; its peak, and its curve.

    Of a page that two of them share, each has its part (Pss), so the sum is what the machine has to find, and memory
    that is meant to be shared, such as a database's buffers, is left out.
    """

    def __init__(self, pid, interval=0.1):
        self.pid, self.interval = pid, interval
        self.curve, self.done = [], threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def look(self):
        began = time.monotonic()
        while not self.done.is_set():
            total = sum(field(f"/proc/{pid}/smaps_rollup", "Pss_Anon") for pid in family(self.pid))
            self.curve.append([round(time.monotonic() - began, 3), total])
            self.done.wait(self.interval)

    def peak_kb(self):
        return max(total for _, total in self.curve)


def client(command, timeout, cwd=None):
    """What a client printed. It runs without a preload: it is not what is measured."""
    try:
        done = subprocess.run([str(part) for part in command], env=process.ENVIRONMENT, capture_output=True, text=True,
                              timeout=timeout, check=False, cwd=cwd, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]}: not done after {timeout} s") from None
    if done.returncode:
        said = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise Failed(f"{Path(command[0]).name}: {said}")
    return done.stdout
