# SPDX-License-Identifier: MIT
"""Programs under bslab to be looked at, and bslab-stat looking at them."""
import contextlib
import os
import shutil
import signal
import subprocess
import time

CONF = "region=8M,large=4M"  # small cores; a block of 5 MiB is a mapping of its own


def until(condition, seconds=60):
    """Whether it came to be so, however busy the machine is."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def state(pid):
    """Of a process: "S" where it sleeps."""
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def stop_for(process, seconds):
    """As ^Z and fg do, and then some time to go on."""
    for number, pause in (signal.SIGSTOP, seconds), (signal.SIGCONT, 0.3):
        process.send_signal(number)
        time.sleep(pause)


class Target:
    """A running test/insight/heap. Its numbers and addresses are in `known`."""

    def __init__(self, command, preload=None, conf=CONF, wrapper=(), **popen):
        env = dict(os.environ)
        mode = env.get("BSLAB_CONF")
        env["BSLAB_CONF"] = f"{mode},{conf}" if mode else conf
        if preload:
            wrapper = [*wrapper, "env", f"LD_PRELOAD={preload}"]
        self.process = subprocess.Popen([*wrapper, *command], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **popen)
        self.pid = self.process.pid
        self.known = {}
        for line in self.process.stdout:
            if line == "ready\n":
                return
            name, value = line.split()
            self.known[name] = int(value, 0)
        raise RuntimeError(f"{command} ended with {self.process.wait()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()

    def core(self, folder):
        """A core of it as it is, by gdb; None, and a reason, where that cannot be had."""
        if not shutil.which("gcore"):
            return None, "no gcore: apt-get install gdb"
        run = subprocess.run(["gcore", "-o", f"{folder}/core", str(self.pid)], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        path = f"{folder}/core.{self.pid}"
        return (path, "") if os.path.exists(path) else (None, "gcore: " + (run.stderr.strip().splitlines() or ["no core"])[-1])


def stat(program, *args, **run):
    """Runs bslab-stat: (exit status, output, errors). It has to come to an end by itself."""
    done = subprocess.run([program, *map(str, args)], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **run)
    return done.returncode, done.stdout, done.stderr


@contextlib.contextmanager
def folder():
    import tempfile

    with tempfile.TemporaryDirectory(prefix="bslab-stat-") as path:
        yield path
