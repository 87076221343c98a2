# SPDX-License-Identifier: Apache-2.0
"""What runs out while a relay works: room for its log, the reader of its log, memory, time that goes on evenly. (Descriptors and
pipes: test_faults.py; a stderr that is stuck: test_logs.py.) Each behaviour stands in relay(1), WHEN THINGS RUN OUT."""

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.lab import Lab
from harness.logs import parse
from harness.peers.target import echo
from harness.process import Relay
from harness.scale import BIN, SLOW, seconds, volume
from harness.sockets import Gone, Peer, connect
from harness.stream import Stream
from harness.until import until

MIB = 1 << 20
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount or a clock of its own: root")


@contextlib.contextmanager
def bare(lab: Lab, *prefix: str, words: tuple[str, ...] = (), exit_code: int = 0, **how: Any) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A relay that the harness' own way of starting does not fit: the process and its address, which it writes on no log here."""
    path = lab.folder / f"socket-{len(lab.fakes)}"
    place = f"unix:{path}"
    args = [*prefix, str(BIN), "start", "--listen", place, "--gateway-listen", place + "-g", "--log-level", "debug", *words]
    process = subprocess.Popen(args, stdin=subprocess.DEVNULL, **how)
    try:
        until(lambda: process.poll() is not None or (Path(str(path) + "-g").exists() and reachable(place)), "the relay listens")
        assert process.poll() is None, process.returncode
        yield process, place
        process.terminate()
        assert process.wait(seconds(15)) == exit_code
    finally:
        process.kill()
        process.wait()


def reachable(place: str) -> bool:
    try:
        connect(place).reset()
    except OSError:
        return False
    return True


def serve(lab: Lab, place: str, sessions: int) -> None:
    """So many sessions with an echoing target, each logged in several lines."""
    for _ in range(sessions):
        lab.converse(lab.add(connect(place)))


# The log


def test_full_device_under_the_log(lab: Lab) -> None:
    """A log that can take nothing, ever (/dev/full): no connection notices, SIGTERM ends the relay with 0."""
    target = lab.target(echo)
    with open("/dev/full", "wb") as full, bare(lab, words=("--target", target.address, "--pairs", "8"), stderr=full) as (_, place):
        serve(lab, place, volume(200))


@ROOT_ONLY
def test_full_disk_under_the_log(lab: Lab) -> None:
    """The disk of the log file is full: connections go on; when there is room again lines come again, whole, and say how many are missing."""
    target = lab.target(echo)
    disk = lab.folder / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=64k none {disk} && cd {disk} && exec "$@" 2>log'
    words = ("--target", target.address, "--pairs", "8")
    with bare(lab, "unshare", "-m", "sh", "-c", script, "sh", words=words) as (process, place):
        inside = Path(f"/proc/{process.pid}/cwd")
        with pytest.raises(OSError), open(inside / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 512)
        serve(lab, place, volume(200) + 20)
        size = (inside / "log").stat().st_size
        serve(lab, place, 1)
        assert (inside / "log").stat().st_size == size, "the disk was not full"
        (inside / "filler").unlink()

        def answered() -> bool:
            process.send_signal(signal.SIGUSR1)
            return "log_dropped=" in (inside / "log").read_text(errors="replace")

        until(answered, "a line in the log once there is room")
        lines = (inside / "log").read_text(errors="replace").splitlines()
        stats = next(line for line in map(parse, lines) if line.event == "stats")
        assert stats["log_dropped"] > 100
        torn = [line for line in lines if not parse(line).event]
        assert len(torn) <= 1, torn  # the one that was written when the disk became full


def test_log_file_as_large_as_it_may_be(lab: Lab) -> None:
    """A log file at the limit of its size (ulimit -f): lines are dropped, and no SIGXFSZ ends the relay."""
    target, log = lab.target(echo), lab.folder / "log"
    limit = 8192
    with open(log, "wb") as stderr, bare(
        lab, words=("--target", target.address, "--pairs", "8"), stderr=stderr,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    ) as (_, place):
        serve(lab, place, volume(200) + 20)
        assert log.stat().st_size == limit


def test_nobody_reads_the_log_any_more(lab: Lab) -> None:
    """The reader of the log has gone (a closed pipe): no SIGPIPE, no connection notices, SIGTERM ends the relay with 0."""
    target = lab.target(echo)
    read_end, write_end = os.pipe()
    with bare(lab, words=("--target", target.address, "--pairs", "8"), stderr=write_end) as (_, place):
        os.close(write_end)
        os.close(read_end)
        serve(lab, place, volume(200))


# Memory


