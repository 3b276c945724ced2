"""An HTTPS client for step-ca that trusts the operator's own root and nothing else.

The protocol is that of step-ca's `api/api.go`: JSON over HTTPS, the same paths at `/` and at `/1.0`.
"""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meshfab.errors import InputError, MintError, one_line

if TYPE_CHECKING:
    import http.client
    from collections.abc import Callable
    from pathlib import Path

# Bytes. A list of a hundred provisioners with their encrypted keys has 100 KB.
_MAX_ANSWER = 2 * 1024 * 1024
_SECONDS = 15.0


class UnreachableCaError(MintError):
    """The CA does not answer this machine; a host may reach it."""


@dataclass(frozen=True)
class CaAnswer:
    """An answer of the CA: its HTTP status, and the JSON object of its body (empty if it has none)."""

    status: int
    body: dict[str, Any]

    @property
    def message(self) -> str:
        """What the CA says of a refused request, in one line."""
        return one_line(str(self.body.get("message", "")))[:300] or f"HTTP status {self.status}"


class CaClient:
    """Kept connections to the CA: one for each thread that uses them at the same time.

    Args:
        url: the CA's URL.
        root_pem: the only certificates that the CA's chain may end with, PEM.
        dial: opens a connected socket to the CA; None connects from this machine.
    """

    def __init__(self, url: str, root_pem: str, dial: Callable[[], socket.socket] | None = None) -> None:
        parts = urlsplit(url)
        self.url, self.host, self.port = url.rstrip("/"), parts.hostname or "", parts.port or 443
        self._dial = dial or self._connect
        self._context = _context(root_pem)
        self._idle: list[http.client.HTTPConnection] = []
        self._lock, self._is_closed = Lock(), False

    def get(self, path: str) -> CaAnswer:
        """Ask for a path such as `/health`.

        Raises:
            UnreachableCaError: the CA is not reached, or answers no JSON.
            MintError: its certificate does not chain to the root, or has another name.
        """
        return self._request("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> CaAnswer:
        """Send a JSON object. It is sent once: a token in it must not be used again. Errors as for `get`."""
        return self._request("POST", path, json.dumps(body).encode())

    def close(self) -> None:
        """Close the connections; one that a thread still uses is closed when it has its answer."""
        with self._lock:
            self._is_closed, idle, self._idle = True, self._idle, []
        for connection in idle:
            connection.close()

    def _request(self, method: str, path: str, body: bytes | None) -> CaAnswer:
        from http.client import HTTPException

        try:
            return self._exchange(method, path, body)
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or str(error)
            what = f"the certificate of {self.url} is not accepted ({one_line(str(reason))[:200]})"
            remedy = "is meshfab.operator_root the root of this CA, and the CA's name in ca_url the right one?"
            raise MintError(what, remedy=remedy) from None
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            reason = one_line(str(error))[:200] or type(error).__name__
            what = f"the CA at {self.url} is not reached from this machine ({reason})"
            raise UnreachableCaError(what, remedy="is it up, and does the mesh's network work here?") from None

    def _exchange(self, method: str, path: str, body: bytes | None) -> CaAnswer:
        connection = self._take()
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            raw = response.read(_MAX_ANSWER + 1)
            if len(raw) > _MAX_ANSWER:
                raise ValueError(f"its answer is longer than {_MAX_ANSWER} bytes")
            answer = json.loads(raw) if raw.strip() else {}
        except BaseException:
            connection.close()
            raise
        self._put_back(connection)
        return CaAnswer(response.status, answer if isinstance(answer, dict) else {})

    def _take(self) -> http.client.HTTPConnection:
        """A connection that no other thread uses: a kept one, or a new one."""
        from http.client import HTTPConnection

        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = HTTPConnection(self.host, self.port)
                connection.sock = self._context.wrap_socket(self._dial(), server_hostname=self.host)
                return connection
            if not _is_closed(connection.sock):
                return connection
            connection.close()

    def _put_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=_SECONDS)


def _context(root_pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=root_pem)
    except (ssl.SSLError, ValueError) as error:
        raise InputError(f"the operator's root holds no certificate ({error})") from None
    return context


def _is_closed(sock: Any) -> bool:
    """Whether the CA has closed a kept connection. An idle connection has nothing to read but its end."""
    import select

    return sock is None or bool(select.select([sock], [], [], 0)[0])


def read_root(file: Path) -> str:
    """The operator's own root certificate, PEM.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        remedy = "set meshfab.operator_root to the mesh's root certificate on this machine"
        raise InputError(f"the root {file} cannot be read ({type(error).__name__})", remedy=remedy) from None
