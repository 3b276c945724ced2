"""Hosts that send too slowly, too much, or read nothing: the deadline and the bounds hold."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from paramiko.common import DEFAULT_WINDOW_SIZE

from meshfab.errors import LostError, StoppedError
from meshfab.ssh import connection, shell_channel
from meshfab.ssh.answer_stream import AnswerStream
from meshfab.ssh.root_shell import RootShell
from meshfab.ssh.script import Request
from tests.support.ssh_server import ServerConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A channel's window is 2 MiB: a host that reads nothing takes no more.
BIG = "x" * (3 * 1024 * 1024)
SECONDS = 0.3


@pytest.fixture(autouse=True)
def _connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ensure_open", lambda c, *_seconds: c)


@contextmanager
def in_time(seconds: float = SECONDS) -> Iterator[None]:
    """A deadline fires: not ten times as late, and the grace of a second that a batch has."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 10 * seconds + 3


@pytest.fixture
def host() -> Iterator[Callable[..., Any]]:
    connections: list[ServerConnection] = []

    def make(play: Callable[[Any], object], **options: Any) -> Any:
        connections.append(ServerConnection(play, **options))
        return connections[-1]

    yield make
    for each in connections:
        each.close()


def drip_stdout(channel: Any) -> None:
    while True:
        channel.send(b"x")
        time.sleep(0.01)


def drip_stderr(channel: Any) -> None:
    while True:
        channel.send_stderr(b"x")
        time.sleep(0.01)


def flood_stdout(channel: Any) -> None:
    while True:
        channel.sendall(b"x" * 32768)


def flood_stderr(channel: Any) -> None:
    while True:
        channel.sendall_stderr(b"x" * 32768)


def asks_for_a_password_then(play: Callable[[Any], object]) -> Callable[[Any], None]:
    """sudo -n fails; what follows on the second channel is another matter."""

    def ask(channel: Any) -> None:
        channel.recv(1)  # the client goes on when it has the consent to the command
        channel.sendall_stderr(b"sudo: a password is required\n")

    turns = iter([ask, play])

    def take_turn(channel: Any) -> None:
        next(turns)(channel)
        channel.send_exit_status(1)
        channel.close()

    return take_turn


def stay_silent(channel: Any) -> None:
    channel.status_event.wait()


@pytest.mark.parametrize("play", [drip_stdout, drip_stderr, stay_silent])
def test_a_host_that_drips_is_cut_off_at_the_deadline(host: Callable[..., Any], play: Any) -> None:
    c = host(play)
    with in_time(), pytest.raises(LostError, match="in time"), RootShell(c, timeout=SECONDS) as shell:
        shell.run("read")


def test_a_host_that_reads_nothing_is_cut_off_while_we_send(host: Callable[..., Any]) -> None:
    c = host(stay_silent)
    with in_time(), pytest.raises(LostError, match="in time"), RootShell(c, timeout=SECONDS) as shell:
        shell.run("read", data=BIG)


def test_a_host_that_takes_a_byte_at_a_time_is_cut_off_too(host: Callable[..., Any]) -> None:
    def sip(channel: Any) -> None:
        while channel.recv(1):
            # Each byte that is read widens the window by one: paramiko's own sendall starts its time-out anew.
            channel.in_window_threshold = 0
            time.sleep(0.01)

    c = host(sip)
    with in_time(), pytest.raises(LostError, match="in time"), RootShell(c, timeout=SECONDS) as shell:
        shell.run("read", data=BIG)


def test_a_host_whose_kernel_takes_nothing_more_is_cut_off(host: Callable[..., Any]) -> None:
    c = host(stay_silent)
    with in_time(), pytest.raises(LostError), RootShell(c, timeout=SECONDS) as shell:
        never = threading.Event()
        c.server_transport.packetizer.read_message = lambda: never.wait(30)
        c.transport.global_request("wake@up", wait=False)
        shell.run("read", data=BIG)
    never.set()


