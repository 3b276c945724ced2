"""One root shell on a host, over one SSH channel, which runs scripts.

A request is a script with its arguments; the answer is its exit status and output. The shell runs as long as the
channel is open. This saves a round trip, a PAM session and a sudo for every step, and lets a lock or a trap stay from
one step to the next. When the operator's side disconnects, the shell ends and its traps clean up.

The protocol, over the channel's stdin (->), stdout and stderr (<-):

    ->  "<bytes>\\n" and that many bytes: the scripts as one shell command, which runs after all of it has arrived
    <-  for each script its stdout, then "\\n<mark> <status>\\n"; on stderr the same mark follows the script's stderr

Data (the password) goes into a shell variable and is used by builtins only, so it is in no argv and no environment.
`dd` reads the command from stdin, because it reads exactly the given number of bytes, which `head` does not guarantee.
It runs once for a batch, because starting a process takes two milliseconds. Fabric's own `run` is not used: it polls
every 10 ms, waits for the remote command on Ctrl-C, and needs a channel for each command.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from meshfab.errors import ConnectError, LostError, NotReadyError, StoppedError, SudoAsksError
from meshfab.ssh.script import Answer, Request, readable, shell_words, text
from meshfab.ssh.sudo import explain_end

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from fabric import Connection

# Bytes. A host that never stops sending must not fill the operator's memory.
MAX_ANSWER = 8 * 1024 * 1024
_LOOP = 'echo $$; while read -r n; do run=$(dd bs="$n" count=1 iflag=fullblock 2>/dev/null); eval "$run"; run=; done'
# LC_ALL: sudo's messages are compared in English.
_AS_ROOT = 'LC_ALL=C; export LC_ALL; if [ "$(id -u)" = 0 ]; then exec "$@"; fi; exec sudo %s -- "$@"'
_RERUN = "run the command again; it completes what is half done"


class RootShell:
    """A root shell on `c`'s host; use it as a context manager.

    Args:
        c: a Fabric connection, open or not. Its `config.sudo.password` is sent if sudo prompts for a password.
        timeout: the time limit of one batch, in seconds.
    """

    def __init__(self, c: Connection, *, timeout: float = 90.0) -> None:
        self.c = c
        self.host = str(getattr(c, "original_host", ""))
        self.timeout = timeout
        self.pid = ""
        self._mark = secrets.token_hex(8)
        self._channel: Any = None
        self._stop_reason = ""
        self._unanswered = 0
        self._out, self._err = bytearray(), bytearray()

    def __enter__(self) -> RootShell:
        """Open the channel and start the shell, without waiting for it."""
        # sudo -n fails at once if a password is required; without it sudo would wait for one.
        self._start("-n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the channel; the remote shell ends with it and its trap cleans up."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def interrupt(self, reason: str) -> None:
        """Stop it from another thread: a caller that waits for an answer gets a StoppedError with the reason."""
        self._stop_reason = reason
        if self._channel is not None:
            self._channel.close()
        else:
            self.c.client.close()

    @property
    def is_idle(self) -> bool:
        """Whether all answers have arrived. If one is missing after an interruption, its script may still run."""
        return self._channel is not None and self._unanswered == 0

    def run(self, name: str, *args: str, data: str | None = None, timeout: float | None = None) -> Answer:
        """Run one script and wait for its answer."""
        return self.batch([Request(name, args, data)], timeout=timeout)[0]

    def batch(self, requests: Sequence[Request], *, timeout: float | None = None) -> list[Answer]:
        """Run several scripts in one round trip.

        The host skips the scripts after the first one that fails.

        Returns:
            The answers of the scripts that ran; the last one is the failed one, if any.

        Raises:
            LostError: the connection was lost, or no answer came in time; the outcome is unknown.
            NotReadyError: the login cannot become root.
        """
        deadline = time.monotonic() + (timeout or self.timeout)
        try:
            return self._batch(requests, deadline)
        except SudoAsksError:
            if not self.c.config.sudo.password:
                raise
        self._start_with_password(str(self.c.config.sudo.password), deadline)
        return self._batch(requests, deadline)

    def _batch(self, requests: Sequence[Request], deadline: float) -> list[Answer]:
        self._unanswered += 1
        lines = [] if self.pid else [f"mark={self._mark}", text("library"), "answer 0"]
        lines.append("failed=0")
        lines += [
            f"if [ $failed = 0 ]; then {request.body()}\nanswer $?; else answer skipped; fi" for request in requests
        ]
        self._send("\n".join(lines))
        if not self.pid:
            self.pid = self._receive(self._out, self._channel.recv, deadline)[0].decode("ascii", "replace").strip()
            self._receive(self._err, self._channel.recv_stderr, deadline)
        answers = []
        for request in requests:
            out, status = self._receive(self._out, self._channel.recv, deadline)
            err, _ = self._receive(self._err, self._channel.recv_stderr, deadline)
            if status != "skipped":
                # A host may send any number of digits.
                exit_status = int(status) if status.isdecimal() and len(status) <= 3 else 255
                answers.append(Answer(request.script, exit_status, out, readable(err)))
        self._unanswered -= 1
        return answers

    def _start(self, sudo: str) -> None:
        from paramiko.ssh_exception import SSHException

        from meshfab.ssh.connection import ensure_open

        self._out.clear()
        self._err.clear()
        self._unanswered = 0
        try:
            self._channel = ensure_open(self.c).create_session()
            # $0 is `meshfab`: scripts/provisioning/stop.sh recognises the shell by it.
            self._channel.exec_command(
                f"sh -c {shell_words([_AS_ROOT % sudo])} sh sh -c {shell_words([_LOOP])} meshfab"
            )
        except (ConnectError, SSHException, EOFError) as error:
            if self._stop_reason:
                raise self._end_error() from None
            if isinstance(error, ConnectError):
                raise
            raise LostError(f"no command can be run ({error})", host=self.host, remedy=_RERUN) from None
        if self._stop_reason:
            raise self._end_error()

    def _start_with_password(self, password: str, deadline: float) -> None:
        """Start again with sudo's password, which is sent after sudo's own prompt only.

        With -k sudo always prompts. Otherwise it might not read the password, and the shell would read it as a request.
        The shell's first line (its pid) shows that sudo accepted the password; nothing else is sent before.
        """
        prompt = f"[{self._mark}]"
        self._start(f"-S -k -p '{prompt}'")
        self._channel.set_combine_stderr(True)
        output, prompts = b"", 0
        # sudo-rs ends the prompt's line on stderr, which may arrive before the pid or after it.
        while not (pid := re.search(rb"(?:^|\n|: )(\d{1,10}\n)\n?\Z", output.rpartition(prompt.encode())[2])):
            if output.count(prompt.encode()) > prompts:
                prompts += 1
                if prompts > 1:
                    what, remedy = "sudo does not accept the password", "check it, then run this again"
                    raise NotReadyError(what, host=self.host, remedy=remedy)
                try:
                    self._channel.sendall(f"{password}\n".encode())
                except OSError:
                    raise self._end_error() from None
            chunk = self._read_chunk(self._channel.recv, deadline)
            output += chunk
            self._err += chunk.replace(prompt.encode(), b"")  # for the message when sudo ends without a shell
        self._channel.set_combine_stderr(False)
        self._err.clear()
        self._out += pid[1]

    def _send(self, body: str) -> None:
        code = f"{{\n{body}\n}}".encode()
        try:
            self._channel.sendall(b"%d\n%b" % (len(code), code))
        except OSError as error:
            raise self._end_error() from error

    def _receive(self, buffer: bytearray, read: Any, deadline: float) -> tuple[bytes, str]:
        """Read one stream up to the mark; return the output before the mark and the status after it."""
        mark = f"\n{self._mark} ".encode()
        while True:
            start = buffer.find(mark)
            end = buffer.find(b"\n", start + len(mark)) if start >= 0 else -1
            if end >= 0:
                output, status = bytes(buffer[:start]), readable(bytes(buffer[start + len(mark) : end]))
                del buffer[: end + 1]
                return output, status
            buffer += self._read_chunk(read, deadline)
            if len(buffer) > MAX_ANSWER:
                raise LostError(
                    f"its answer is longer than {MAX_ANSWER} bytes",
                    host=self.host,
                    remedy="check that it is the right host",
                )

    def _read_chunk(self, read: Any, deadline: float) -> bytes:
        self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            chunk: bytes = read(65536)
        except TimeoutError:
            raise LostError(
                "no answer in time; the script may still run on the host", host=self.host, remedy=_RERUN
            ) from None
        if not chunk:
            raise self._end_error()
        return chunk

    def _end_error(self) -> LostError | NotReadyError:
        """The error for a shell that ended: stopped, refused by sudo, a missing program, or a lost connection."""
        if self._stop_reason:
            return StoppedError(self._stop_reason, host=self.host, remedy=_RERUN)
        channel, output = self._channel, bytes(self._err)
        channel.settimeout(2)
        try:
            while chunk := channel.recv_stderr(65536):
                output += chunk
        except OSError:
            pass
        # The status may arrive after the end of the output, or never if the connection was lost.
        channel.status_event.wait(2)
        status = channel.recv_exit_status() if channel.exit_status_ready() else -1
        lost = LostError("the connection dropped", host=self.host, remedy=_RERUN)
        return explain_end(readable(output), status, self.host) or lost
