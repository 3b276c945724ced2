"""Many calls within one time limit."""

from __future__ import annotations

import threading
import time

import pytest

from meshfab.host.call_threads import call_all


def test_every_item_has_its_result() -> None:
    assert call_all(lambda item: item * 2, range(50), deadline=time.monotonic() + 20, at_once=4) == {
        item: item * 2 for item in range(50)
    }
    assert call_all(str, (), deadline=time.monotonic() + 20, at_once=4) == {}


def test_calls_that_hang_are_left_behind_and_do_not_hold_the_process() -> None:
    never, began = threading.Event(), time.monotonic()
    try:
        found = call_all(
            lambda item: item if item < 2 else never.wait(60), range(100), deadline=time.monotonic() + 0.3, at_once=4
        )
        assert found == {0: 0, 1: 1}
        assert time.monotonic() - began < 5
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "call")
    finally:
        never.set()


def test_no_call_begins_after_the_deadline() -> None:
    calls: list[int] = []

    def call(item: int) -> None:
        calls.append(item)
        time.sleep(0.1)

    call_all(call, range(100), deadline=time.monotonic() + 0.15, at_once=1)
    time.sleep(0.3)
    assert len(calls) <= 2


def test_an_error_of_a_call_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        call_all(lambda item: 1 // item, [1, 0, 2], deadline=time.monotonic() + 20, at_once=2)
