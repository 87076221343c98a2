# SPDX-License-Identifier: Apache-2.0
"""The programs that are compared: how each is started, how it is known to be up, how it surely ends.

A Rival is a recipe; a Running is one process of it with a folder, a port and a target port of its own. Nobody is connected to
in order to find out whether it is up: to some rivals a connection is work, so the kernel's table of sockets is asked instead.
"""

import re
import ctypes
import os
import random
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

GATEWAY = "127.255.255.254"  # what the relay is told is the gateway, so that every other loopback address is a client
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

_HAPROXY = """global
    nbthread 1
    maxconn 4000
defaults
    mode tcp
    {splice}
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen bench
    bind 127.0.0.1:{port}
    server target 127.0.0.1:{target_port}
"""

_NGINX = """load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 8192; }}
stream {{
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_pass 127.0.0.1:{target_port};
        proxy_buffer_size 64k;
        proxy_timeout 1h;
        access_log off;
    }}
}}
"""


class Rival:
    """NAME, the command with {port} {target_port} {listen} {target} {pairs} {folder} {config}, and the text of its config file."""

    def __init__(self, name, command, config="", version=None, note="", queue=False, files=()):
        self.name = name
        self.command = shlex.split(command) if isinstance(command, str) else command
        self.config = config
        self.version_command = version
        self.note = note
        self.queue = queue  # has an ingress queue, so there is something to drain
        self.files = list(files)  # what else must be there, e.g. a module

    @property
    def direct(self):
        return not self.command

    def binary(self):
        return None if self.direct else shutil.which(self.command[0])

    def missing(self):
        """Why it cannot run here, or None."""
        if self.direct:
            return None
        if not self.binary():
            return f"{self.command[0]} is not there"
        return next((f"{f} is not there" for f in self.files if not os.path.exists(f)), None)

    def version(self):
        if not self.version_command:
            return ""
        done = subprocess.run(self.version_command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        lines = [line.strip() for line in done.stdout.splitlines() if "ersion" in line or line.strip()]
        return next((line for line in lines if "ersion" in line), lines[0] if lines else "")


def known(relay):
    """The rivals by name, in the order of the tables. RELAY is the path of our binary."""
    haproxy = ["haproxy", "-db", "-q", "-f", "{config}"]
    rivals = [
        Rival("direct", [], note="no program between the two ends"),
        Rival(
            "relay",
            [relay, "start", "--listen", "{listen}", "--port", "{port}", "--target", "{target}", "--pairs", "{pairs}",
             "--gateway", GATEWAY, "--log-level", "warn"],
            version=[relay, "--version"], queue=True, note="one process, static binary",
        ),
        Rival("haproxy", haproxy, _HAPROXY.replace("{splice}", ""), ["haproxy", "-v"], "mode tcp, 1 thread, default buffers, no log"),
        Rival("haproxy-splice", haproxy, _HAPROXY.replace("{splice}", "option splice-auto"), ["haproxy", "-v"],
              "the same with option splice-auto"),
        Rival("nginx", ["nginx", "-c", "{config}", "-p", "{folder}", "-e", "{folder}/error.log"], _NGINX, ["nginx", "-v"],
              "stream, master and 1 worker, proxy_buffer_size 64k, no log", files=["/usr/lib/nginx/modules/ngx_stream_module.so"]),
        Rival("socat", ["socat", "-b65536", "TCP-LISTEN:{port},bind={listen},reuseaddr,fork,backlog=4096,nodelay",
                        "TCP:{target},nodelay"], version=["socat", "-V"], note="-b65536, a process for each connection"),
    ]
    return {rival.name: rival for rival in rivals}


def free_port():
    """A port below the kernel's ephemeral range that nobody has, for IPv4 on any address."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("", port))
                return port
            except OSError:
                continue


def sockets_of(ports):
    """(state, local port) in the hexadecimal of /proc/net/tcp of the sockets with one of these ports at either end."""
    wanted = {f"{port:04X}" for port in ports}
    states = []
    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/net/{name}", encoding="ascii") as table:
                for line in table:
                    words = line.split(None, 4)
                    if words[1][-4:] in wanted or words[2][-4:] in wanted:
                        states.append((words[3], words[1][-4:]))
        except OSError:
            pass
    return states


# Where programs may run; --pin changes it before anything starts.
END_CPUS = set(os.sched_getaffinity(0))
MIDDLE_CPUS = set(END_CPUS)


def pin():
    """The ends share one CPU, the program between them has another."""
    first, last = min(END_CPUS), max(END_CPUS)
    END_CPUS.intersection_update({first})
    MIDDLE_CPUS.intersection_update({last})


def child_setup(cpus):
    """For each child, before it becomes the program: as many descriptors as may be, and no life after ours."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    os.sched_setaffinity(0, cpus)


_running = set()


def stop_all():
    for running in list(_running):
        running.stop()


class Running:
    """One started process of a rival (or nothing, for direct). A context manager; stop() may be called twice."""

    def __init__(self, rival, pairs=64, target_port=None):
        self.rival = rival
        self.process = None
        self.folder = tempfile.mkdtemp(prefix=f"bench-{re.sub(r'[^a-zA-Z0-9]+', '-', rival.name)}-")
        self.target_port = target_port or free_port()
        self.port = self.target_port if rival.direct else free_port()
        while self.port == self.target_port and not rival.direct:
            self.port = free_port()
        values = {"port": self.port, "target_port": self.target_port, "spare_port": free_port(), "listen": "127.0.0.1", "pairs": pairs,
                  "target": f"127.0.0.1:{self.target_port}", "folder": self.folder, "config": f"{self.folder}/config"}
        if rival.config:
            with open(values["config"], "w", encoding="ascii") as config:
                config.write(rival.config.format(**values))
        self.command = [word.format(**values) for word in rival.command]

    def __enter__(self):
        _running.add(self)
        if not self.command:
            return self
        self.log = open(f"{self.folder}/output", "w+", encoding="utf-8", errors="replace")  # pylint: disable=consider-using-with
        self.start()
        return self

    def start(self):
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True,
            preexec_fn=lambda: child_setup(MIDDLE_CPUS))
        until = time.monotonic() + 10
        while ("0A", f"{self.port:04X}") not in sockets_of([self.port]):
            if self.process.poll() is not None or time.monotonic() > until:
                why = f"{self.rival.name} does not listen on {self.port}: {self.output() or 'it said nothing'}"
                self.stop()
                raise RuntimeError(why)
            time.sleep(0.005)

    def again(self):
        """Kills it, and starts it on the same port."""
        self.process.kill()
        self.process.wait()
        self.start()

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        return self.process.pid if self.process else 0

    def output(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8", errors="replace") as text:
            return text.read()[-2000:].strip()

    def alive(self):
        return not self.process or self.process.poll() is None

    def settle(self, seconds=3.0):
        """Waits until no connection of the last run is left; returns how many are left when that takes too long."""
        until = time.monotonic() + seconds
        while True:
            left = sum(state not in ("0A", "06") for state, _ in sockets_of([self.port, self.target_port]))  # LISTEN, TIME_WAIT
            if not left or time.monotonic() > until:
                return left
            time.sleep(0.02)

    def stop(self):
        _running.discard(self)
        if self.process:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            try:  # its orphans are ours (see main): wait for them too, so that their CPU time is counted as ours
                while True:
                    os.waitpid(-self.process.pid, 0)
            except ChildProcessError:
                pass
            self.log.close()
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)
