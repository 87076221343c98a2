# SPDX-License-Identifier: Apache-2.0
"""Ten thousand relays in one process, from one file: start, memory, idle CPU, reload, and what a reload does to traffic.

Through one of them an echo of 64 bytes goes round all the time, in a process of its own. Its longest round during a reload, and
until 0.3 s after it, is the stall; the longest round in as much time before it is the same without a reload, for comparison: on a
machine with other work that is not small either. nginx has a server block for each, which is the nearest to it that the
rivals have; what it reloads is a new worker, and the connection stays with the old one.
"""

import contextlib
import http.client
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import measure
import rivals

RELAYS = 10_000
SOME = 100  # are added or removed
FIRST_PORT = 20_000  # the last one is below the ports that the kernel gives away
AFTER = 0.3  # seconds after a reload's answer in which it may still free what has gone
RELOADS = ("same", "removed", "added", "changed")


class Echo:
    """Both ends of one conversation, in a process of its own: 64 bytes there and back, one after the other, each round timed."""

    def __init__(self):
        self.server = socket.socket()
        self.server.bind(("127.0.0.1", 0))
        self.server.listen(16)
        self.port = self.server.getsockname()[1]
        self.process = None

    def try_once(self, to):
        """Whether a byte makes it there and back."""
        with contextlib.ExitStack() as stack:
            try:
                near = stack.enter_context(socket.create_connection(to, timeout=10))
                near.sendall(b"x")
                self.server.settimeout(10)
                far = stack.enter_context(self.server.accept()[0])
                far.sendall(far.recv(1))
                return near.recv(1) == b"x"
            except OSError:
                return False

    def begin(self, to):
        near = socket.create_connection(to, timeout=30)
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        near.sendall(b"x")
        far = self.server.accept()[0]
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        far.settimeout(30)
        far.recv(1)
        self.results, child_end = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=self._run, args=(near, far, child_end), daemon=True)
        self.process.start()
        near.close()
        far.close()
        child_end.close()

    @staticmethod
    def _run(near, far, results):
        data = b"x" * 64
        rounds = []  # when it began, how long it took; the slow ones alone
        while not results.poll():
            for _ in range(50):
                began = time.monotonic()
                near.sendall(data)
                there = far.recv(64, socket.MSG_WAITALL)
                far.sendall(there)
                back = near.recv(64, socket.MSG_WAITALL)
                took = time.monotonic() - began
                if back != data:
                    results.send("the connection has ended")
                    return
                if took > 0.0003:
                    rounds.append((began, took))
        results.send(rounds)

    def end(self):
        """The slow rounds."""
        self.results.send(None)
        try:
            rounds = self.results.recv()
        except EOFError:
            rounds = "the process has ended"
        self.process.join()
        self.process = None
        if isinstance(rounds, str):
            raise measure.Failed(f"the echo: {rounds}")
        return rounds

    def close(self):
        if self.process:
            self.process.kill()
            self.process.join()
        self.server.close()


def longest(rounds, begin, end):
    """Milliseconds of the longest round that was under way in that time; 0.3 stands for all that are shorter."""
    return 1000 * max((took for began, took in rounds if began < end and began + took > begin), default=0.0003)


class Relay:
    """Ours: one file, one process; the reload is asked for and answered over HTTP."""

    def __init__(self, binary, folder, host, target):
        self.folder, self.host, self.target = folder, host, target
        self.config = f"{folder}/relay.toml"
        self.command = [binary, "run", "-c", self.config]

    def write(self, ports, changed=False):
        more = 'idle-timeout = "5m"\n' if changed else ""
        with open(self.config, "w", encoding="ascii") as out:
            out.write(f'admin = "unix:{self.folder}/admin"\nlog-level = "warn"\n')
            for port in ports:
                out.write(f'[[relay]]\nname = "r{port}"\nlisten = "{self.host}:{port}"\ntarget = "127.0.0.1:{self.target}"\n'
                          f'gateway = "{rivals.GATEWAY}"\n{more}')

    def reload(self, _pid):
        class Admin(http.client.HTTPConnection):
            def connect(connection):  # pylint: disable=no-self-argument
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.settimeout(60)
                connection.sock.connect(f"{self.folder}/admin")

        admin = Admin("localhost", timeout=60)
        try:
            admin.request("POST", "/reload")
            answer = admin.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise measure.Failed(f"reload: {answer.status} {body[:300]!r}")
        finally:
            admin.close()


