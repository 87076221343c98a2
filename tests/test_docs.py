# SPDX-License-Identifier: Apache-2.0
"""What is written is true: examples run as printed, and the manual names all that the program has, and nothing else.

In README.md, blocks marked `sh run` are typed, in order, into one bash; the `text` block behind one is what must then be seen,
in any order, `…` standing for anything. `toml` and `env` blocks must pass `relay check`. In the man pages a literal block below
`.\\" run` is run and must succeed, one below `.\\" check` or `.\\" check env` must pass `relay check`, one below `.\\" program` is a file of
examples/, and in all others each line that begins with `relay start` or `relay plex` must start. All that in a network of its own, where it can be had, so that ports are free.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.certs import stand_in
from harness.process import has_tls
from harness.scale import BIN, ROOT, seconds
from harness.until import until

README = ROOT / "README.md"
PAGES = sorted((ROOT / "man").glob("*.?"))
KINDS = sorted((ROOT / "kinds").glob("*/*.cpp"))
OTHERS = [ROOT / "relay.cpp", *(path for room in ("net", "ops", "run") for path in sorted((ROOT / room).glob("*.cpp")))]
SOURCES = [*OTHERS, *KINDS]
# A kind's command, its folder and page, the sections with its keys, and what it cannot do without.
COMMANDS = {
    "start": ("cluster", ["KEYS OF A RELAY"], {"port": "9000", "target": "127.0.0.1:9"}),
    "redis": ("redis", ["KEYS OF A REDIS RELAY", "TLS"], {"kind": "redis", "listen": "127.0.0.1:9000", "url": "127.0.0.1:9"}),
    "plex": ("plex", ["KEYS OF A PLEX", "TLS"], {"kind": "plex", "listen": "127.0.0.1:9000", "upstream": "127.0.0.1:9"}),
}
PROCESS_KEYS = ("drain-timeout", "log-level", "log-format", "dns", "admin", "admin-token-file", "admin-cert", "admin-key", "admin-connections")

# A network of its own has only a loopback, and that is down.
LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket() as any: fcntl.ioctl(any, 0x8914, struct.pack("16sh", b"lo", 0x41))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def isolated(*words: str) -> list[str]:
    """The command in a network of its own, if this user may have one."""
    for how in (["unshare", "-rn"], ["unshare", "-n"]):
        try:
            if subprocess.run([*how, sys.executable, "-c", LOOPBACK_UP, "true"], capture_output=True, check=False).returncode == 0:
                return [*how, sys.executable, "-c", LOOPBACK_UP, *words]
        except FileNotFoundError:
            break
    for port in (9000, 9001, 9999):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"port {port} is in use, and there is no network of our own to be had")
    return list(words)


def environment(folder: Path) -> dict[str, str]:
    """`relay` is in PATH, `bin/relay` in the folder, and Python does not keep its output back."""
    (folder / "bin").mkdir(exist_ok=True)
    if not (folder / "bin" / "relay").exists():
        (folder / "bin" / "relay").symlink_to(BIN)
    return {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}


def relay(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BIN), *words], capture_output=True, text=True, timeout=seconds(10), check=False)


def check_config(text: str, folder: Path, name: str = "relay.toml") -> None:
    if re.search("(tls|grpcs)://", text) and not has_tls():
        pytest.skip("built without TLS")
    path = folder / name
    path.write_text(stand_in(text, folder))
    done = relay("check", "-c", str(path))
    assert done.returncode == 0, done.stderr + text


# What is in the texts


def fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def steps() -> list[tuple[str, list[str]]]:
    """README's commands, each with the lines that must then be seen."""
    found = re.findall(r"^```sh run\n(.*?)^```\n(?:```text\n(.*?)^```$)?", README.read_text(), re.MULTILINE | re.DOTALL)
    return [(commands, expected.splitlines()) for commands, expected in found]


def literal_blocks(page: Path) -> Iterator[tuple[str, str]]:
    """(mark, text) of each literal block; the mark is `run`, `check` or empty."""
    for mark, text in re.findall(r'^(?:\.\\" (\w[\w ]*)\n)?\.Bd -literal[^\n]*\n(.*?)^\.Ed$', page.read_text(), re.MULTILINE | re.DOTALL):
        yield mark, text.replace("\\e", "\\").replace("\\&", "")


