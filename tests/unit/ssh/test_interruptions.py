"""Signals: which may interrupt, and where none may."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from meshfab.ssh import interruptions, shell_channel
from meshfab.ssh.shell_channel import ShellChannel

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _deaf_to_nothing() -> Iterator[None]:
    """A shell starts what runs in its background with SIGINT ignored."""
    before = {each: signal.signal(each, signal.default_int_handler) for each in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_second_signal_does_not_interrupt_what_the_first_one_began() -> None:
    cleaned = False
    with interruptions.one_interruption():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
            cleaned = True
    assert cleaned
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_held_interrupts_at_the_end_of_the_block(number: signal.Signals) -> None:
    is_whole = False
    with pytest.raises(KeyboardInterrupt), interruptions.signals_held():
        signal.raise_signal(number)
        is_whole = True
    assert is_whole
    assert signal.getsignal(number) is signal.default_int_handler


def test_a_signal_that_is_held_is_not_lost_to_an_error() -> None:
    with pytest.raises(KeyboardInterrupt), interruptions.signals_held():
        signal.raise_signal(signal.SIGINT)
        raise TimeoutError


class Lock:
    """A lock of paramiko's, and a signal between `acquire()` and `try`."""

    is_free = True

    def signal_while_taken(self, *_args: Any) -> Any:
        self.is_free = False
        signal.raise_signal(signal.SIGTERM)
        self.is_free = True
        return b"x"


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> ShellChannel:
    monkeypatch.setattr(shell_channel, "_open_session", lambda _c: Mock())
    return ShellChannel(Mock(), "h2", "mark")


@pytest.mark.parametrize(
    ("method", "receive"),
    [("recv", "receive_out"), ("recv_stderr", "receive_err"), ("recv", "receive_some")],
)
def test_no_signal_leaves_a_lock_of_the_connection_taken(channel: ShellChannel, method: str, receive: str) -> None:
    lock = Lock()
    paramiko = Mock(**{f"{method}.side_effect": lock.signal_while_taken})
    channel._channel = paramiko
    receivers = {each.__name__: each for each in (channel.receive_out, channel.receive_err, channel.receive_some)}
    with pytest.raises(KeyboardInterrupt):
        receivers[receive](float("inf"))
    assert lock.is_free


def test_no_signal_leaves_a_lock_taken_in_sending_or_closing(channel: ShellChannel) -> None:
    lock = Lock()
    channel._channel = Mock(
        **{"send.side_effect": lock.signal_while_taken, "close.side_effect": lock.signal_while_taken}
    )
    with pytest.raises(KeyboardInterrupt):
        channel.send(memoryview(b"scripts"), float("inf"))
    assert lock.is_free
    with pytest.raises(KeyboardInterrupt):
        channel.close()
    assert lock.is_free
