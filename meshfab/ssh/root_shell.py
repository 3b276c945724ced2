"""One root shell on a host, over one SSH channel, which runs scripts.

Every request is a script and its arguments; the answer is its exit status and output. The shell lives as long as the
channel does, which saves a round trip, a PAM session and a sudo for every step, keeps a lock or a trap beyond a step,
and ends, with its clean-up, when the operator's side disconnects.

The protocol, both ways over the channel's stdin and stdout:

    ->  "<bytes>\\n" scripts, as one shell command; it runs when all of it has arrived
    <-  of each script its stdout, then "\\n<mark> <status>\\n"; the same mark closes its part of stderr

Data (the password) goes into a shell variable and from there through builtins: it is in no argv and no environment.
`dd` takes the bytes from the pipe, because it reads exactly the given number, which `head` does not guarantee; once
for a batch, because a process takes two milliseconds. Fabric's own `run` is not used: it polls every 10 ms, joins the
remote command on Ctrl-C, and needs a channel for each command.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from meshfab.errors import ConnectError, LostError, NotReadyError, StoppedError, SudoAsksError
from meshfab.ssh.script import Answer, Request, readable, shell_words, text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from fabric import Connection

# A host that sends data without end must not fill the operator's memory.
MAX_ANSWER = 8 * 1024 * 1024
_LOOP = 'echo $$; while read -r n; do run=$(dd bs="$n" count=1 iflag=fullblock 2>/dev/null); eval "$run"; run=; done'
# LC_ALL: sudo's messages are compared in English.
_AS_ROOT = 'LC_ALL=C; export LC_ALL; if [ "$(id -u)" = 0 ]; then exec "$@"; fi; exec sudo %s -- "$@"'
_AGAIN = "run the command again; it completes what is half done"


class RootShell:
    """A root shell on `c`'s host; use it as a context manager.

    Args:
        c: an open or openable Fabric connection. Its `config.sudo.password` is used where sudo asks for one.
        timeout: seconds that one request may take at most.
    """

    def __init__(self, c: Connection, *, timeout: float = 90.0) -> None:
        self.c = c
        self.host = str(getattr(c, "original_host", ""))
        self.timeout = timeout
        self.pid = ""
        self._mark = secrets.token_hex(8)
        self._channel: Any = None
        self._stopped = ""
        self._waiting = 0
        self._out, self._err = bytearray(), bytearray()

    def __enter__(self) -> RootShell:
        """Open the channel and start the shell, without waiting for it."""
        # -n fails at once where a password is needed, instead of waiting for one.
        self._start("-n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the channel; the remote shell ends with it and its trap cleans up."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def interrupt(self, why: str) -> None:
        """From another thread: a caller that waits for an answer gets a StoppedError, and no more requests are sent."""
        self._stopped = why
        if self._channel is not None:
            self._channel.close()
        else:
            self.c.client.close()

    @property
    def is_idle(self) -> bool:
        """Whether all answers have arrived; after an interruption one is missing, and its script still runs."""
        return self._channel is not None and self._waiting == 0

    def run(self, name: str, *args: str, data: str | None = None, timeout: float | None = None) -> Answer:
        """Run one script and wait for its answer."""
        return self.batch([Request(name, args, data)], timeout=timeout)[0]

    def batch(self, requests: Sequence[Request], *, timeout: float | None = None) -> list[Answer]:
        """Send several scripts at once and collect their answers in one round trip.

        After the first script that fails the rest is skipped on the host; the failed one has the last answer.

        Raises:
            LostError: the line dropped, or no answer came in time; the outcome is unknown.
            NotReadyError: the login cannot become root.
        """
        deadline = time.monotonic() + (timeout or self.timeout)
        try:
            return self._batch(requests, deadline)
        except SudoAsksError:
            if not self.c.config.sudo.password:
                raise
        self._start_with(str(self.c.config.sudo.password), deadline)
        return self._batch(requests, deadline)

    def _batch(self, requests: Sequence[Request], deadline: float) -> list[Answer]:
        self._waiting += 1
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
                answers.append(Answer(request.script, int(status) if status.isdecimal() else 255, out, readable(err)))
        self._waiting -= 1
        return answers

    def _start(self, sudo: str) -> None:
        from paramiko.ssh_exception import SSHException

        from meshfab.ssh.connection import opened

        self._out.clear()
        self._err.clear()
        self._waiting = 0
        try:
            self._channel = opened(self.c).create_session()
            # $0 is the shell's name in `ps`, by which scripts/provisioning/stop.sh recognises it.
            self._channel.exec_command(
                f"sh -c {shell_words([_AS_ROOT % sudo])} sh sh -c {shell_words([_LOOP])} meshfab"
            )
        except (ConnectError, SSHException, EOFError) as error:
            if self._stopped:
                raise self._ended() from None
            if isinstance(error, ConnectError):
                raise
            raise LostError(f"no command can be run ({error})", host=self.host, remedy=_AGAIN) from None
        if self._stopped:
            raise self._ended()

    def _start_with(self, password: str, deadline: float) -> None:
        """Start again with sudo's password, which is sent only after sudo's own prompt.

        -k: sudo certainly prompts, so the password cannot stay in the pipe and be read as a request. The shell's first
        line (its pid) shows that sudo has ended; only then is anything else sent.
        """
        prompt = f"[{self._mark}]"
        self._start(f"-S -k -p '{prompt}'")
        self._channel.set_combine_stderr(True)
        output, prompts = b"", 0
        while not (pid := re.search(rb"^\d+\n\Z", output.rpartition(prompt.encode())[2], re.MULTILINE)):
            if output.count(prompt.encode()) > prompts:
                prompts += 1
                if prompts > 1:
                    what, remedy = "sudo does not take the password", "check it, then run this again"
                    raise NotReadyError(what, host=self.host, remedy=remedy)
                self._channel.sendall(f"{password}\n".encode())
            output += self._more(self._channel.recv, deadline)
        self._channel.set_combine_stderr(False)
        self._out += pid[0]

    def _send(self, body: str) -> None:
        code = f"{{\n{body}\n}}".encode()
        try:
            self._channel.sendall(b"%d\n%b" % (len(code), code))
        except OSError as error:
            raise self._ended() from error

    def _receive(self, buffer: bytearray, read: Any, deadline: float) -> tuple[bytes, str]:
        """Read one stream up to the mark; return the text before it and the word after it."""
        mark = f"\n{self._mark} ".encode()
        while True:
            at = buffer.find(mark)
            end = buffer.find(b"\n", at + len(mark)) if at >= 0 else -1
            if end >= 0:
                output, status = bytes(buffer[:at]), readable(bytes(buffer[at + len(mark) : end]))
                del buffer[: end + 1]
                return output, status
            buffer += self._more(read, deadline)
            if len(buffer) > MAX_ANSWER:
                raise LostError(
                    f"it answers more than {MAX_ANSWER} bytes", host=self.host, remedy="is it the right host?"
                )

    def _more(self, read: Any, deadline: float) -> bytes:
        self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            chunk: bytes = read(65536)
        except TimeoutError:
            raise LostError(
                "no answer in time; what was under way may go on there", host=self.host, remedy=_AGAIN
            ) from None
        if not chunk:
            raise self._ended()
        return chunk

    def _ended(self) -> LostError | NotReadyError:
        """The reason why the shell ended: stopped, refused by sudo, a missing program, or a lost connection."""
        if self._stopped:
            return StoppedError(self._stopped, host=self.host, remedy=_AGAIN)
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
        return _why_ended(readable(output), status, self.host)


def _why_ended(output: str, status: int, host: str) -> LostError | NotReadyError:
    remedy = "give the login passwordless sudo, or log in as root"
    if "password is required" in output or "a terminal is required" in output:
        return SudoAsksError("sudo asks for a password", host=host, remedy=remedy)
    if "not in the sudoers" in output or "not allowed to" in output:
        return NotReadyError(f"sudo refuses: {output}", host=host, remedy=remedy)
    if status == 127:
        return NotReadyError(
            f"the login cannot become root: {output}", host=host, remedy="install sudo, or log in as root"
        )
    if status > 0:
        return NotReadyError(
            f"the root shell ended with {status}: {output or 'no message'}",
            host=host,
            remedy=f"try `ssh {host} sudo -n id`",
        )
    return LostError("the connection dropped", host=host, remedy=_AGAIN)
