# SPDX-License-Identifier: Apache-2.0
"""What is installed, without a systemd to run it (tests/systemd has one): units, what they allow, versions that agree."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.process import command
from harness.scale import BIN, ROOT, seconds

SERVICES = ["relay.service", "relay@.service"]
UNITS = [*SERVICES, "relay@.socket"]


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the units as they are installed below a prefix where the program is, too."""
    for program in ("cmake", "systemd-analyze"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here")
    prefix, build = tmp_path_factory.mktemp("prefix"), tmp_path_factory.mktemp("build")
    (prefix / "bin").mkdir()
    (prefix / "bin" / "relay").symlink_to(BIN)
    words = ["cmake", "-S", str(ROOT), "-B", str(build), "-G", "Ninja", "-DRELAY_TESTS=OFF", f"-DCMAKE_INSTALL_PREFIX={prefix}"]
    subprocess.run(words, check=True, capture_output=True, timeout=seconds(60))
    return build / "units"


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=seconds(30), check=False,
    )


def complaints(folder: Path) -> list[str]:
    """What systemd says about the units, and not about those of the machine."""
    said = analyze("verify", "--man=no", *(str(folder / unit) for unit in UNITS)).stdout
    return [line for line in said.splitlines() if "relay" in line]


def test_units_are_clean(units: Path) -> None:
    """systemd has nothing to say about a unit."""
    assert sorted(path.name for path in units.iterdir()) == sorted(UNITS)
    assert complaints(units) == []


@pytest.mark.parametrize("old, new", [("WatchdogSec=30", "WatchdogSec=often"), ("LockPersonality=", "LockPersonalty="), ("bin/relay", "bin/none")])
def test_a_fault_in_a_unit_is_noticed(units: Path, tmp_path: Path, old: str, new: str) -> None:
    """(The check above does find what is wrong.)"""
    for path in units.iterdir():
        (tmp_path / path.name).write_text(path.read_text().replace(old, new))
    assert complaints(tmp_path)


@pytest.mark.parametrize("unit", SERVICES)
def test_exposure(units: Path, unit: str) -> None:
    """systemd finds a service well shut in: an exposure of 1.5 or less, of 10."""
    done = analyze("security", "--offline=true", "--threshold=15", str(units / unit))
    assert done.returncode == 0, "\n".join(line for line in done.stdout.splitlines() if line.startswith(("✗", "→")))
    assert analyze("security", "--offline=true", "--threshold=5", str(units / unit)).returncode != 0  # it does judge


def test_one_service_is_like_the_other(units: Path) -> None:
    """Both services have the same settings but for where their job's name comes in."""
    one, other = ([line for line in (units / unit).read_text().splitlines() if "=" in line and not line.startswith("#")] for unit in SERVICES)
    assert {line.split("=")[0] for line in one} == {line.split("=")[0] for line in other}
    assert {line.split("=")[0] for line in set(one) ^ set(other)} == {"Description", "ExecStart", "RuntimeDirectory", "StateDirectory"}


@pytest.mark.parametrize("unit, folder", [("relay.service", "relay"), ("relay@.service", "relay-%i")])
def test_a_spool_has_a_place(units: Path, unit: str, folder: str) -> None:
    """Each service has a folder for its spool that outlives it, for itself alone; the manual says which."""
    text = (units / unit).read_text()
    assert f"\nStateDirectory={folder}\nStateDirectoryMode=0700\n" in text
    manual = (ROOT / "man" / "relay.1").read_text()
    assert "/var/lib/" + folder.replace("-%i", "- Ns Ar JOB") in manual


def test_stop_outlasts_the_drain(units: Path) -> None:
    """systemd does not kill a relay that still delivers: it waits longer than the default of drain-timeout."""
    default = re.search(r"--drain-timeout.*?default: (\d+)s\)", command("help", "run").stdout, re.DOTALL)
    assert default
    for unit in SERVICES:
        patience = re.search(r"^TimeoutStopSec=(\d+)$", (units / unit).read_text(), re.MULTILINE)
        assert patience and int(patience[1]) > 2 * int(default[1])


def test_version_of_the_package() -> None:
    """The package's changelog is about this version."""
    version = command("--version").stdout.split()[1]
    assert (ROOT / "packaging" / "debian" / "changelog").read_text().startswith(f"relay ({version}-1) ")
