"""The state that a tick publishes, as a host answers it: a value, or nothing."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfab.host import tick_state

STATE: dict[str, Any] = {
    "schema": 1,
    "name": "tea",
    "fqdn": "tea.internal",
    "time": 1_790_000_000,
    "result": "failed",
    "message": "not renewed",
    "serial": "0ABC",
    "not_before": 1_789_950_000,
    "not_after": 1_790_036_400,
    "next_due": None,
    "key_created": None,
    "last_renewal": None,
    "served_is_disk": False,
}


def test_a_state_is_read_as_it_was_written() -> None:
    state = tick_state.parse(json.dumps(STATE))
    assert state == tick_state.TickState(
        time=datetime.fromtimestamp(1_790_000_000, timezone.utc),
        is_ok=False,
        message="not renewed",
        serial=0xABC,
        not_before=datetime.fromtimestamp(1_789_950_000, timezone.utc),
        not_after=datetime.fromtimestamp(1_790_036_400, timezone.utc),
        served_is_disk=False,
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", 2),
        ("result", "fine"),
        ("result", ["ok"]),
        ("time", None),
        ("time", True),
        ("time", -1),
        ("time", 10**18),
        ("time", 1.5),
        ("message", None),
        ("message", 7),
        ("serial", ""),
        ("serial", "xyz"),
        ("serial", "0x10"),
        ("serial", "A" * 129),
        ("serial", 7),
        ("not_after", "tomorrow"),
        ("served_is_disk", 1),
    ],
)
def test_what_no_tick_writes_is_no_state(key: str, value: object) -> None:
    assert tick_state.parse(json.dumps({**STATE, key: value})) is None


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 4000, "{" * 4000, "x" * 5000, '{"schema": 1', "NaN"])
def test_text_that_is_no_state_is_none(text: str) -> None:
    assert tick_state.parse(text) is None


def test_a_long_message_is_cut() -> None:
    state = tick_state.parse(json.dumps({**STATE, "message": "x" * 2000}))
    assert state and len(state.message) == 1000


@given(st.text(max_size=300))
def test_any_text_is_a_state_or_none(text: str) -> None:
    state = tick_state.parse(text)
    assert state is None or state.time.tzinfo is timezone.utc
