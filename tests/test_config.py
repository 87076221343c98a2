# SPDX-License-Identifier: Apache-2.0
"""The file: several relays in one process, the keys of the command line, and every fault with file and line."""
# Issue: points 5 and 7, `relay run` and `relay check`.

import re
from pathlib import Path

import pytest

from harness.lab import Lab
from harness.peers.target import echo
from harness.process import command
from harness.sockets import connect

HEAD = '[[relay]]\nport = 0\ntarget = "127.0.0.1:9"\n'


def faults(path: Path) -> list[tuple[int, str]]:
    """What `relay check` finds: (line, what), with exit code 2; `relay run` finds the same."""
    done = command("check", "-c", str(path))
    assert done.returncode == 2, done
    found = []
    for line in done.stderr.splitlines():
        place = re.fullmatch(rf"relay: {re.escape(str(path))}:(\d+): (.+)", line)
        if place:
            found.append((int(place[1]), place[2]))
        else:
            assert not line.startswith("relay: /"), f"no line number: {line}"
    assert found, done.stderr
    run = command("run", "-c", str(path))
    assert (run.returncode, run.stderr) == (2, done.stderr)
    return found


def one_fault(lab: Lab, text: str) -> tuple[int, str]:
    (fault,) = faults(lab.file("relay.toml", text))
    return fault


def test_several_relays_in_one_process(lab: Lab) -> None:
    """Two [[relay]] tables are two relays, each with its own target and name in the log."""
    one, two = lab.target(echo), lab.target()
    relay = lab.run(
        f"""
        log-level = "debug"

        [[relay]]
        name = "one"
        listen = ["127.0.0.1"]
        port = 0
        gateway = "127.0.0.2"
        target = "{one.address}"

        [[relay]]
        kind = "cluster"
        name = "two"
        listen = "127.0.0.1"
        port = 0
        gateway = ["127.0.0.2", "127.0.5.0/24"]
        target = "{two.address}"
        queue-size = "64KiB"
        """
    )
    first = lab.add(connect(relay.address("client", "one"), "127.0.0.3"))
    first.send(b"hello")
    assert first.read(5) == b"hello"
    second = lab.add(connect(relay.address("client", "two"), "127.0.0.3"))
    two.accept().send(b"two here")
    assert second.read(8) == b"two here"
    assert relay.stats("one")["clients"] == relay.stats("two")["clients"] == 1
    relay.wait_log("accepted", relay="one", peer=first.local)
    relay.wait_log("accepted", relay="two", peer=second.local)


def test_values_of_a_file(lab: Lab) -> None:
    """Durations, sizes, switches and numbers mean in the file what they mean on the command line."""
    relay = lab.run(
        """
        log-format = "json"
        log-level = "debug"
        [[relay]]
        listen = "127.0.0.1"
        port = 0
        gateway = "127.0.0.2"
        target = "127.0.0.1:9"
        queue-size = 65536
        keepalive = 0
        nodelay = false
        pairs = 2
        wait-timeout = "300ms"
        idle-timeout = "0"
        """
    ).allow("session-end")
    gateway = lab.gateway(relay)
    gateway.send(b"x" * 70_000)
    assert relay.wait_log("queue-full")["size"] == 65_536
    assert relay.wait_log("session-end", timeout=3)["reason"] == "wait-timeout"
    assert all(line.raw.startswith("{") for line in relay.lines)


def test_command_line_over_the_file(lab: Lab) -> None:
    """`relay run -c FILE --log-level debug`: a global key on the command line beats the file's."""
    path = lab.file("relay.toml", 'log-level = "error"\n' + HEAD.replace("port = 0", 'listen = "127.0.0.1"\nport = 0'))
    relay = lab.start("run", "-c", str(path), "--log-level", "debug")
    relay.wait_log("ready")


