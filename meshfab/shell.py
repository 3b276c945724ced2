"""One root shell on a host, over one SSH channel, fed with scripts: the only place where words become commands.

Every request is a script and its arguments; the answer is its exit status and output. The shell lives as long as the
channel does, which saves a round trip, a PAM session and a sudo for every step, lets a lock or a trap outlive a step,
and ends, clean-up included, when the operator's side goes away.

The protocol, both ways over the channel's stdin and stdout:

    ->  "<bytes of script> <bytes of data>\\n" script data
    <-  stdout of the script, then "\\n<mark> <status>\\n"; the same mark closes its part of stderr

Data (file contents, the password) goes into a shell variable and from there through builtins: it is in no argv and no
environment. `dd` takes it from the pipe, since it reads exactly what it is told, which `head` does not promise.
"""

from __future__ import annotations

import secrets
import shlex
import time
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from meshfab.errors import LostError, NotReadyError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from fabric import Connection

# A host that talks without end must not fill the operator's memory.
MAX_ANSWER = 8 * 1024 * 1024
_LOOP = (
    "while read -r n m; do "
    'run=$(dd bs="$n" count=1 iflag=fullblock 2>/dev/null); '
    '[ "$m" = 0 ] || data=$(dd bs="$m" count=1 iflag=fullblock 2>/dev/null); '
    'eval "$run"; done'
)
# sudo keeps no environment worth having and may live outside a plain user's PATH; root needs none of it.
_AS_ROOT = 'if [ "$(id -u)" = 0 ]; then exec "$@"; fi; exec sudo -n -- "$@"'


@dataclass(frozen=True)
class Request:
    """A script of `meshfab/scripts`, its positional parameters and what it finds in `$data`.

    `stays` runs it in the shell itself and not in a subshell, for a lock or a trap that is to outlive it.
    """

    script: str
    args: tuple[str, ...] = ()
    data: str | None = None
    stays: bool = False

    def __repr__(self) -> str:
        """Without the data, which may be the password."""
        return f"Request({self.script!r}, {self.args!r})"


@dataclass(frozen=True)
class Answer:
    """What a script said."""

    script: str
    status: int
    out: bytes
    err: str

    @property
    def ok(self) -> bool:
        """Whether the script ended with 0."""
        return self.status == 0

    @property
    def text(self) -> str:
        """Its stdout as text; bytes that are no UTF-8 are shown as escapes."""
        return self.out.decode("utf-8", "backslashreplace").strip()


def script(name: str) -> str:
    """The text of a script that ships with the package."""
    return resources.files("meshfab").joinpath("scripts", f"{name}.sh").read_text(encoding="utf-8")


def words(args: Sequence[str]) -> str:
    """Shell words from data, quoted: the one place where that happens.

    >>> words(["a b", "$(reboot)"])
    "'a b' '$(reboot)'"
    """
    return shlex.join(args)


