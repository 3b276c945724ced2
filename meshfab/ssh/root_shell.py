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
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

from meshfab.config.password import HiddenText
from meshfab.errors import ConnectError, LostError, NotReadyError, StoppedError, SudoAsksError
from meshfab.ssh.deadline import limit
from meshfab.ssh.script import Answer, Request, message, readable, shell_words
from meshfab.ssh.shell_channel import RERUN, ShellChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from fabric import Connection

# Bytes that a host may send before its shell runs: sudo's lecture, and what a ~/.bashrc prints.
_MAX_GREETING = 16 * 1024
# After this much more than its time limit, the connection of a batch is closed: paramiko can block in sending, without
# any time-out, when the host reads nothing.
_GRACE_SECONDS = 1.0
# Variables that the login exports (SendEnv, ~/.ssh/environment) would be exported with our values, to every program.
_LOOP = (
    "set +a; unset data run n mark; echo $$; "
    'while read -r n; do run=$(dd bs="$n" count=1 iflag=fullblock 2>/dev/null); eval "$run"; unset run; done'
)
# LC_ALL: sudo's messages are compared in English.
_AS_LOGIN = 'LC_ALL=C; export LC_ALL; exec "$@"'
_AS_ROOT = 'LC_ALL=C; export LC_ALL; if [ "$(id -u)" = 0 ]; then exec "$@"; fi; exec sudo %s -- "$@"'


class RootShell:
    """A root shell on `c`'s host, or one of the login itself; use it as a context manager.

    Args:
        c: a Fabric connection, open or not. Its `config.sudo.password` is sent if sudo prompts for a password.
        timeout: the time limit of one batch, in seconds.
        as_root: False runs it as the login, without sudo.
    """

    def __init__(self, c: Connection, *, timeout: float = 90.0, as_root: bool = True) -> None:
        self.c = c
        self.host = str(getattr(c, "original_host", ""))
        self.timeout = timeout
        self.pid = ""
        self._as_root = as_root
        self._mark = secrets.token_hex(8)
        self._channel: ShellChannel | None = None
        self._stop_reason = ""
        self._unanswered = 0

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
            with limit(self.c, _GRACE_SECONDS):
                self._channel.close()
            self._channel = None

    def interrupt(self, reason: str) -> None:
        """Stop it from another thread: a caller that waits for an answer gets a StoppedError with the reason."""
        self._stop_reason, channel = reason, self._channel
        if channel is not None:
            channel.stop_reason = reason
        # In a thread: what is sent to close a channel blocks when the host reads nothing.
        close = self.c.client.close if channel is None else channel.close
        Thread(target=_close, args=(close,), name="interrupt", daemon=True).start()

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
        seconds = timeout or self.timeout
        deadline = time.monotonic() + seconds
        with limit(self.c, seconds + _GRACE_SECONDS):
            try:
                return self._batch(requests, deadline)
            except SudoAsksError:
                if not self.c.config.sudo.password:
                    raise
            self._start_with_password(deadline)
            return self._batch(requests, deadline)

    def _batch(self, requests: Sequence[Request], deadline: float) -> list[Answer]:
        channel = self._open_channel
        self._unanswered += 1
        channel.begin_batch()
        channel.send(message(requests, self._mark, with_library=not self.pid), deadline)
        if not self.pid:
            self.pid = channel.receive_out(deadline)[0].decode("ascii", "replace").strip()
            channel.receive_err(deadline)
        answers = []
        for request in requests:
            out, status = channel.receive_out(deadline)
            err = channel.receive_err(deadline)
            if status != "skipped":
                # A host may send any number of digits.
                exit_status = int(status) if status.isdecimal() and len(status) <= 3 else 255
                answers.append(Answer(request.script, exit_status, out, readable(err)))
        self._unanswered -= 1
        return answers

    def _start(self, sudo: str) -> None:
        from paramiko.ssh_exception import SSHException

        from meshfab.ssh.connection import ensure_open

        self._unanswered = 0
        try:
            # A host may leave the request for a command unanswered, and paramiko waits for ever.
            with limit(self.c, self.timeout):
                self._channel = ShellChannel(ensure_open(self.c, self.timeout), self.host, self._mark)
                # $0 is `meshfab`: scripts/provisioning/stop.sh recognises the shell by it.
                start = _AS_ROOT % sudo if self._as_root else _AS_LOGIN
                self._channel.run(f"sh -c {shell_words([start])} sh sh -c {shell_words([_LOOP])} meshfab")
        except (ConnectError, SSHException, EOFError) as error:
            if not self._stop_reason:
                if isinstance(error, ConnectError):
                    raise
                raise LostError(f"no command can be run ({error})", host=self.host, remedy=RERUN) from None
        if self._stop_reason:
            raise StoppedError(self._stop_reason, host=self.host, remedy=RERUN)

    def _start_with_password(self, deadline: float) -> None:
        """Start again with sudo's password, which is sent after sudo's own prompt only.

        With -k sudo always prompts. Otherwise it might not read the password, and the shell would read it as a request.
        The shell's first line (its pid) shows that sudo accepted the password; nothing else is sent before.
        """
        # Not the protocol's mark: the users of the host see the prompt in sudo's arguments.
        prompt = f"[{secrets.token_hex(8)}]"
        self._start(f"-S -k -p '{prompt}'")
        channel = self._open_channel
        channel.combine(True)
        output, prompts = b"", 0
        # sudo-rs ends the prompt's line on stderr, which may arrive before the pid or after it.
        pattern = re.compile(rb"(?:^|\n|: )(\d{1,10}\n)\n?\Z")
        while not (pid := pattern.search(output.rpartition(prompt.encode())[2][-16:])):
            if output.count(prompt.encode()) > prompts:
                prompts += 1
                if prompts > 1:
                    what, remedy = "sudo does not accept the password", "check it, then run this again"
                    raise NotReadyError(what, host=self.host, remedy=remedy)
                channel.send(memoryview(f"{HiddenText(self.c.config.sudo.password)}\n".encode()), deadline)
            output += channel.receive_some(deadline)
            channel.sudo_output = output.replace(prompt.encode(), b"")
            if len(output) > _MAX_GREETING:
                raise channel.too_long(_MAX_GREETING)
        channel.combine(False)
        channel.sudo_output = b""
        channel.put_back(pid[1])

    @property
    def _open_channel(self) -> ShellChannel:
        assert self._channel is not None, "use the shell as a context manager"  # noqa: S101
        return self._channel


def _close(close: Callable[[], object]) -> None:
    """Close a channel or a connection that may have ended already."""
    from paramiko.ssh_exception import SSHException

    with suppress(OSError, EOFError, SSHException):
        close()