def test_a_host_that_does_not_answer_the_request_for_a_command_is_cut_off(
    host: Callable[..., Any],
) -> None:
    c = host(stay_silent, answers_exec=False)
    with in_time(), pytest.raises(LostError, match="no answer within"), RootShell(c, timeout=SECONDS):
        pytest.fail("the shell began")


def test_a_prompt_of_sudo_that_drips_is_cut_off(host: Callable[..., Any]) -> None:
    c = host(asks_for_a_password_then(drip_stderr))
    c.config.sudo.password = "geheim"
    with in_time(), pytest.raises(LostError, match="in time"), RootShell(c, timeout=SECONDS) as shell:
        shell.run("read")


@pytest.mark.parametrize("play", [flood_stdout, flood_stderr])
def test_stdout_and_stderr_have_one_bound(host: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, play: Any) -> None:
    monkeypatch.setattr(shell_channel, "MAX_ANSWER", 1_000_000)
    c = host(play)
    with pytest.raises(LostError, match="longer than 1000000"), RootShell(c, timeout=20) as shell:
        shell.run("read")


def test_a_greeting_without_an_end_is_cut_off(host: Callable[..., Any]) -> None:
    c = host(asks_for_a_password_then(flood_stderr))
    c.config.sudo.password = "geheim"
    with pytest.raises(LostError, match="longer than 16384"), RootShell(c, timeout=20) as shell:
        shell.run("read")


def test_a_host_that_ignores_the_window_loses_its_connection(host: Callable[..., Any]) -> None:
    def play(channel: Any) -> None:
        channel.out_window_size = 1 << 30
        flood_stderr(channel)

    c = host(play)
    with RootShell(c, timeout=20) as shell:
        assert shell._channel is not None
        buffer = shell._channel._channel.in_stderr_buffer
        until = time.monotonic() + 20
        # Nothing is read meanwhile: the operator asks the services of the host, say.
        while c.transport.is_active() and time.monotonic() < until:
            time.sleep(0.01)
        assert not c.transport.is_active()
        assert len(buffer) <= DEFAULT_WINDOW_SIZE


def test_an_interruption_does_not_wait_for_a_host_that_reads_nothing(host: Callable[..., Any]) -> None:
    c = host(stay_silent)
    with pytest.raises(StoppedError, match="enough"), RootShell(c, timeout=20) as shell:
        with c.transport.clear_to_send_lock, in_time(0.1):
            # What closes the channel cannot be sent now, as in a key exchange that the host does not finish.
            shell.interrupt("enough")
        shell.run("read")


def test_every_byte_is_searched_once() -> None:
    stream, began = AnswerStream("mark"), time.process_time()
    for _ in range(300_000):
        stream.feed(b"\n")
        assert stream.take_answer() is None
    stream.feed(b"\nmark ")
    for _ in range(300_000):
        stream.feed(b"1")
        assert stream.take_answer() is None
    stream.feed(b"\n\nmark 0\n")
    answer = stream.take_answer()
    assert answer is not None
    assert (len(answer[0]), len(answer[1])) == (300_000, 300_000)
    assert stream.take_answer() == (b"", "0")
    assert stream.rest() == b""
    assert time.process_time() - began < 4


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_mark_that_arrives_in_pieces_is_found(size: int) -> None:
    stream, answers = AnswerStream("mark"), []
    text = b"one\nmar\nmark 0\n\nmark 7\ntwo\nmark skipped\n"
    for start in range(0, len(text), size):
        stream.feed(text[start : start + size])
        while answer := stream.take_answer():
            answers.append(answer)
    assert answers == [(b"one\nmar", "0"), (b"", "7"), (b"two", "skipped")]


def test_requests_are_sent_whole_to_a_host_that_reads(host: Callable[..., Any]) -> None:
    received = bytearray()

    def play(channel: Any) -> None:
        while len(received) < len(BIG) or not received.endswith(b"\n}"):
            received.extend(channel.recv(65536))
        channel.close()

    c = host(play)
    with pytest.raises(LostError, match="dropped"), RootShell(c, timeout=20) as shell:
        shell.batch([Request("read", data=BIG)])
    size, _, rest = bytes(received).partition(b"\n")
    assert int(size) == len(rest) > len(BIG)