def blocks(mark: str) -> list[pytest.param]:  # type: ignore[valid-type]
    found = [(page, text) for page in PAGES for found_mark, text in literal_blocks(page) if found_mark == mark]
    return [pytest.param(text, id=f"{page.name}-{number}") for number, (page, text) in enumerate(found)]


def section(page: str, title: str) -> str:
    """The text of a man page's section or subsection."""
    text = (ROOT / "man" / page).read_text()
    found = re.search(rf"^\.S([hs]) {title}\n(.*?)(?=^\.Sh|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section {title}"
    return found[2].split("\n.Ss ")[0] if found[1] == "s" else found[2]


def items(text: str, macro: str) -> list[str]:
    """The words behind `.It MACRO` of a list, first words only; several if separated by commas."""
    return [word for line in re.findall(rf"^\.It {macro} (.*)$", text, re.MULTILINE) for word in line.split(" Pq ")[0].split(" , ")]


def source(*paths: Path) -> str:
    """Sources on one line, without comments."""
    return " ".join(" ".join(re.sub(r"//.*", "", path.read_text()).split()) for path in paths)


# Examples


def test_readme_runs_as_printed(tmp_path: Path) -> None:
    """A newcomer types what the README prints and sees what it prints."""
    output: list[str] = []
    bash = subprocess.Popen(
        isolated("bash", "--noprofile", "--norc"), cwd=tmp_path, env=environment(tmp_path), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )
    reader = threading.Thread(target=lambda: output.extend(bash.stdout), daemon=True)  # type: ignore[arg-type]
    reader.start()
    assert bash.stdin is not None
    try:
        assert len(steps()) >= 4
        for commands, expected in steps():
            seen = len(output)
            bash.stdin.write(commands)
            bash.stdin.flush()
            missing = list(expected)

            def all_seen(seen: int = seen, missing: list[str] = missing) -> bool:
                new = [line.strip() for line in output[seen:]]
                patterns = {line: ".*".join(map(re.escape, line.split("…"))) for line in missing}
                missing[:] = [line for line, pattern in patterns.items() if not any(re.fullmatch(pattern, one) for one in new)]
                return not missing

            until(all_seen, lambda: f"after:\n{commands}not seen: {missing}\nin: {''.join(output[seen:])}")
        bash.stdin.close()
        assert bash.wait(seconds(10)) == 0, "".join(output)
    finally:
        if bash.poll() is None:
            os.killpg(bash.pid, signal.SIGKILL)
        bash.wait()


@pytest.mark.parametrize("text", blocks("run"))
def test_man_example_runs(text: str, tmp_path: Path) -> None:
    """A man page's example, copied into a shell, works."""
    done = subprocess.run(
        isolated("bash", "-e"), input=text, cwd=tmp_path, env=environment(tmp_path), text=True,
        capture_output=True, timeout=seconds(30), check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def started_lines() -> list[str]:
    texts = [text for page in PAGES for mark, text in literal_blocks(page) if not mark]
    texts += fences("sh") + [relay("help", command).stdout for command in ("start", "plex")]
    return sorted({line.strip() for text in texts for line in text.splitlines() if re.match(r" *relay (start|plex) .*[^\\&]$", line)})


@pytest.mark.parametrize("line", started_lines())
def test_command_line_starts(line: str, tmp_path: Path) -> None:
    """A command line of the man pages or the help is one that the program takes."""
    if "grpcs://" in line and not has_tls():
        pytest.skip("built without TLS")
    words = [word.replace("unix:/run/", f"unix:{tmp_path}/") for word in line.split()[1:]]
    child = subprocess.Popen(isolated(str(BIN), *words), stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    try:
        for said in child.stderr:
            assert not said.startswith("relay: "), said
            if " ready " in said:
                break
        child.send_signal(signal.SIGTERM)
        assert child.wait(seconds(10)) == 0
    finally:
        child.kill()
        child.wait()
        child.stderr.close()


@pytest.mark.parametrize("text", [*blocks("check"), *(pytest.param(text, id=f"README-{n}") for n, text in enumerate(fences("toml")))])
def test_config_in_the_text_loads(text: str, tmp_path: Path) -> None:
    """A configuration of the manual has no fault."""
    check_config(text, tmp_path)


@pytest.mark.parametrize("path", sorted(path for path in (ROOT / "examples").rglob("*") if path.suffix in {".toml", ".conf"}), ids=lambda path: str(path.relative_to(ROOT / "examples")))
def test_example_loads(path: Path, tmp_path: Path) -> None:
    """An example configuration has no fault, and says what it is."""
    check_config(path.read_text(), tmp_path)
    assert path.read_text().startswith("# SPDX-License-Identifier: Apache-2.0\n# ")


@pytest.mark.parametrize("text", [*blocks("check env"), *(pytest.param(text, id=f"README-{n}") for n, text in enumerate(fences("env")))])
def test_short_configuration_in_the_text_loads(text: str, tmp_path: Path) -> None:
    """A configuration of the manual in lines RELAY_KEY=VALUE has no fault."""
    check_config(text, tmp_path, "relay.env")


def test_program_in_the_text_is_the_example() -> None:
    """The upstream that relay-plex(7) shows is the one in examples/plex, which is tried below."""
    (text,) = (text for mark, text in literal_blocks(ROOT / "man" / "relay-plex.7") if mark == "program")
    assert text == (ROOT / "examples" / "plex" / "echo_upstream.py").read_text()


UPSTREAM_TRIED = f"""
trap 'kill $(jobs -p); wait' EXIT
for port in 45888 45889; do
  {sys.executable} {ROOT}/examples/plex/echo_upstream.py 127.0.0.1:$port >$port.log &
done
relay run -c {ROOT}/examples/plex/relay.toml 2>relay.log &
until [ "$(grep -sc upstream-up relay.log)" = 2 ]; do sleep 0.1; done
exec 3<>/dev/tcp/127.0.0.1/7999 4<>/dev/tcp/127.0.0.1/7999
echo hello >&3
head -n 1 <&3
echo '/all news' >&3
head -n 1 <&3
head -n 1 <&4
echo /quit >&4
cat <&4
"""


def test_upstream_example_runs(tmp_path: Path) -> None:
    """The example of an upstream, and the plex of the example beside it, do what is said of them."""
    pytest.importorskip("grpc")
    done = subprocess.run(
        isolated("bash", "-e"), input=UPSTREAM_TRIED, cwd=tmp_path, env=environment(tmp_path), text=True,
        capture_output=True, timeout=seconds(30), check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = [line for line in done.stdout.splitlines() if not re.match(r"listens|[0-9a-f]{8}-", line)]
    assert re.fullmatch(r"127\.0\.0\.1:4588[89]: hello", said[0])
    assert said[1:] == ["news", "news", "bye"]
    assert done.stderr == ""


def test_demo() -> None:
    """`make demo` shows what it promises, and says that it went well."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "py" / "demo.py")], env={**os.environ, "RELAY_BIN": str(BIN)},
        capture_output=True, text=True, timeout=seconds(60), check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "queued_bytes=262144" in done.stdout
    assert "the server is back, and all 600 are there" in done.stdout or "left out: this relay has no mode smart" in done.stdout
    assert "all three have their answers, under the same names" in done.stdout or "left out: " in done.stdout.partition("plex ")[2]
    assert "\033" not in done.stdout
    assert "The demo went well." in done.stdout


def test_demo_notices_a_failure(tmp_path: Path) -> None:
    """With a relay that does not work the demo says so, and its exit status too."""
    broken = tmp_path / "relay"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(ROOT / "py" / "demo.py")], env={**os.environ, "RELAY_BIN": str(broken)},
        capture_output=True, text=True, timeout=seconds(60), check=False,
    )
    assert done.returncode == 1
    assert "relay 1 has ended" in done.stderr


# The manual as text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_page_is_clean(page: Path) -> None:
    """mandoc has nothing to say about a man page."""
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")
    assert page.read_text().startswith('.\\" SPDX-License-Identifier: Apache-2.0\n')
    titles = re.findall(r"^\.Sh (.*)$", page.read_text(), re.MULTILINE)
    assert len(titles) == len(set(titles))


def test_man_pages_refer_to_pages_and_sections_that_exist() -> None:
    """A reference leads somewhere."""
    names = {page.name for page in PAGES}
    for page in PAGES:
        text = page.read_text()
        for name, number in re.findall(r"\.Xr (relay[a-z.-]*) (\d)", text):
            assert f"{name}.{number}" in names, f"{page.name}: {name}({number})"
        for name, number, title in re.findall(r"\.Xr (\S+) (\d) ,\n\.Sx ([A-Z -]+[A-Z])", text):
            section(f"{name}.{number}", title)


@pytest.mark.parametrize("path", [README, *sorted((ROOT / "doc").glob("*.md"))], ids=lambda path: path.name)
def test_links(path: Path) -> None:
    """A link in the README or the notes leads to a file. (The results are there once `make bench` has run.)"""
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if not link.startswith("http") and not link.startswith("doc/bench/"):
            assert (path.parent / link).exists(), link


@pytest.mark.parametrize("path", sorted((ROOT / "doc").glob("*.svg")), ids=lambda path: path.name)
def test_drawing(path: Path) -> None:
    """A drawing is well-formed, says what it shows to those who cannot see it, and brings its own background."""
    root = xml.etree.ElementTree.parse(path).getroot()
    names = [child.tag.rpartition("}")[2] for child in root.iter()]
    assert "title" in names and "desc" in names
    first = next(child for child in root if child.tag.endswith("rect"))
    assert first.get("fill") == "#ffffff"


def test_folder_map() -> None:
    """The README's map names each folder, and only what there is."""
    table = README.read_text().partition("## What is where")[2].partition("\n## ")[0]
    named = {name.split("/")[0] for row in table.splitlines() for name in re.findall(r"`([\w./]+)`", row.split(" | ")[0])}
    for name in named:
        assert (ROOT / name).exists(), name
    there = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")} - {"bin", "build", "__pycache__"}
    assert there <= named, there - named


def test_version_has_changes() -> None:
    """The changes of this version are written down."""
    version = relay("--version").stdout.split()[1]
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_license() -> None:
    """The licence is all there."""
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text and len(text) > 11000


# The manual against the program


def options(command: str) -> dict[str, str]:
    """Key and help of each option of a kind's command."""
    table = relay("help", command).stdout.partition("\nOptions:\n")[2]
    found = re.findall(r"^  --([a-zA-Z-]+)(.*(?:\n {6,}\S.*)*)", table, re.MULTILINE)
    return {key: " ".join(text.split()) for key, text in found}


def documented_keys(command: str) -> dict[str, str]:
    """Each key of relay.toml(5) that a kind has, with its text."""
    text = "".join(section("relay.toml.5", title) for title in ["KEYS OF THE PROCESS", *COMMANDS[command][1]])
    found = re.findall(r"^\.It Ic (\S+)\n(.*?)(?=^\.It|^\.El)", text, re.MULTILINE | re.DOTALL)
    return {key: " ".join(re.sub(r"^\.\w+ ", "", item, flags=re.MULTILINE).split()) for key, item in found}


OPTIONS = [(command, key) for command in COMMANDS for key in sorted(options(command))]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_key_is_documented(command: str) -> None:
    """relay.toml(5) has each option of a kind's command, and no others but `kind`, which is for files."""
    assert set(documented_keys(command)) - {"kind"} == set(options(command))
    assert len(options(command)) > 20


def test_options_of_the_process_are_in_relay_1() -> None:
    """relay(1) has the options that each command takes."""
    for title, said in (("Options", relay("help", "run").stdout.partition("For the whole process:\n")[2]), ("STATUS", relay("help", "status").stdout)):
        listed = set(re.findall(r"^\.It Fl -([a-z-]+) Ar", section("relay.1", title), re.MULTILINE)) - {"config"}
        assert listed == set(re.findall(r"^  --([a-z-]+)", said, re.MULTILINE)), title


@pytest.mark.parametrize(("command", "key"), OPTIONS)
def test_default_is_documented(command: str, key: str) -> None:
    """relay.toml(5) has the default that the help shows."""
    text, said = documented_keys(command)[key], options(command)[key]
    default = re.search(r"default: ([^;)]+)", said)
    if "required" in said:
        assert "Required" in text
    elif default is None:
        assert "No default" in text
    elif " " not in default[1]:
        assert re.search(rf"Default: {re.escape(default[1])}\b", text), text
    else:
        assert "Default:" in text


@pytest.mark.parametrize(("command", "key"), OPTIONS)
def test_range_is_documented(command: str, key: str, tmp_path: Path) -> None:
    """relay.toml(5) has the range that the program tells one who leaves it."""
    for value in ("999999999999", "876000h", "99999999GiB"):
        of_relay = dict(COMMANDS[command][2])
        of_process: dict[str, str] = {}
        (of_process if key in PROCESS_KEYS else of_relay)[key] = value
        lines = [f'{name} = "{text}"' for name, text in of_process.items()]
        lines += ["[[relay]]"] + [f'{name} = "{text}"' for name, text in of_relay.items()]
        path = tmp_path / "relay.toml"
        path.write_text("\n".join(lines))
        bounds = re.search(r"out of range; give a \w+ (from \S+ to \S+)", relay("check", "-c", str(path)).stderr)
        if bounds:
            assert bounds[1] in documented_keys(command)[key], f"{key}: {bounds[1]}"
            return


@pytest.mark.parametrize("kind", [kind for kind, _, _ in COMMANDS.values()])
def test_each_statistic_is_documented(kind: str) -> None:
    """A kind's page has each field of a `stats` line, gauges and counters apart, and no others."""
    rows = re.findall(r'\{"(\w+)", Type::k(\w+),', source(ROOT / "kinds" / kind / f"{kind}.cpp"))
    page = section(f"relay-{kind}.7", "STATISTICS")
    gauges, counters = page.split("Counters count")
    assert items(gauges, "Cm") == [name for name, kind in rows if kind == "Gauge"]
    assert items(counters, "Cm") == [name for name, kind in rows if kind == "Counter"] + ["log_dropped"]


def test_stats_line_is_documented(tmp_path: Path) -> None:
    """The line that the program writes has the documented fields."""
    words = ["--port", "0", "--listen", "127.0.0.1", "--target", "127.0.0.1:9", "--log-format", "json"]
    child = subprocess.Popen([str(BIN), "start", *words], stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    for line in child.stderr:
        if json.loads(line)["event"] == "ready":
            break
    child.send_signal(signal.SIGTERM)
    lines = [json.loads(line) for line in child.communicate(timeout=seconds(10))[1].splitlines()]
    (stats,) = (line for line in lines if line["event"] == "stats")
    assert list(stats)[4:] == items(section("relay-cluster.7", "STATISTICS"), "Cm")


FIELD = re.compile(r'\.(?:text|number|count)\( ?(?:\w+ \? )?"(\w+)"(?: : "(\w+)")?')
EVENT = re.compile(r'LogLine(?: (\w+))?\( ?(\w+)(?:::k(\w+))?, (?:(\w+) \? )?"([a-z-]+)"(?: : "([a-z-]+)")?\)')


def logged() -> dict[str, tuple[set[str], set[str]]]:
    """Each event in the sources with its levels and its fields. `is_a ? "a" : "b"` is two events, with the fields of each."""
    text = source(*SOURCES)
    found: dict[str, tuple[set[str], set[str]]] = {}
    for at in EVENT.finditer(text):
        variable, scope, level, condition, first, second = at.groups()
        statements = text[at.end() :].split(";")
        mine = statements[:1]
        for statement in statements[1:] if variable else []:
            if "LogLine" in statement:
                break
            if re.search(rf"\b{variable}\.", statement):
                mine.append(statement)
        for event, branch in ((first, 0), (second, 1)):
            levels, fields = found.setdefault(event, (set(), set())) if event else (set(), set())
            levels.add(level or scope)
            for statement in mine:
                only = condition and re.search(rf"\bif \((!?){condition}\)", statement)
                if not only or (only[1] == "!") == (branch == 1):
                    fields.update(names[branch] or names[0] for names in FIELD.findall(statement))
    return found


def described() -> dict[str, tuple[str, set[str]]]:
    """Each event of relay(1) with the first sentence of its text, which is its level, and its fields."""
    text = section("relay.1", "LOGS")
    text = re.sub(r"^\.It Xo\n(.*?)^\.Xc$", lambda m: ".It " + m[1].replace("\n", " "), text, flags=re.MULTILINE | re.DOTALL)
    found = {}
    for head, level in re.findall(r"^\.It (.*)\n(\w+)", text, re.MULTILINE):
        event, *fields = [word for word in head.split() if word not in {"Cm", ".Cm", "Op", ".Op", "Oo", "Oc"}]
        found[event] = (level, set(fields))
    return found


def test_each_event_is_documented() -> None:
    """relay(1) has each event that the sources log, its level and its fields, and no others."""
    events, pages = logged(), described()
    for event in ("resolve-failed", "dial-failed", "import-failed", "early-refused", "early-uncertain", "early-stuck", "cluster-unknown"):  # which of them, or how urgent, a variable says
        assert f'"{event}"' in source(*KINDS), event
        events[event] = ({"Warn"}, pages[event][1])
    assert set(events) == set(pages)
    assert len(events) > 15
    for event, (levels, fields) in events.items():
        level, documented = pages[event]
        if event == "stats":
            assert documented == {"relay", "..."}
            continue
        assert fields == documented, event
        if levels != {"level"}:
            assert levels == {{"Information": "Info", "Warning": "Warn", "Debug": "Debug", "Error": "Error"}[level]}, event


def test_each_reason_is_documented() -> None:
    """relay-cluster(7) has each reason why a session ends, and no others."""
    found = set(re.findall(r'\b(?:end|stop)\("([a-z-]+)"', source(*OTHERS, *(path for path in KINDS if path.parent.name == "cluster"))))
    session = source(ROOT / "kinds" / "cluster" / "session.cpp")
    found |= set(re.findall(r'"([a-z-]+-(?:closed|reset|error|timeout|truncated)|drained)"', session))
    found -= {"-reset", "-error", "-truncated"}
    assert found == set(items(section("relay-cluster.7", "Reasons"), "Cm"))


def test_each_reason_of_redis_is_documented() -> None:
    """relay-redis(7) has each reason why a client goes, and no others."""
    sources = [path for path in KINDS if path.parent.name == "redis" and "bool Session::" in path.read_text()]
    ends = re.findall(r"(?<!lease->)\b(?:end|close_when_said)\(([^;{]*)\);", source(*sources))
    found = {word for end in ends for word in re.findall(r'"([a-z-]+)"', end)} | {"terminated"}
    assert found == set(items(section("relay-redis.7", "Reasons"), "Cm"))


def test_each_reason_of_a_plex_is_documented() -> None:
    """relay-plex(7) has each reason why a client goes, as the log and as the protocol say it, and no others."""
    named = re.findall(r'case CloseReason::k\w+: return "([a-z-]+)";', source(ROOT / "kinds" / "plex" / "client.cpp"))
    text = section("relay-plex.7", "REASONS").partition("\n.Ss ")[0]
    assert items(text, "Cm") == [name for name in named if name != "none"]
    in_proto = re.findall(r"^  (CLOSE_\w+) = ", (ROOT / "proto" / "upstream.proto").read_text(), re.MULTILINE)
    assert re.findall(r"^(CLOSE_\w+)\.$", text, re.MULTILINE) == [name for name in in_proto if name != "CLOSE_NONE"]


def test_the_protocol_of_a_plex_is_documented() -> None:
    """relay-plex(7) names each event, command, broadcast, feature and report of the protocol, and no others."""
    page = (ROOT / "man" / "relay-plex.7").read_text()
    proto = (ROOT / "proto" / "upstream.proto").read_text()
    for prefix in ("EVENT", "COMMAND", "FEATURE", "DELIVERY", "CLOSE"):
        known = set(re.findall(rf"^  ({prefix}_\w+) = ", proto, re.MULTILINE))
        named = set(re.findall(rf"\b{prefix}_[A-Z_]*[A-Z]\b", page))
        assert named - known <= {"FEATURE_DELIVERY"}, named - known
        # What is said without words, and what is never said.
        assert known - named <= {"EVENT_DATA", "FEATURE_NONE", "DELIVERY_NONE", "DELIVERY_NO_GROUP", "CLOSE_NONE"}, known - named


@pytest.mark.parametrize(("kind", "title"), [("cluster", "REFUSALS"), ("plex", "Refusals")])
def test_each_refusal_is_documented(kind: str, title: str) -> None:
    """The kind's page has each reason why a connection is refused, and no others."""
    found = set(re.findall(r'\brefuse\([^;]*?"([a-z-]+)"\)', source(*(path for path in KINDS if path.parent.name == kind))))
    assert found == set(items(section(f"relay-{kind}.7", title), "Cm"))


def test_each_environment_variable_is_documented() -> None:
    """relay(1) has each variable that the program reads by name."""
    read = set(re.findall(r'\b(?:getenv|environment|for_this_process)\("(\w+)"\)', source(*SOURCES)))
    documented = set(items(section("relay.1", "ENVIRONMENT"), "Ev"))
    assert read <= documented
    assert {"CARES_HOSTS", "LOCALDOMAIN", "RES_OPTIONS"} == documented - read
