# SPDX-License-Identifier: Apache-2.0
"""Small checks of the tree itself: who includes whom, what is not used, licences, documented keys, examples that load."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.certs import stand_in
from harness.process import command, has_tls
from harness.scale import ROOT

# Includes go left only: lib, queue.h <- wire <- net <- ops <- relay.h <- kinds/K <- run <- relay.cpp
RANKS = {"lib": 0, "queue.h": 0, "wire": 1, "net": 2, "ops": 3, "relay.h": 4, "kinds": 5, "run": 6, "relay.cpp": 7}
PROGRAM = ("lib", "wire", "net", "ops", "kinds", "run", "queue.h", "relay.h", "relay.cpp")
LICENSED = (".cpp", ".h", ".py", ".sh", ".cmake")
SKIPPED = {"build", "bin", ".git", ".hypothesis"}


def sources(*suffixes: str, under: tuple[str, ...] = ("",)) -> Iterator[Path]:
    """The tree's own files, relative to its root; nothing built, nothing hidden but .ci."""
    for top in under:
        place = ROOT / top
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            parts = path.relative_to(ROOT).parts
            if path.is_file() and path.suffix in suffixes and not any(part in SKIPPED or part.startswith("build") for part in parts):
                yield path.relative_to(ROOT)


def lines(path: Path) -> list[str]:
    return (ROOT / path).read_text(encoding="utf-8").splitlines()


def room(path: Path) -> str:
    return path.parts[0]


def includes(path: Path) -> Iterator[tuple[int, Path]]:
    """The tree's own headers that a source includes."""
    for number, line in enumerate(lines(path), 1):
        found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if found:
            yield number, Path(found[1])


def test_there_is_something_to_check() -> None:
    """(The checks below do not pass because they look at nothing.)"""
    found = {room(path) for path in sources(".cpp", ".h", under=PROGRAM)}
    assert {"lib", "net", "ops", "kinds", "queue.h", "relay.h", "relay.cpp"} <= found
    assert sum(1 for path in sources(".cpp", ".h", under=PROGRAM) for _ in includes(path)) > 50
    assert len(list(sources(".py"))) > 15


def test_includes_go_left() -> None:
    """A room includes itself and the rooms to its left."""
    wrong = [
        f"{path}:{number}: includes {header}"
        for path in sources(".cpp", ".h", under=PROGRAM)
        for number, header in includes(path)
        if room(header) not in RANKS or RANKS[room(header)] > RANKS[room(path)]
    ]
    assert not wrong, "\n".join(wrong)


def test_kinds_do_not_know_each_other() -> None:
    """No kind includes another kind's headers."""
    wrong = [
        f"{path}:{number}: includes {header}"
        for path in sources(".cpp", ".h", under=("kinds",))
        for number, header in includes(path)
        if room(header) == "kinds" and header.parts[1] != path.parts[1]
    ]
    assert not wrong, "\n".join(wrong)


