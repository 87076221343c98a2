# SPDX-License-Identifier: Apache-2.0
"""Tab in bash and in zsh: commands, options, what they take, files. What is offered is what the program's help has."""

import os
import pty
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.process import command
from harness.scale import BIN, ROOT, seconds

PLACE = ROOT / "packaging" / "completions"
Complete = Callable[..., list[str]]

BASH = r"""
source "$1"; shift
[[ $(complete -p relay) == 'complete -F _relay relay' ]] || exit 1
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_relay
printf '%s\n' "${COMPREPLY[@]}"
"""

# An interactive zsh that completes $LINE at its first prompt, writes each match to $MATCHES, and goes.
ZSH = r"""
fpath=($PLACE $fpath)
autoload -Uz compinit
compinit -u -D
compadd() {
  local -a hits
  [[ " ${@[1,(i)(-|--)]} " == *' -'[OAD]' '* ]] || builtin compadd -A hits "$@"
  (( $#hits )) && print -rl -- $hits >> $MATCHES
  builtin compadd "$@"
}
zle -C ask complete-word _main_complete
zle-line-init() {
  BUFFER=$LINE CURSOR=$#LINE
  zle ask
  kill -KILL $$
}
zle -N zle-line-init
"""


def in_bash(*words: str, cwd: Path = ROOT) -> list[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", str(PLACE / "relay.bash"), str(BIN), *words],
        cwd=cwd, capture_output=True, text=True, timeout=seconds(20), check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.split()


def in_zsh(*words: str, cwd: Path = ROOT) -> list[str]:
    folder = Path(os.environ["ZDOTDIR"])
    (folder / ".zshrc").write_text(ZSH)
    matches = folder / "matches"
    matches.write_text("")
    line = " ".join(["relay", *words]).replace(" = ", "=")
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), "ZDOTDIR": str(folder), "TERM": "dumb", "PLACE": str(PLACE),
        "LINE": line, "MATCHES": str(matches),
    }
    leader, follower = pty.openpty()
    try:
        subprocess.run(
            ["zsh", "-i"], cwd=cwd, env=environment, stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
            timeout=seconds(20), check=False,
        )
    finally:
        os.close(leader)
        os.close(follower)
    # "--key=" and "--key" are one option to a user.
    return [match.rstrip("=") for match in matches.read_text().split()]


@pytest.fixture(params=["bash", "zsh"])
def complete(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Complete:
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param} here")
    (tmp_path / "relay").symlink_to(BIN)
    monkeypatch.setenv("ZDOTDIR", str(tmp_path))
    return {"bash": in_bash, "zsh": in_zsh}[request.param]


def commands() -> set[str]:
    block = command("help").stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    return set(re.findall(r"^  ([a-z]+) ", block, re.MULTILINE))


def options(of: str) -> set[str]:
    return set(re.findall(r"^  (--[a-zA-Z-]+)", command("help", of).stdout, re.MULTILINE))


def test_commands(complete: Complete) -> None:
    """Tab behind `relay` offers each command, and behind a few letters those that begin so."""
    assert {"start", "run", "check", "help"} <= commands()
    assert set(complete("")) - {"--help", "--version"} == commands()
    assert {word for word in complete("st") if word.startswith("st")} == {word for word in commands() if word.startswith("st")}
    assert set(complete("help", "")) >= commands() - {"help"}


def test_options(complete: Complete) -> None:
    """Each option of a command is offered, and no other; `-c` where there is a file to name."""
    for of in sorted(commands() - {"help"}):
        file = {"-c", "--config"} if of in ("run", "check") else set()
        assert set(complete(of, "-")) - {"--help"} == options(of) | file, of
        assert len(options(of)) > 3


def test_choices(complete: Complete) -> None:
    """An option that takes one of a few words offers these, behind a blank and behind an equals sign."""
    assert complete("start", "--log-level", "") == ["error", "warn", "info", "debug"]
    assert complete("run", "-c", "x", "--log-format", "j") == ["json"]
    assert complete("start", "--log-format", "=", "j") == ["json"]
    assert complete("start", "--nodelay", "") == ["true", "false"]
    assert complete("plex", "--balance", "") == ["sticky", "round-robin", "least-clients", "hash"]


def test_files(complete: Complete, tmp_path: Path) -> None:
    """`-c` offers configuration files and folders, and no others."""
    folder = tmp_path / "etc"
    (folder / "more").mkdir(parents=True)
    for name in ("func1.toml", "func2.env", "old.conf", "other.txt"):
        (folder / name).touch()
    for option in ("-c", "--config"):
        offered = {word.rstrip("/").rpartition("/")[2] for word in complete("run", option, "", cwd=folder)}
        assert offered == {"func1.toml", "func2.env", "old.conf", "more"}
        offered = {word.rstrip("/").rpartition("/")[2] for word in complete(option, "", cwd=folder)}
        assert offered == {"func1.toml", "func2.env", "old.conf", "more"}
    assert complete("-c", "x", "--log-format", "j") == ["json"]


def test_after_options(complete: Complete) -> None:
    """What is already typed does not get in the way."""
    assert "--target" in complete("start", "--port", "9000", "--nodelay", "--t")
