"""An SSH server in this process that does what a test says, and a connection to it as RootShell uses one."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import paramiko

if TYPE_CHECKING:
    from collections.abc import Callable

_HOST_KEY = paramiko.ECDSAKey.generate()


class Server(paramiko.ServerInterface):
    """Lets everybody in, and gives each command to a function that plays the host."""

    def __init__(self, play: Callable[[Any], object], answers_exec: bool) -> None:
        self.play, self.answers_exec = play, answers_exec
        self.never = threading.Event()

    def get_allowed_auths(self, _username: str) -> str:
        return "none"

    def check_auth_none(self, _username: str) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, _kind: str, _chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: Any, _command: bytes) -> bool:
        if not self.answers_exec:
            self.never.wait()
        threading.Thread(target=self._run, args=(channel,), daemon=True).start()
        return True

    def _run(self, channel: Any) -> None:
        # The client may close the connection at any moment.
        with suppress(OSError, EOFError, paramiko.SSHException):
            self.play(channel)


class ServerConnection:
    """The part of a Fabric connection that RootShell uses, to a server in this process."""

    def __init__(self, play: Callable[[Any], object], *, answers_exec: bool = True) -> None:
        ours, theirs = socket.socketpair()
        self.server = Server(play, answers_exec)
        self.server_transport = paramiko.Transport(theirs)
        self.server_transport.add_server_key(_HOST_KEY)
        self.server_transport.start_server(threading.Event(), self.server)
        self.transport = paramiko.Transport(ours)
        self.transport.start_client(timeout=10)
        self.transport.auth_none("ops")
        self.host = self.original_host = "h2"
        self.client = SimpleNamespace(close=self.transport.close)
        self.config = SimpleNamespace(sudo=SimpleNamespace(password=None))

    def open(self) -> None:
        pass

    def create_session(self) -> Any:
        return self.transport.open_session(timeout=10)

    def close(self) -> None:
        self.server.never.set()
        self.transport.close()
        self.server_transport.close()
