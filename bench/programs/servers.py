"""memcached, nginx and PostgreSQL, each as a workload."""

import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from lib.allocators import Allocator
from suite import process
from suite.workload import Failed, Missing, Sample, Workload
from .server import LEASH, PATIENCE, Server, Watch, as_user, children, client, peak_rss_kb

CLIENT_TIMEOUT = 300  # seconds


def require(executable, package):
    path = shutil.which(executable, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not path:
        raise Missing(f"{executable} (package {package})")
    return path


def load_client(context):
    path = context.build / "bench-load"
    if not os.access(path, os.X_OK):
        raise Missing("bench-load: build bench/ with 'programs' among BENCH_GROUPS")
    return path


def accepts(path):
    """Whether someone listens on the Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


class Memcached(Workload):
    """It asks little of malloc: items lie in slabs of its own, of which it takes 1 MB at a time and frees none.

    What is left for malloc are the connections' buffers and the growing hash table: the row shows what a preload costs
    a server that hardly allocates, and not how an allocator would serve a cache.
    """

    name = "programs/memcached"
    threaded = True
    group = "programs"
    models = "memcached, 2 threads, a closed loop of 16 connections, 9 gets to a set; mixture after Atikoglu (2012)"
    unit = "request"
    # Requests, and keys; all of the items together stay below what the server may hold.
    sizes = {"smoke": (20000, 2000), "quick": (300000, 50000), "full": (1000000, 100000)}
    server = None

    def prepare(self, context):
        self.server = require("memcached", "memcached")
        load_client(context)
        process.read_once(self, context)

    def measure(self, context, allocator):
        requests, keys = self.sizes[context.mode]
        with tempfile.TemporaryDirectory(dir=context.scratch) as directory:
            path = Path(directory) / "socket"
            command = [self.server, "-u", pwd.getpwuid(os.geteuid()).pw_name, "-s", path, "-t", 2, "-m", 512]
            with Server(context, allocator, command, ready=lambda: accepts(path)) as server:
                told = client([load_client(context), "memcached", path, 16, 8, requests, keys], CLIENT_TIMEOUT)
                peak = peak_rss_kb(server.pid)
                return process.overlay(Sample(peak_rss_kb=peak, **server.stop()), told)


class Nginx(Workload):
    name = "programs/nginx"
    threaded = True
    group = "programs"
    models = "nginx, one worker: pages of 0..64 KB to 16 connections that stay open, half compressed, all by proxy"
    unit = "request"
    sizes = {"smoke": 500, "quick": 15000, "full": 150000}
    pages = 40
    server = None

    def prepare(self, context):
        self.server = require("nginx", "nginx")
        load_client(context)
        pages = context.scratch / "pages"
        pages.mkdir(exist_ok=True)
        for i in range(self.pages):
            text = "".join(f"<p>line {k} of page {i}, {k * 7919 % 1009}</p>\n" for k in range(i * i))
            (pages / f"{i}.html").write_text(text, encoding="ascii")
        process.read_once(self, context)

    def configuration(self, directory, pages):
        """The front passes everything on to the server behind, which is the same worker."""
        paths = "".join(f"{kind}_temp_path {directory}/{kind};\n"
                        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return (f"daemon off;\nuser {pwd.getpwuid(os.geteuid()).pw_name};\nworker_processes 1;\npid {directory}/pid;\n"
                f"error_log stderr warn;\nevents {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n{paths}"
                "types { text/html html; }\ngzip on;\ngzip_comp_level 1;\ngzip_proxied any;\n"
                "keepalive_requests 1000000;\n"
                f"upstream behind {{ server unix:{directory}/behind; keepalive 16; keepalive_requests 1000000; }}\n"
                f"server {{ listen unix:{directory}/behind; root {pages}; gzip off; }}\n"
                f"server {{ listen unix:{directory}/socket; location / {{ proxy_pass http://behind; "
                "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_buffers 4 8k; } }\n}\n")

    def measure(self, context, allocator):
        with tempfile.TemporaryDirectory(dir=context.scratch) as directory:
            path, settings = Path(directory) / "socket", Path(directory) / "nginx.conf"
            settings.write_text(self.configuration(directory, context.scratch / "pages"), encoding="ascii")
            command = [self.server, "-e", "stderr", "-c", settings]
            with Server(context, allocator, command, ready=lambda: accepts(path)) as server:
                told = client([load_client(context), "http", path, 16, 1, self.sizes[context.mode], self.pages],
                              CLIENT_TIMEOUT)
                peak = max(peak_rss_kb(pid) for pid in children(server.pid))
                return process.overlay(Sample(peak_rss_kb=peak, **server.stop()), told)


class Postgres(Workload):
    """peak_rss_kb is the private memory of all the processes together (Watch): each connection is one."""

    group = "programs"
    unit = "request"
    threaded = True
    clients = 4

    def __init__(self, name, models, script, transactions):
        self.name, self.models, self.script, self.transactions = f"programs/{name}", models, script, transactions
        self.bin = None

    def prepare(self, context):
        """One cluster, filled under glibc; each measurement works on a copy."""
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/pgbench"), key=lambda path: float(path.split("/")[4]))
        found = [path for path in found if os.access(Path(path).parent / "postgres", os.X_OK)]
        if not found:
            raise Missing("postgres and pgbench (package postgresql)")
        self.bin = Path(found[-1]).parent
        data = self.make_directory(context, "made")
        # As many branches as clients at least: what they wait for is not each other's locks.
        scale = {"smoke": 1, "quick": 4, "full": 10}[context.mode]
        try:
            self.run_as_owner([self.bin / "initdb", "-D", data / "data", "-U", "bench", "-A", "trust", "-E", "UTF8",
                               "--locale=C", "--no-sync"])
            with self.server(context, Allocator("glibc", None), data) as server:
                client([self.bin / "pgbench", "-h", data, "-U", "bench", "-q", "-i", "-s", scale, "postgres"],
                       CLIENT_TIMEOUT)
                server.stop()
        except Failed as error:
            raise Missing(f"a cluster of PostgreSQL's: {error}") from None

    @staticmethod
    def make_directory(context, name):
        path = context.scratch / name
        path.mkdir()
        if os.geteuid() == 0:
            who = pwd.getpwnam("postgres")
            os.chown(path, who.pw_uid, who.pw_gid)
        return path

    @staticmethod
    def run_as_owner(command):
        client(LEASH + as_user("postgres") + command, CLIENT_TIMEOUT, cwd="/")

    def server(self, context, allocator, directory):
        command = [self.bin / "postgres", "-D", directory / "data", "-k", directory, "-c", "listen_addresses=",
                   "-c", "fsync=off", "-c", "shared_buffers=128MB", "-c", "autovacuum=off", "-c", "jit=off",
                   "-c", "max_wal_size=4GB", "-c", "checkpoint_timeout=1h"]
        ready = [str(self.bin / "pg_isready"), "-q", "-h", str(directory), "-d", "postgres"]
        return Server(context, allocator, command, user="postgres",
                      ready=lambda: subprocess.run(ready, env=process.ENVIRONMENT, check=False,
                                                   timeout=PATIENCE).returncode == 0)

    def measure(self, context, allocator):
        directory = Path(tempfile.mkdtemp(dir=context.scratch))
        directory.rmdir()
        self.make_directory(context, directory.name)
        try:
            client(["/bin/cp", "-a", context.scratch / "made" / "data", directory / "data"], CLIENT_TIMEOUT)
            return self.measure_in(context, allocator, directory)
        finally:
            shutil.rmtree(directory)

    def measure_in(self, context, allocator, directory):
        transactions = self.transactions[context.mode] // self.clients
        with self.server(context, allocator, directory) as server:
            self.bench(directory, 50)  # what is read into the buffers once
            with Watch(server.pid) as watch:
                latencies, seconds = self.bench(directory, transactions)
            costs = server.stop()
        count = len(latencies)
        if count != transactions * self.clients:
            raise Failed(f"pgbench did {count} of {transactions * self.clients} transactions")
        latencies.sort()
        return Sample(time_ns=seconds * 1e9 / count, peak_rss_kb=watch.peak_kb(), series={"rss": watch.curve},
                      figures={"throughput requests/s": count / seconds, "p50 us": latencies[count // 2],
                               "p99 us": latencies[count * 99 // 100]}, **costs)

    def bench(self, directory, transactions):
        """The latency of each transaction in us, and how long all took but the connecting."""
        command = [self.bin / "pgbench", "-h", directory, "-U", "bench", "-n", "-c", self.clients, "-j", 1,
                   "-t", transactions, "--random-seed=42", "-l", "--log-prefix", directory / "log"]
        told = client(command + self.script + ["postgres"], CLIENT_TIMEOUT)
        latencies = []
        for path in directory.glob("log.*"):
            with open(path, encoding="ascii") as lines:
                latencies += [int(line.split()[2]) for line in lines]
            path.unlink()
        rates = [line.split()[2] for line in told.splitlines() if line.startswith("tps = ")]
        if not rates or not latencies:
            raise Failed("pgbench tells of no transactions")
        return latencies, len(latencies) / float(rates[-1])


def workloads():
    return [
        Memcached(),
        Nginx(),
        Postgres("postgres-select", "PostgreSQL, pgbench -S: one row by its key, 4 clients as fast as they can",
                 ["-S"], {"smoke": 2000, "quick": 20000, "full": 300000}),
        Postgres("postgres-tpcb", "PostgreSQL, pgbench's default mixture, after TPC-B: updates, an insert; no fsync",
                 [], {"smoke": 400, "quick": 6000, "full": 60000}),
    ]
