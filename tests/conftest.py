# SPDX-License-Identifier: Apache-2.0
"""What every end-to-end test gets: a lab of its own, whose end is checked, and whose story is told when a test fails."""

import os
from collections.abc import Iterator

import hypothesis
import pytest

from harness import scale
from harness.lab import Lab
from harness.tls_world import World, make_world

# The same examples in each run, nothing stored. Failing ones are made smaller only on demand (RELAY_SHRINK=1): it takes minutes.
PHASES = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
if os.environ.get("RELAY_SHRINK"):
    PHASES.append(hypothesis.Phase.shrink)
hypothesis.settings.register_profile(
    "relay",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    phases=PHASES,
    max_examples=max(5, 40 // scale.THRIFT),
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("relay")

FAILED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    if not scale.BIN.is_file():
        raise pytest.UsageError(f"{scale.BIN} is not there: run `make build`, or point RELAY_BIN at a binary")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows its relays' arguments, configuration, statistics and stderr, and the fakes' transcripts."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        item.stash[FAILED] = True
        lab = getattr(item, "funcargs", {}).get("lab")
        if lab is not None:
            report.sections.append(("lab", lab.report()))


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    lab = Lab()
    try:
        yield lab
        if not request.node.stash.get(FAILED, False):
            lab.finish()
    finally:
        lab.release()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Certificates, for the tests of TLS."""
    yield from make_world()