class Nginx:
    """A server block each; the reload is over when the worker is another one."""

    def __init__(self, binary, folder, host, target):
        self.folder, self.host, self.target = folder, host, target
        self.config = f"{folder}/nginx.conf"
        self.command = [binary, "-c", self.config, "-p", folder, "-e", f"{folder}/error.log"]

    def write(self, ports, changed=False):
        timeout = "5m" if changed else "1h"
        with open(self.config, "w", encoding="ascii") as out:
            out.write(f"load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nworker_processes 1;\npid {self.folder}/pid;\n"
                      f"error_log {self.folder}/error.log crit;\nevents {{ worker_connections 16384; }}\nstream {{\naccess_log off;\n")
            for port in ports:
                out.write(f"server {{ listen {self.host}:{port}; proxy_pass 127.0.0.1:{self.target}; proxy_timeout {timeout}; }}\n")
            out.write("}\n")

    def reload(self, pid):
        before = set(measure.tree(pid))
        os.kill(pid, signal.SIGHUP)
        until = time.monotonic() + 60
        while not set(measure.tree(pid)) - before:
            if time.monotonic() > until:
                raise measure.Failed("reload: no new worker within a minute")
            time.sleep(0.001)


PROGRAMS = {"relay": Relay, "nginx": Nginx}


class Many:
    """One program with so many relays. A context manager."""

    def __init__(self, rival, count):
        self.rival = rival
        self.ports = range(FIRST_PORT, FIRST_PORT + count)
        self.process = None

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix=f"bench-many-{self.rival.name}-")
        self.echo = Echo()
        # An address of its own, so that nobody else is there on any of so many ports.
        self.host = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.1"
        self.program = PROGRAMS[self.rival.name](self.rival.binary(), self.folder, self.host, self.echo.port)
        self.program.write(self.ports)
        with open(f"{self.folder}/output", "wb") as log:
            began = time.monotonic()
            self.process = subprocess.Popen(self.program.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,  # pylint: disable=consider-using-with
                                            preexec_fn=lambda: rivals.child_setup(rivals.MIDDLE_CPUS))
        try:
            while not self.echo.try_once((self.host, self.ports[-1])):
                if self.process.poll() is not None or time.monotonic() - began > 60:
                    raise measure.Failed(f"it does not start: {self.output()}")
                time.sleep(0.002)
        except BaseException:
            self.__exit__()
            raise
        self.start_s = time.monotonic() - began
        return self

    def __exit__(self, *_):
        self.echo.close()
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            with contextlib.suppress(ChildProcessError):  # its orphans are ours
                while True:
                    os.waitpid(-self.process.pid, 0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def output(self):
        with open(f"{self.folder}/output", encoding="utf-8", errors="replace") as text:
            return text.read()[-1000:].strip()

    def cpu(self):
        """Seconds of CPU of all its processes."""
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in measure.tree(self.process.pid))

    def idle_cpu(self, seconds):
        before = self.cpu()
        time.sleep(seconds)
        return 100 * (self.cpu() - before) / seconds

    def reload(self, kind):
        """Milliseconds, and where the echo was meanwhile."""
        self.program.write({"removed": self.ports[:-SOME]}.get(kind, self.ports), changed=kind == "changed")
        began = time.monotonic()
        self.program.reload(self.process.pid)
        ended = time.monotonic()
        time.sleep(AFTER)
        return began, ended


def run(rival, quick):
    """The figures of one round."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < RELAYS + 1000:
        raise measure.Failed(f"fewer than {RELAYS + 1000} descriptors a process")
    figures = {}
    before = measure.Watch()
    with Many(rival, 1) as one:
        alone = measure.settled_memory(one.process.pid)
    with Many(rival, RELAYS) as many:
        figures["start_s"] = many.start_s
        full = measure.settled_memory(many.process.pid)
        figures["relay_bytes"] = (full["pss"] - alone["pss"]) / (RELAYS - 1)  # what processes share counts once
        figures["rss"] = full["rss"]
        figures["idle_cpu_percent"] = many.idle_cpu(2 if quick else 5)
        for kind in RELOADS:  # the removed come back as the added
            many.echo.begin((many.host, many.ports[0]))
            time.sleep(1.0)
            began, ended = many.reload(kind)
            rounds = many.echo.end()
            length = ended + AFTER - began
            figures[f"reload_{kind}_s"] = ended - began
            figures[f"stall_{kind}_ms"] = longest(rounds, began, ended + AFTER)
            figures[f"quiet_{kind}_ms"] = longest(rounds, began - min(length, 1.0), began)
    figures["others"] = measure.Watch().others_since(before)
    return figures