class RootShell:
    """A root shell on `c`'s host; use it as a context manager.

    Args:
        c: an open or openable Fabric connection.
        timeout: seconds that one request may take at most.
    """

    def __init__(self, c: Connection, *, timeout: float = 90.0) -> None:
        self.c = c
        self.host: str = getattr(c, "original_host", None) or str(c.host)
        self.timeout = timeout
        self._mark = secrets.token_hex(8)
        self._channel: Any = None
        self._waiting = 0
        self._out = bytearray()
        self._err = bytearray()

    def __enter__(self) -> RootShell:
        """Open the channel and start the shell; nothing is waited for yet."""
        from paramiko.ssh_exception import SSHException

        from meshfab.connect import opened

        try:
            self._channel = opened(self.c).create_session()
            self._channel.exec_command(f"sh -c {words([_AS_ROOT])} sh sh -c {words([_LOOP])}")
        except (SSHException, EOFError) as error:
            raise LostError(f"no command can be run ({error})", host=self.host, todo="run this again") from None
        self._send(f"mark={self._mark}\n{script('prelude')}", None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the channel; the remote shell ends with it and its trap cleans up."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    @property
    def is_idle(self) -> bool:
        """Whether every answer has come; an interrupted run leaves one outstanding, and a script that goes on."""
        return self._channel is not None and self._waiting == 0

    def run(self, name: str, *args: str, data: str | None = None, timeout: float | None = None) -> Answer:
        """Run one script and wait for its answer."""
        return self.batch([Request(name, args, data)], timeout=timeout)[0]

    def batch(self, requests: Sequence[Request], *, timeout: float | None = None) -> list[Answer]:
        """Send several scripts at once and collect their answers in one round trip.

        After the first one that fails the rest is skipped on the host; the answers end with the failed one.
        """
        self._waiting += 1
        for number, request in enumerate(requests):
            body = f"set -- {words(request.args)}\n{script(request.script)}"
            skip = "failed=0\n" if number == 0 else ""
            begin, end = ("{", "}") if request.stays else ("(", ")")
            self._send(
                f"{skip}if [ $failed = 0 ]; then {begin}\n{body}\n{end}\nanswer $?; else answer skipped; fi",
                request.data,
            )
        answers = []
        deadline = time.monotonic() + (timeout or self.timeout)
        for request in requests:
            out, status = self._receive("out", deadline)
            err, _ = self._receive("err", deadline)
            if status != "skipped":
                answers.append(
                    Answer(
                        request.script,
                        int(status),
                        out,
                        err.decode("utf-8", "backslashreplace").strip(),
                    )
                )
        self._waiting -= 1
        return answers

    def _send(self, body: str, data: str | None) -> None:
        code, payload = body.encode(), (data or "").encode()
        try:
            self._channel.sendall(b"%d %d\n%b%b" % (len(code), len(payload), code, payload))
        except OSError as error:
            raise self._ended() from error

    def _receive(self, stream: str, deadline: float) -> tuple[bytes, str]:
        """Read one stream up to the mark: what came before it, and the word that follows it."""
        read, buffer = {
            "out": (self._channel.recv, self._out),
            "err": (self._channel.recv_stderr, self._err),
        }[stream]
        mark = f"\n{self._mark} ".encode()
        while True:
            at = buffer.find(mark)
            end = buffer.find(b"\n", at + len(mark)) if at >= 0 else -1
            if end >= 0:
                found, status = (
                    bytes(buffer[:at]),
                    buffer[at + len(mark) : end].decode("ascii", "replace"),
                )
                del buffer[: end + 1]
                return found, status
            left = deadline - time.monotonic()
            if left <= 0:
                raise LostError(
                    "no answer in time; what was under way may still be running there",
                    host=self.host,
                )
            self._channel.settimeout(left)
            try:
                chunk = read(65536)
            except TimeoutError:
                continue
            if not chunk:
                raise self._ended()
            buffer += chunk
            if len(buffer) > MAX_ANSWER:
                raise LostError(
                    f"answers more than {MAX_ANSWER} bytes: not a host we can work with",
                    host=self.host,
                )

    def _ended(self) -> LostError | NotReadyError:
        """Why the shell is gone: sudo said no, a program is missing, or the line dropped."""
        channel, said = self._channel, bytes(self._err)
        channel.settimeout(2)
        try:
            while chunk := channel.recv_stderr(65536):
                said += chunk
        except OSError:
            pass
        text = said.decode("utf-8", "backslashreplace").strip()
        status = channel.recv_exit_status() if channel.exit_status_ready() else -1
        if "password is required" in text or "a terminal is required" in text:
            return NotReadyError(
                "sudo asks for a password",
                host=self.host,
                todo="give the login passwordless sudo, or log in as root",
            )
        if "not in the sudoers" in text or "not allowed to" in text:
            return NotReadyError(
                f"sudo refuses: {text}",
                host=self.host,
                todo="give the login sudo, or log in as root",
            )
        if status == 127:
            return NotReadyError(
                f"cannot become root: {text}",
                host=self.host,
                todo="install sudo, or log in as root",
            )
        if status > 0:
            return NotReadyError(f"the root shell ended with {status}: {text or 'no word'}", host=self.host)
        return LostError(
            "the connection dropped",
            host=self.host,
            todo="run the command again; it completes what is half done",
        )