def test_unused_headers_of_the_standard_library() -> None:
    """The program has no iostream (it doubles the binary), no regex, no threads."""
    banned = re.compile(r"\s*#\s*include\s+<(iostream|regex|thread|future|mutex|condition_variable)>")
    wrong = [
        f"{path}:{number}: {line.strip()}"
        for path in sources(".cpp", ".h", under=PROGRAM)
        for number, line in enumerate(lines(path), 1)
        if banned.match(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_log_knows_the_time_of_day() -> None:
    """No timer goes by a clock that somebody may set. (run/show.cpp shows when the process was started; a plex tells its upstreams the time.)"""
    wall = re.compile(r"\bunix_ms\b|CLOCK_REALTIME|\bgettimeofday\b|\bsystem_clock\b|\btime\(nullptr\)")
    found = {
        str(path)
        for path in sources(".cpp", ".h", under=PROGRAM)
        for line in lines(path)
        if wall.search(re.sub(r"//.*|SYS_\w+", "", line))
    }
    assert found == {"lib/log.h", "lib/log.cpp", "net/sys.h", "net/sys.cpp", "ops/console.h", "ops/console.cpp", "run/show.cpp", "kinds/plex/plex.cpp"}


def test_headers_are_guarded() -> None:
    """Each header says #pragma once."""
    wrong = [str(path) for path in sources(".h") if "#pragma once" not in lines(path)]
    assert not wrong, wrong


def test_licence_in_line_one() -> None:
    """Line 1 of each source (line 2 of a script) is its SPDX tag."""
    wrong = []
    for path in sources(*LICENSED):
        head = lines(path)[:2]
        line = head[1] if head and head[0].startswith("#!") else head[0] if head else ""
        if not re.fullmatch(r"(//|#) SPDX-License-Identifier: Apache-2\.0", line):
            wrong.append(f"{path}: {line!r}")
    assert not wrong, "\n".join(wrong)


def test_one_sleep() -> None:
    """Tests and harness sleep nowhere but in until()."""
    sleep = re.compile(r"\btime\.sleep\b|\bimport sleep\b|\bfrom time import\b.*\bsleep\b|\basyncio\.sleep\b")
    here = Path(__file__).resolve().relative_to(ROOT)
    found = {
        str(path)
        for path in sources(".py", under=("py", "tests"))
        for line in lines(path)
        if path != here and sleep.search(line)
    }
    assert found == {"py/harness/until.py"}


def test_tests_say_what_a_user_notices() -> None:
    """Each test begins with a docstring."""
    wrong = []
    for path in sources(".py", under=("tests",)):
        text = lines(path)
        for number, line in enumerate(text):
            if re.match(r"\s*def test_", line):
                body = next(rest for rest in text[number + 1 :] if not re.match(r"\) -> |[ )]*$|.*\) -> None:$", rest) or '"""' in rest)
                if '"""' not in body and not line.rstrip().endswith('"""'):
                    wrong.append(f"{path}:{number + 1}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


def option_names() -> list[str]:
    done = command("start", "--help")
    assert done.returncode == 0, done.stderr
    return sorted(set(re.findall(r"^\s+(?:-\w, )?--([a-z][a-z-]*)\b", done.stdout, re.MULTILINE)))


def test_every_option_is_in_a_man_page() -> None:
    """What `relay start --help` lists stands in a man page."""
    names = option_names()
    assert len(names) >= 25, names
    pages = [ROOT / "man" / page for page in ("relay.1", "relay.toml.5", "relay-cluster.7")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages if page.exists())
    assert text, "no man pages"
    # mdoc writes an option as `.Fl -name`, `.It Cm name`; a hyphen may be `\-`.
    words = set(re.findall(r"[a-z]+(?:-[a-z]+)*", text.replace("\\-", "-").replace("\\&", "").replace("--", " ")))
    missing = [name for name in names if name not in words | {"help", "version"}]
    assert not missing, f"in no man page: {missing}"


EXAMPLES = sorted(path.relative_to(ROOT) for path in (ROOT / "examples").rglob("*.toml"))


def test_there_are_examples() -> None:
    """Somebody who wants a file to start from finds one."""
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_examples_load(path: Path, tmp_path: Path) -> None:
    """Each example is a file that `relay check` has nothing against."""
    if "tls://" in (ROOT / path).read_text() and not has_tls():
        pytest.skip("built without TLS")
    copy = tmp_path / "relay.toml"
    copy.write_text(stand_in((ROOT / path).read_text(), tmp_path))
    done = command("check", "-c", str(copy), cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_size_of_files() -> None:
    """No giant file: a source of the program stays within 800 lines, a header within 300."""
    wrong = [
        f"{path}: {len(lines(path))} lines"
        for path in sources(".cpp", ".h", under=PROGRAM)
        if len(lines(path)) > (300 if path.suffix == ".h" else 800)
    ]
    assert not wrong, "\n".join(wrong)
