# SPDX-License-Identifier: Apache-2.0
"""A log line as fields, whichever way the relay wrote it: text, text for the journal, or JSON."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Value = str | int | float | bool | None
Wanted = Value | Callable[[Any], bool]

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LEVELS = ("error", "warn", "info", "debug")
JOURNAL_LEVELS = {"<3>": "error", "<4>": "warn", "<6>": "info", "<7>": "debug"}
BARE = re.compile(r"[A-Za-z0-9_.:/@%+,\[\]-]*")
FIELD = re.compile(r' ([a-z][a-z0-9_]*)=("(?:[^"\\]|\\.)*"|[^\s"]*)')
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)")


@dataclass(frozen=True)
class Line:
    """One line: `event` is empty if it was not a log line at all."""

    raw: str
    level: str = ""
    event: str = ""
    ts: str = ""
    fields: dict[str, Value] = field(default_factory=dict)

    def matches(self, event: str, wanted: dict[str, Wanted]) -> bool:
        """A wanted field is a value, or a function that judges it."""
        return self.event == event and all(fits(self.fields.get(key), value) for key, value in wanted.items())

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]

    def get(self, key: str, default: Value = None) -> Any:
        return self.fields.get(key, default)


def fits(value: Value, wanted: Wanted) -> bool:
    if callable(wanted):
        return value is not None and bool(wanted(value))
    return value == wanted


def parse(raw: str) -> Line:
    """Never fails: what is no log line becomes a Line without event."""
    if raw.startswith("{"):
        return _parse_json(raw)
    return _parse_text(raw)


def _parse_json(raw: str) -> Line:
    try:
        fields = json.loads(raw)
    except ValueError:
        return Line(raw)
    if not isinstance(fields, dict) or not {"ts", "level", "event"} <= fields.keys():
        return Line(raw)
    if fields["level"] not in LEVELS or not STAMP.fullmatch(str(fields["ts"])):
        return Line(raw)
    head = {key: str(fields.pop(key)) for key in ("ts", "level", "event")}
    return Line(raw, head["level"], head["event"], head["ts"], fields)


def _parse_text(raw: str) -> Line:
    stamp = ""
    if raw[:3] in JOURNAL_LEVELS:
        level, rest = JOURNAL_LEVELS[raw[:3]], raw[3:]
    else:
        stamp, _, rest = raw.partition(" ")
        level, _, rest = rest.partition(" ")
        if not STAMP.fullmatch(stamp) or level not in LEVELS:
            return Line(raw)
    event, space, rest = rest.partition(" ")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", event):
        return Line(raw)
    fields: dict[str, Value] = {}
    rest = space + rest
    place = 0
    while place < len(rest):
        found = FIELD.match(rest, place)
        if not found:
            return Line(raw)
        fields[found[1]] = _value(found[2])
        place = found.end()
    return Line(raw, level, event, stamp, fields)


def _value(text: str) -> Value:
    if text.startswith('"'):
        return ESCAPE.sub(_unescape, text[1:-1])
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def _unescape(found: re.Match[str]) -> str:
    code = found[1]
    if len(code) > 1:
        return chr(int(code[1:], 16))
    return {"n": "\n", "t": "\t", "r": "\r"}.get(code, code)