def limit_memory(relay: Relay, more: int | None) -> None:
    """So much more address space than it has now, as `ulimit -v` gives it; None: any amount."""
    size = resource.RLIM_INFINITY if more is None else relay.memory("VmSize") + more
    resource.prlimit(relay.pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


@pytest.mark.skipif(SLOW, reason="a sanitizer's memory is not the relay's")
def test_no_memory_for_a_whole_queue(lab: Lab) -> None:
    """No memory for a queue of 6400 KiB: it holds what it can, TCP holds the sender back, and all arrives, by hash."""
    relay = lab.relay()
    limit_memory(relay, MIB)
    gateway = lab.gateway(relay)
    stream, size = Stream("short of memory"), 20_000_000
    sent = gateway.fill(stream, size)
    assert 0 < sent < size
    held = relay.stats()["queued_bytes"]
    assert 0 < held < MIB
    client = lab.client(relay)
    done = 0
    while done < sent:
        piece = client.read(min(sent - done, 65536))
        assert not stream.mismatch(piece, done)
        done += len(piece)


@pytest.mark.skipif(SLOW, reason="a sanitizer's memory is not the relay's")
def test_no_memory_at_all_for_a_queue(lab: Lab) -> None:
    """Not even the first 16 KiB of a queue: that session ends and says why; idle ones stay, and go on when there is memory."""
    relay = lab.relay(pairs=400, admin="none").allow("session-end")
    client, gateway = lab.pair(relay)
    limit_memory(relay, 0)
    mark = relay.mark()
    for number in range(300):  # what the heap still has is soon used up, but for something small
        held = (number + 1) * 10_000
        with contextlib.suppress(Gone, OSError):
            lab.gateway(relay).offer(Stream("none"), 0, 10_000)
        until(lambda held=held: relay.find("session-end", after=mark) or relay.stats()["queued_bytes"] == held, "what became of it")
        if relay.find("session-end", after=mark):
            break
    end = relay.wait_log("session-end", after=mark)
    assert (end["reason"], end["error"]) == ("gateway-error", "Cannot allocate memory")
    limit_memory(relay, None)
    client.send(b"still here")
    assert gateway.read(10) == b"still here"
    for _ in range(relay.stats()["waiting"]):  # those for whom there was enough
        assert not Stream("none").mismatch(lab.client(relay).read(10_000), 0)


@pytest.mark.skipif(SLOW, reason="a sanitizer's memory is not the relay's")
def test_out_of_memory(lab: Lab) -> None:
    """Not even a few bytes are to be had: the relay says so in its last line and ends with 1, for a service manager to start it again."""
    log = lab.folder / "log"
    words = ("--target", lab.refusing().address, "--pairs", "20000")
    peers: list[Peer] = []
    with open(log, "wb") as stderr, bare(lab, words=words, stderr=stderr, exit_code=1) as (process, place):
        until(lambda: reachable(place + "-g"), "the gateways' place is open too")
        status = Path(f"/proc/{process.pid}/status").read_text()
        size = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize:")) * 1024
        resource.prlimit(process.pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
        with contextlib.suppress(OSError):
            while process.poll() is None and len(peers) < 5000:
                peers.append(connect(place + "-g"))
        until(lambda: process.poll() is not None, f"the end of the relay, {len(peers)} connections")
    for peer in peers:
        peer.reset()
    assert log.read_text().splitlines()[-1] == "relay: out of memory: raise MemoryMax= or ulimit -v, or lower pairs and queue-size"


@contextlib.contextmanager
def confined(pid: int, limit: int) -> Iterator[None]:
    """What the process takes from here on counts against a control group's limit, as MemoryMax= sets it."""
    places = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
    group = Path()
    for top, name in places:
        group = Path(top) / f"relay-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            group.mkdir()
            (group / name).write_text(str(limit))
            (group / "cgroup.procs").write_text(str(pid))
            break
        with contextlib.suppress(OSError):
            group.rmdir()
    else:
        pytest.skip("no control group with a limit of memory is to be had")
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            (group.parent / "cgroup.procs").write_text(str(pid))
        until(lambda: not (group / "cgroup.procs").read_text(), "the control group is empty")
        group.rmdir()


@ROOT_ONLY
@pytest.mark.skipif(SLOW, reason="a sanitizer's memory is not the relay's")
def test_memory_as_the_manual_says_is_enough(lab: Lab) -> None:
    """Under a MemoryMax= of `pairs` queues and 4 MiB all queues fill and empty again."""
    pairs, queue = 12, MIB
    relay = lab.relay(pairs=pairs, queue_size=queue)
    with confined(relay.pid, pairs * queue + 4 * MIB):
        streams = [Stream(f"limited {number}") for number in range(pairs)]
        sent = [lab.gateway(relay).fill(stream, 20 * MIB) for stream in streams]
        relay.wait_stat("queued_bytes", "==", pairs * queue)
        for stream, size in zip(streams, sent):
            client = lab.client(relay)
            assert not stream.mismatch(client.read(size), 0)


@ROOT_ONLY
@pytest.mark.skipif(SLOW, reason="a sanitizer's memory is not the relay's")
@pytest.mark.skipif(len(Path("/proc/swaps").read_text().splitlines()) > 1, reason="it would swap")
def test_memory_max_too_small_for_the_queues(lab: Lab) -> None:
    """Under a MemoryMax= that the queues outgrow the kernel kills the relay; there is nothing in between, and no last words."""
    words = ("--target", lab.refusing().address, "--pairs", "64", "--queue-size", str(MIB))
    with bare(lab, words=words, exit_code=-signal.SIGKILL, stderr=subprocess.DEVNULL) as (process, place), confined(process.pid, 8 * MIB):
        until(lambda: reachable(place + "-g"), "the gateways' place is open too")
        with contextlib.suppress(OSError, Gone):
            for number in range(64):
                lab.add(connect(place + "-g")).fill(Stream(f"too much {number}"), 4 * MIB)
        until(lambda: process.poll() is not None, "the end of the relay")


# Descriptors, at the start


@pytest.mark.skipif(SLOW, reason="a sanitizer needs descriptors itself")
@pytest.mark.parametrize("limit", [3, 4, 5])
def test_no_descriptors_at_all(lab: Lab, limit: int) -> None:
    """A limit of open files that leaves nothing to work with is said to be that, and is no bug of the relay's."""
    words = ["start", "--listen", "127.0.0.1", "--port", "0", "--target", "127.0.0.1:9", "--admin", "none"]
    for pipe in (True, False):  # a file as its log takes no descriptor more, a pipe one
        with (lab.folder / "log").open("w+") as log:
            done = subprocess.run(
                [str(BIN), *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE if pipe else log, timeout=seconds(10),
                check=False, text=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
            )
            log.seek(0)
            said = done.stderr if pipe else log.read()
        assert (done.returncode, said) in (
            (1, "relay: the kernel gives no descriptor for signals; raise the limit of open files (ulimit -n)\n"),
            (1, "relay: cluster-0: cannot listen on 127.0.0.1:0: Too many open files\n"),
        )


# Time


def test_stopped_and_continued(lab: Lab) -> None:
    """Stopped for longer than its time-outs (SIGSTOP, a frozen container): what is due comes once, at once; open pairs go on."""
    relay = lab.relay(pairs=4, wait_timeout="1s")
    client, gateway = lab.pair(relay)
    waiting = lab.gateway(relay)
    relay.wait_log("waiting", count=2)
    relay.signal(signal.SIGSTOP)
    client.send(b"meanwhile")
    gateway.silent(1.2)
    relay.signal(signal.SIGCONT)
    assert gateway.read(9) == b"meanwhile"
    assert relay.wait_log("session-end")["reason"] == "wait-timeout"
    assert waiting.gone(within=2) in ("eof", "reset")
    cpu = relay.cpu()
    assert client.silent(0.3)
    assert relay.cpu() - cpu < 0.1


@ROOT_ONLY
def test_a_machine_that_has_run_for_centuries(lab: Lab) -> None:
    """A monotonic clock of 126 years, beyond which the kernel lets nobody set it: time-outs are as long as ever."""
    clock = ["unshare", "-T", "--monotonic", str(4_000_000_000), "--fork"]
    if subprocess.run([*clock, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no time namespace is to be had")
    log = lab.folder / "log"
    words = ("--target", lab.refusing().address, "--wait-timeout", "400ms", "--pairs", "4")
    with open(log, "wb") as stderr, bare(lab, *clock, words=words, stderr=stderr) as (_, place):
        until(lambda: "session-end" in log.read_text(), "the end of the first look at the relay")
        gateway = lab.add(connect(place + "-g"))
        assert gateway.silent(0.2)
        assert gateway.gone(within=3) in ("eof", "reset")
        os.kill(int(parse(log.read_text().splitlines()[0])["pid"]), signal.SIGTERM)  # unshare itself does not pass it on
    ends = [line for line in map(parse, log.read_text().splitlines()) if line.event == "session-end" and line["reason"] == "wait-timeout"]
    assert ends and 390 <= ends[-1]["duration_ms"] < 400 + seconds(1) * 1000