def test_check_says_what_would_run(lab: Lab) -> None:
    """`relay check` prints the relays, where they listen and whom they dial, and binds nothing."""
    port = lab.target().port  # in use, which is no fault of the file
    path = lab.file(
        "relay.toml",
        f'[[relay]]\nname = "billing"\nlisten = "127.0.0.1"\nport = {port}\ntarget = "10.0.0.5:9999"\n'
        f'[[relay]]\nlisten = "unix:{lab.folder}/sock"\ntarget = "_db._tcp.example.org"\nqueue-size = "1MiB"\n',
    )
    done = command("check", "-c", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("billing", "127.0.0.1", str(port), "10.0.0.5:9999", f"unix:{lab.folder}/sock", "_db._tcp.example.org"):
        assert word in done.stdout, f"{word} is not in\n{done.stdout}"
    assert not (lab.folder / "sock").exists()


def test_check_says_nothing_that_a_terminal_obeys(lab: Lab) -> None:
    """A file from somebody else cannot steer the terminal of who checks it: what turns or erases a line is written by its number."""
    path = lab.file("relay.toml", HEAD + 'name = "\\u009b2J\u009b2J\\u202e\u202e\\u2066é"\n')
    done = command("check", "-c", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert 'name = "\\u009b2J\\u009b2J\\u202e\\u202e\\u2066é"\n' in done.stdout
    other = command("check", "-c", str(path), "--admin", "unix:/\x9b2J\udcff")
    assert (other.returncode, other.stdout.count("\x9b")) == (0, 0)
    assert 'admin = "unix:/\\u009b2J\\xff"\n' in other.stdout
    path = lab.file("relay.toml", HEAD + 'listen = "tls://127.0.0.1"\ncert = "/\\u009b2J\\u202e"\n')
    for told in (command("check", "-c", str(path)), command("run", "-c", str(path))):
        assert told.returncode == 2 and "\x9b" not in told.stderr and "\u202e" not in told.stderr
        assert "/\\xc2\\x9b2J\\xe2\\x80\\xae" in told.stderr


def test_every_fault_in_one_run(lab: Lab) -> None:
    """Six mistakes in a file are six lines, each with its place, the remedy included."""
    path = lab.file(
        "relay.toml",
        "\n".join(
            [
                'log-level = "loud"',  # 1
                'colour = "red"',  # 2
                "[[relay]]",  # 3: no target
                "port = 70000",  # 4
                "[[relay]]",  # 5
                "port = 0",  # 6
                'target = "127.0.0.1"',  # 7
                'quue-size = "1MiB"',  # 8
                'idle-timeout = "5 parsecs"',  # 9
            ]
        ),
    )
    found = dict(faults(path))
    assert sorted(found) == [1, 2, 3, 4, 7, 8, 9], found
    assert "target" in found[3]
    assert "queue-size" in found[8]
    assert "5 parsecs" in found[9]


@pytest.mark.parametrize(
    "line, says",
    [
        ('quue-size = "1MiB"', "queue-size"),
        ('tarjet = "127.0.0.1:9"', "target"),
        ('log-level = "info"', "log-level"),  # a global key belongs at the top
        ('queue-size = "lots"', "lots"),
        ("queue-size = -5", "-5|at least"),
        ('connect-timeout = "5"', "5"),
        ("connect-timeout = 5", "unit|500ms|5s|duration"),
        ('gateway = ["10.0.0.0/33"]', "10.0.0.0/33"),
        ('gateway = [1]', "text|string|address|1"),
        ('nodelay = "perhaps"', "perhaps"),
        ("pairs = 0", "0|at least"),
        ("pairs = [1, 2]", "one|list|number|single"),
        ('kind = "cluser"', "cluster"),
        ('listen = "localhost"', "localhost"),
    ],
)
def test_fault_is_named_with_its_line(lab: Lab, line: str, says: str) -> None:
    """A wrong key or value: file:line, and the nearest known key or what is expected."""
    where, what = one_fault(lab, f"# a comment\n\n{HEAD}{line}\n")
    assert where == 6
    assert re.search(says, what), what


def test_unknown_global_key(lab: Lab) -> None:
    """A mistyped key at the top of the file is named with the nearest one."""
    where, what = one_fault(lab, 'drain-timout = "5s"\n' + HEAD)
    assert where == 1
    assert "drain-timeout" in what


def test_relay_key_outside_of_a_relay(lab: Lab) -> None:
    """A relay's key at the top of the file is not silently ignored."""
    where, what = one_fault(lab, 'queue-size = "1MiB"\n' + HEAD)
    assert where == 1
    assert "queue-size" in what


def test_misspelt_table(lab: Lab) -> None:
    """[[rely]] instead of [[relay]] is a fault, not a relay less."""
    path = lab.file("relay.toml", HEAD + '[[rely]]\nport = 0\ntarget = "127.0.0.1:9"\n')
    assert any(line >= 4 and "rely" in what for line, what in faults(path))


def test_syntax_error(lab: Lab) -> None:
    """What is not TOML is refused with the line where it stops being it."""
    where, what = one_fault(lab, HEAD + "gateway = [ \"127.0.0.1\"\nclient = \n")
    assert where in (4, 5, 6)
    assert what


def test_key_given_twice(lab: Lab) -> None:
    """The same key twice in one table is a fault (it is one of TOML)."""
    where, _ = one_fault(lab, HEAD + "port = 1\n")
    assert where == 4


@pytest.mark.parametrize("text", ["", "# nothing\n", 'log-level = "info"\n'])
def test_no_relay(lab: Lab, text: str) -> None:
    """A file without a relay is a fault that says how one is written."""
    done = command("check", "-c", str(lab.file("relay.toml", text)))
    assert done.returncode == 2
    assert "[[relay]]" in done.stderr


@pytest.mark.parametrize("admin, listen", [("tcp://127.0.0.1:9901", "127.0.0.1:9901"), ("tcp://127.0.0.1:9901", "0.0.0.0:9901"), ("unix:/tmp/there", "unix:/tmp/there")])
def test_admin_where_a_relay_listens(lab: Lab, admin: str, listen: str) -> None:
    """The admin address is a place of its own."""
    where, what = one_fault(lab, f'admin = "{admin}"\n\n[[relay]]\nlisten = "{listen}"\ntarget = "127.0.0.1:9"\n')
    assert where == 1
    assert "give it a place of its own" in what
    done = command("start", "--listen", listen, "--target", "127.0.0.1:9", "--admin", admin)
    assert done.returncode == 2 and "give it a place of its own" in done.stderr


def test_one_place_twice(lab: Lab) -> None:
    """A relay that is to listen at one place twice is told so, and not that another relay has it."""
    _, what = one_fault(lab, '[[relay]]\nkind = "plex"\nupstream = "grpc://127.0.0.1:9"\nlisten = ["127.0.0.1:7999", "0.0.0.0:7999"]\n')
    assert "are one place; take one out" in what


def test_key_of_another_kind(lab: Lab) -> None:
    """Who has forgotten the kind is told which has that key."""
    for key, kind in (("upstream", "plex"), ("url", "redis")):
        path = lab.file("relay.toml", f'[[relay]]\nlisten = "127.0.0.1:0"\n{key} = "x://127.0.0.1:9"\n')
        assert any(line == 3 and f'it is for kind = "{kind}"' in what for line, what in faults(path))


def test_no_port(lab: Lab) -> None:
    """A relay without a port, with none in its addresses either, is a fault at its [[relay]]."""
    where, what = one_fault(lab, '\n[[relay]]\ntarget = "127.0.0.1:9"\n')
    assert where in (2, 3)
    assert "port" in what


def test_one_bad_relay_starts_none(lab: Lab) -> None:
    """`relay run`: if one of two relays cannot be bound neither starts, and the line names the address."""
    port = lab.target().port
    path = lab.file(
        "relay.toml",
        '[[relay]]\nlisten = "127.0.0.1"\nport = 0\ntarget = "127.0.0.1:9"\n'
        f'[[relay]]\nname = "second"\nlisten = "127.0.0.1:{port}"\ntarget = "127.0.0.1:9"\n',
    )
    done = command("run", "-c", str(path))
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "in use" in done.stderr.lower()
