"""A slow CA: `python -m lab.faults.slow_proxy SECONDS` is a TCP proxy before the CA that delays its answers."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from lab import layout
from lab.errors import LabError
from lab.layout import current
from lab.machine import namespace_holder
from lab.machine.process import is_gone, run, running_pid, send_signal, spawn, wait_until

_PORT = 8443
_MARK = 0x51
_SO_MARK = 36
_SIGKILL = 9
_READY = "ready\n"
# New connections to the CA are redirected to the proxy. The proxy's own connections have a mark and are not redirected.
_RULES = f"""
table ip slow_proxy {{
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        ip daddr {layout.CA_ADDRESS} tcp dport 443 redirect to :{_PORT}
    }}
    chain output {{
        type nat hook output priority -100;
        meta mark != {_MARK} ip daddr {layout.CA_ADDRESS} tcp dport 443 redirect to :{_PORT}
    }}
}}
"""


def ca_slow(seconds: float) -> None:
    """Delay each answer of the CA until so many seconds after its request, until `ca_quick` is called.

    TLS handshakes are not delayed, and connections that are already open are not changed.
    """
    ca_quick()
    lab = current()
    log = lab.logs / "slow-proxy"
    log.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "lab.faults.slow_proxy", str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(lab.checkout)}
    pid = spawn(namespace_holder.nsenter(lab, *argv), log, lab.pids / "slow-proxy", environment)
    wait_until(lambda: _READY in log.read_text() or is_gone(pid), f"the slow proxy to start; see {log}", 60, 0.005)
    if is_gone(pid):
        raise LabError(f"the slow proxy did not start; see {log}")
    run(namespace_holder.nsenter(lab, "nft", "-f", "-"), stdin=_RULES)


def ca_quick() -> bool:
    """Undo `ca_slow`; answers that are being delayed are lost. Returns whether the CA was slow."""
    lab = current()
    pid = running_pid(lab.pids / "slow-proxy")
    is_redirected = "table ip slow_proxy" in run(namespace_holder.nsenter(lab, "nft", "list", "tables"))
    if is_redirected:
        run(namespace_holder.nsenter(lab, "nft", "delete", "table", "ip", "slow_proxy"))
    if pid is not None:
        send_signal([pid], _SIGKILL)
        wait_until(lambda: is_gone(pid), "the slow proxy to end", 60)
    return is_redirected or pid is not None


class _ClientConnection(asyncio.Protocol):
    """One connection from a client, and the connection to the CA that belongs to it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.requests = 0
        self.last_received = self.answer_due = 0.0
        self.is_requesting = False
        self.buffer = b""
        self.server: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self.client = transport
        self.connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, _SO_MARK, _MARK)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(connection, (layout.CA_ADDRESS, 443))
        except OSError:
            self.client.abort()
            return
        self.server, _ = await loop.create_connection(lambda: _ServerConnection(self), sock=connection)
        if self.buffer:
            self.server.write(self.buffer)

    def data_received(self, data: bytes) -> None:
        self.requests += not self.is_requesting
        self.is_requesting = True
        self.last_received = asyncio.get_running_loop().time()
        if self.server is None:
            # Before Python 3.12 a protocol cannot pause the reading of a transport in connection_made.
            self.buffer += data
        else:
            self.server.write(data)

    def answer(self, data: bytes) -> None:
        """Send an answer of the CA when it is due; empty data closes the connection.

        The first request of a connection is the ClientHello of TLS, so its answer is not delayed.
        """
        self.is_requesting = False
        loop = asyncio.get_running_loop()
        delay = self.seconds if self.requests > 1 else 0
        # Two answers are never due at the same time, because the loop would not keep their order.
        self.answer_due = max(self.last_received + delay, self.answer_due + 1e-6)
        if data:
            loop.call_at(self.answer_due, self.client.write, data)
        else:
            loop.call_at(self.answer_due, self.client.close)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature is asyncio's
        if self.server is not None:
            self.server.close()


class _ServerConnection(asyncio.Protocol):
    def __init__(self, client: _ClientConnection) -> None:
        self.client = client

    def data_received(self, data: bytes) -> None:
        self.client.answer(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature is asyncio's
        self.client.answer(b"")


async def _serve(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _ClientConnection(seconds), "0.0.0.0", _PORT)  # noqa: S104
    sys.stdout.write(_READY)
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
