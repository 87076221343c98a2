# SPDX-License-Identifier: Apache-2.0
"""A thread that does one thing, and whose result or exception reaches the test that started it."""

import threading
from collections.abc import Callable
from typing import Any

from harness.scale import seconds
from harness.until import Overdue


class Task:
    """Runs `work(*args)` in a thread. Daemonic: a stuck one cannot keep the test run alive."""

    def __init__(self, work: Callable[..., Any], *args: Any, **named: Any) -> None:
        self.name = getattr(work, "__qualname__", repr(work))
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work, args, named), daemon=True, name=self.name)
        self._thread.start()

    def _run(self, work: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> None:
        try:
            self._result = work(*args, **named)
        except BaseException as error:  # noqa: BLE001 - handed on in result()
            self._error = error

    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self, timeout: float = 30.0) -> Any:
        """Waits for the end; returns what the work returned or raises what it raised."""
        self._thread.join(seconds(timeout))
        if self._thread.is_alive():
            raise Overdue(f"still running after {seconds(timeout):g} s: {self.name}")
        if self._error is not None:
            raise self._error
        return self._result
