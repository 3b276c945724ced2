"""The channel of a root shell: it sends and receives within a deadline, and no host can fill the operator's memory."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from meshfab.errors import LostError, NotReadyError, StoppedError
from meshfab.ssh.answer_stream import AnswerStream
from meshfab.ssh.interruptions import signals_held
from meshfab.ssh.script import readable
from meshfab.ssh.sudo import explain_end

if TYPE_CHECKING:
    from fabric import Connection

# Bytes of stdout and stderr, for one batch.
MAX_ANSWER = 8 * 1024 * 1024
RERUN = "run the command again; it completes what is half done"
# How long one stream is waited for before the other one is read, and a signal for its handler.
_POLL_SECONDS = 0.1
# The last words of a shell that ended: how long they are waited for, and how many bytes are read.
_END_SECONDS, _END_BYTES = 2.0, 16 * 1024


class ShellChannel:
    """A channel that is open, for one root shell.

    Args:
        c: an open connection.
        host: the host, as it was named.
        mark: the mark that ends the output of each script.

    Attributes:
        stop_reason: why another thread stops the shell; empty if none does.
        sudo_output: what sudo has printed while stderr is part of stdout, for the error if it ends then.
    """

    def __init__(self, c: Connection, host: str, mark: str) -> None:
        self.stop_reason, self.sudo_output = "", b""
        self._host, self._received = host, 0
        self._out, self._err = AnswerStream(mark), AnswerStream(mark)
        self._channel, bounded_pipe = _open_session(c), _bounded_pipe()
        self._channel.in_buffer, self._channel.in_stderr_buffer = bounded_pipe(), bounded_pipe()

    def run(self, command: str) -> None:
        """Start the command. It waits for the host's consent without a time-out."""
        self._channel.exec_command(command)

    def close(self) -> None:
        """Close it. A thread that waits for its output gets an error; this can block when the host reads nothing."""
        with signals_held():
            self._channel.close()

    def send(self, data: memoryview, deadline: float) -> None:
        """Send all of it. What is raised has no frames of paramiko, whose variables hold the data.

        Raises:
            LostError: not all of it could be sent before the deadline.
            NotReadyError: the shell ended, and said why.
        """
        from paramiko.ssh_exception import SSHException

        is_lost = False
        try:
            while data and not is_lost:
                self._channel.settimeout(min(self._remaining(deadline), _POLL_SECONDS))
                with signals_held(), suppress(TimeoutError):
                    sent = self._channel.send(data)
                    data, is_lost = data[sent:], sent == 0
        except LostError:
            raise
        except (OSError, EOFError, SSHException):
            is_lost = True
        except BaseException as interruption:
            raise interruption.with_traceback(None)  # noqa: B904  # the same exception
        if is_lost:
            raise self._end_error()
        self._remaining(deadline)

    def begin_batch(self) -> None:
        """Count the bytes of the answers from here on."""
        self._received = 0

    def receive_out(self, deadline: float) -> tuple[bytes, str]:
        """Wait for the end of a script's stdout; return it and the script's status."""
        channel = self._channel
        while (answer := self._out.take_answer()) is None:
            with signals_held():
                self._out.feed(self._chunk(channel.recv, deadline))
                # A script that prints much on stderr must not wait until that is read.
                while channel.recv_stderr_ready():
                    self._err.feed(self._chunk(channel.recv_stderr, deadline))
        return answer

    def receive_err(self, deadline: float) -> bytes:
        """Wait for the end of a script's stderr; return it."""
        channel = self._channel
        while (answer := self._err.take_answer()) is None:
            with signals_held():
                self._err.feed(self._chunk(channel.recv_stderr, deadline))
                while channel.recv_ready():
                    self._out.feed(self._chunk(channel.recv, deadline))
        return answer[0]

    def combine(self, is_combined: bool) -> None:
        """Whether stderr arrives as part of stdout."""
        self._channel.set_combine_stderr(is_combined)

    def receive_some(self, deadline: float) -> bytes:
        """Wait a moment for stdout; return what has arrived, which may be nothing."""
        with signals_held():
            return self._chunk(self._channel.recv, deadline)

    def put_back(self, output: bytes) -> None:
        """Treat this as stdout that arrives before the rest."""
        self._out.feed(output)

    def too_long(self, size: int) -> LostError:
        """The error for an answer of more bytes than this."""
        what = f"its answer is longer than {size} bytes"
        return LostError(what, host=self._host, remedy="check that it is the right host")

    def _chunk(self, read: Any, deadline: float) -> bytes:
        from paramiko.ssh_exception import SSHException

        self._channel.settimeout(min(self._remaining(deadline), _POLL_SECONDS))
        try:
            chunk: bytes = read(65536)
        except TimeoutError:
            return b""
        except (OSError, EOFError, SSHException):
            chunk = b""
        if not chunk:
            raise self._end_error()
        self._received += len(chunk)
        if self._received > MAX_ANSWER:
            raise self.too_long(MAX_ANSWER)
        return chunk

    def _remaining(self, deadline: float) -> float:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            what = "no answer in time; the script may still run on the host"
            raise LostError(what, host=self._host, remedy=RERUN)
        return remaining

    def _end_error(self) -> LostError | NotReadyError:
        """The error for a shell that ended: stopped, refused by sudo, a missing program, or a lost connection."""
        from paramiko.ssh_exception import SSHException

        if self.stop_reason:
            return StoppedError(self.stop_reason, host=self._host, remedy=RERUN)
        channel, output, deadline = self._channel, self.sudo_output + self._err.rest(), time.monotonic() + _END_SECONDS
        try:
            while len(output) < _END_BYTES and (remaining := deadline - time.monotonic()) > 0:
                channel.settimeout(remaining)
                if not (chunk := channel.recv_stderr(_END_BYTES)):
                    break
                output += chunk
        except (OSError, SSHException):
            pass
        # The status may arrive after the end of the output, or never if the connection was lost.
        channel.status_event.wait(max(deadline - time.monotonic(), 0))
        status = channel.recv_exit_status() if channel.exit_status_ready() else -1
        lost = LostError("the connection dropped", host=self._host, remedy=RERUN)
        return explain_end(readable(output[:_END_BYTES]), status, self._host) or lost


def _open_session(c: Connection) -> Any:
    """Open a channel that lends the host no ssh-agent: root there could have it sign tokens for any name.

    Fabric's `create_session` forwards the agent where the SSH configuration says so (ForwardAgent).
    """
    c.open()
    return c.transport.open_session()


@cache
def _bounded_pipe() -> type[Any]:
    """A buffer for what arrives. paramiko keeps all of it, also what goes beyond the channel's window."""
    from paramiko.buffered_pipe import BufferedPipe
    from paramiko.common import DEFAULT_WINDOW_SIZE
    from paramiko.ssh_exception import SSHException

    class BoundedPipe(BufferedPipe):  # type: ignore[type-arg]  # it is generic for type checkers only
        """The connection's thread fills it; an error in that thread ends the connection."""

        def feed(self, data: bytes) -> None:
            # RFC 4254, 5.2: the window is the limit for both streams together, until we have read some of it.
            if len(self) + len(data) > DEFAULT_WINDOW_SIZE:
                raise SSHException("the host sends more than the channel's window allows")
            super().feed(data)

    return BoundedPipe
