"""A fake SSH channel and connection that run a shell on this machine."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import signal
import subprocess
import termios
from contextlib import suppress
from types import SimpleNamespace
from typing import Any


class LocalChannel:
    """The part of paramiko's Channel that RootShell uses, over a shell on this machine."""

    def __init__(self, path: str, environment: dict[str, str]) -> None:
        self.path, self.environment = path, environment
        self.timeout: float | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.commands: list[str] = []
        self.sent = bytearray()
        self.is_combined = False
        self.is_timed_out = False

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def exec_command(self, command: str) -> None:
        self.commands.append(command)
        pipe = subprocess.PIPE
        env = {"PATH": self.path, "LANG": "C.UTF-8", "HOME": "/nonexistent", **self.environment}
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=env,
            start_new_session=True,
        )

    def send(self, data: memoryview) -> int:
        self.sent += data
        assert self.running.stdin is not None
        self.running.stdin.write(data)
        self.running.stdin.flush()
        return len(data)

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def set_combine_stderr(self, combine: bool) -> None:
        self.is_combined = combine

    def recv(self, size: int) -> bytes:
        if self.is_combined:
            return self._read(size, self.running.stdout, self.running.stderr)
        return self._read(size, self.running.stdout)

    def recv_stderr(self, size: int) -> bytes:
        return self._read(size, self.running.stderr)

    def recv_ready(self) -> bool:
        return self._is_ready(self.running.stdout)

    def recv_stderr_ready(self) -> bool:
        return self._is_ready(self.running.stderr)

    def _is_ready(self, stream: Any) -> bool:
        """Whether there is a byte; the end of a stream is none."""
        size = array.array("i", [0])
        fcntl.ioctl(stream.fileno(), termios.FIONREAD, size)
        return size[0] > 0

    @property
    def status_event(self) -> SimpleNamespace:
        return SimpleNamespace(wait=self._wait)

    def _wait(self, seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.running.wait(seconds)

    def exit_status_ready(self) -> bool:
        return self.running.poll() is not None

    def recv_exit_status(self) -> int:
        return self.running.wait(5)

    def close(self) -> None:
        """Close the channel: the shell ends at the end of its input. One that does not is killed."""
        for stream in (self.running.stdin, self.running.stdout, self.running.stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        try:
            self.running.wait(0 if self.is_timed_out else 5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait(5)

    def kill(self) -> None:
        """Simulate a lost connection: kill the remote end."""
        os.killpg(self.running.pid, signal.SIGKILL)
        self.running.wait(5)

    def _read(self, size: int, *streams: Any) -> bytes:
        ready = select.select(streams, [], [], self.timeout)[0]
        if not ready:
            self.is_timed_out = True
            raise TimeoutError
        self.is_timed_out = False
        chunks = [os.read(stream.fileno(), size) for stream in ready]
        if not any(chunks):
            # A real channel has the exit status when it ends.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.running.wait(2)
        return b"".join(chunks)


class LocalConnection:
    """The part of a Fabric connection that RootShell uses, to this machine."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.host = self.original_host = "h2"
        self.config = SimpleNamespace(sudo=SimpleNamespace(password=None))
        self.client = SimpleNamespace(close=self.close)
        self.environment: dict[str, str] = {}
        self.channel_class = LocalChannel
        self.channels: list[LocalChannel] = []
        self.transport = SimpleNamespace(open_session=self.open_session)

    def open(self) -> None:
        pass

    def open_session(self) -> LocalChannel:
        self.channels.append(self.channel_class(self.path, self.environment))
        return self.channels[-1]

    def close(self) -> None:
        for channel in self.channels:
            channel.close()
