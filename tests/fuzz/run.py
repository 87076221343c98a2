#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fuzzes: each target for a while, from its committed corpus, two at a time; then says what the corpus covers.

    tests/fuzz/run.py BUILD SECONDS [TARGET ...]    BUILD is a build folder with the targets in it (make fuzz makes one)
    tests/fuzz/run.py BUILD --keep [TARGET ...]     what earlier runs have found that is new goes into tests/fuzz/corpus,
                                                    as little of it as reaches all that is reached now

An input that brings a target down stays in BUILD/crashes, and the exit status is 1. To see it again: BUILD/fuzz_NAME FILE.
What a run finds stays in BUILD/work, for the next one. A target says in a line `// covers:` which files it is there for.
"""

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMITS = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=4096"]


def names(build: Path) -> list[str]:
    return sorted(path.name.removeprefix("fuzz_") for path in build.glob("fuzz_*") if os.access(path, os.X_OK) and path.is_file())


def call(build: Path, name: str, *words: str, profile: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LLVM_PROFILE_FILE": str(profile or "/dev/null")}
    return subprocess.run([str(build / f"fuzz_{name}"), *LIMITS, *words], capture_output=True, text=True, errors="replace", env=environment, check=False)


def folders(build: Path, name: str) -> tuple[Path, Path]:
    """What runs have found, and what is committed."""
    work, corpus = build / "work" / name, HERE / "corpus" / name
    for folder in (work, corpus):
        folder.mkdir(parents=True, exist_ok=True)
    return work, corpus


def fuzz(build: Path, name: str, seconds: int) -> tuple[str, int, str]:
    """The target's name, how many inputs it was given, and what went wrong, if anything did."""
    work, corpus = folders(build, name)
    crashes = build / "crashes"
    crashes.mkdir(exist_ok=True)
    dictionary = HERE / f"{name}.dict"
    words = [f"-max_total_time={seconds}", f"-artifact_prefix={crashes}/{name}-", "-print_final_stats=1"]
    words += [f"-dict={dictionary}"] if dictionary.exists() else []
    done = call(build, name, *words, str(work), str(corpus))
    runs = re.search(r"stat::number_of_executed_units: (\d+)", done.stderr)
    trouble = "" if done.returncode == 0 else "\n".join(done.stderr.splitlines()[-60:])
    return name, int(runs[1]) if runs else 0, trouble


def coverage(build: Path, name: str, source: Path, *inputs: Path) -> list[tuple[str, int, int]]:
    """(file, lines reached, lines) of the files that the target is there for, by these inputs."""
    raw, merged = build / f"{name}.profraw", build / f"{name}.profdata"
    call(build, name, "-runs=0", *map(str, inputs), profile=raw)
    subprocess.run(["llvm-profdata", "merge", "-sparse", str(raw), "-o", str(merged)], check=True)
    report = subprocess.run(
        ["llvm-cov", "export", "-summary-only", f"-instr-profile={merged}", str(build / f"fuzz_{name}")],
        capture_output=True, text=True, check=True,
    )
    # The build calls its folder ".", whatever it is: "BUILD/./net/addr.cpp".
    lines = {entry["filename"].rpartition("/./")[2]: entry["summary"]["lines"] for entry in json.loads(report.stdout)["data"][0]["files"]}
    files = re.search(r"^// covers: (.*)$", source.read_text(), re.MULTILINE)
    assert files, f"{source}: no line // covers:"
    return [(file, lines[file]["covered"], lines[file]["count"]) for file in files[1].split()]


def keep(build: Path, targets: list[str]) -> None:
    for name in targets:
        work, corpus = folders(build, name)
        fewest = build / "fewest" / name
        shutil.rmtree(fewest, ignore_errors=True)
        fewest.mkdir(parents=True)
        done = call(build, name, "-merge=1", "-use_counters=0", str(fewest), str(corpus), str(work))
        assert done.returncode == 0, done.stderr
        shutil.rmtree(corpus)
        shutil.copytree(fewest, corpus)
        found = list(corpus.iterdir())
        print(f"{name:8} {len(found):5} inputs, {sum(path.stat().st_size for path in found):7} bytes")


def main() -> int:
    build, what, *only = Path(sys.argv[1]).resolve(), *sys.argv[2:]
    targets = only or names(build)
    if what == "--keep":
        keep(build, targets)
        return 0
    failed = []
    print("target      inputs   lines reached")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, runs, trouble in pool.map(lambda name: fuzz(build, name, int(what)), targets):
            if trouble:
                failed.append(name)
                print(f"{name:8} {runs:9}   FAILED\n{trouble}", flush=True)
                continue
            reached = coverage(build, name, HERE / f"fuzz_{name}.cpp", *folders(build, name))
            shown = ", ".join(f"{file} {covered * 100 // count} %" for file, covered, count in reached)
            print(f"{name:8} {runs:9}   {shown}", flush=True)
    if failed:
        print(f"failed: {' '.join(failed)}; the inputs are in {build / 'crashes'}")
    return 1 if failed or not targets else 0


if __name__ == "__main__":
    sys.exit(main())
