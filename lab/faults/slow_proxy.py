"""A slow CA: `python -m lab.faults.slow_proxy SECONDS` stands before it and sits on its answers."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from lab import layout
from lab.errors import LabError
from lab.layout import current
from lab.machine import namespace_holder
from lab.machine.process import is_gone, recorded, run, send, spawn, wait_until

_PORT = 8443
_MARK = 0x51
_SO_MARK = 36
_KILL = 9
_READY = "ready\n"
# From the next connection on, whoever calls the CA gets us; our own calls are marked.
_RULES = f"""
table ip slow {{
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
    """Have the CA answer each request only so many seconds after it was sent; TLS is as quick as
    ever, and connections that are open already stay as they are. Until `ca_quick`."""
    ca_quick()
    lab = current()
    log = lab.logs / "slow"
    log.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "lab.faults.slow_proxy", str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(lab.checkout)}
    pid = spawn(namespace_holder.inside(lab, *argv), log, lab.pids / "slow", environment)
    wait_until(lambda: _READY in log.read_text() or is_gone(pid), "the slow CA", 10, 0.005)
    if is_gone(pid):
        raise LabError(f"the slow CA did not come up; see {log}")
    run(namespace_holder.inside(lab, "nft", "-f", "-"), stdin=_RULES)


def ca_quick() -> None:
    """Undo `ca_slow`; answers that it still sits on are lost."""
    lab = current()
    pid = recorded(lab.pids / "slow")
    if "table ip slow" in run(namespace_holder.inside(lab, "nft", "list", "tables")):
        run(namespace_holder.inside(lab, "nft", "delete", "table", "ip", "slow"))
    if pid is not None:
        send([pid], _KILL)
        wait_until(lambda: is_gone(pid), "the slow CA to end", 5)


class _Client(asyncio.Protocol):
    """One connection of a client, and ours to the CA for it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.flights = 0
        self.asked = self.due = 0.0
        self.is_asking = False
        self.early = b""
        self.server: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a fact for the type checker
        self.client = transport
        self.dialling = asyncio.ensure_future(self._dial())

    async def _dial(self) -> None:
        link = socket.socket()
        link.setblocking(False)
        link.setsockopt(socket.SOL_SOCKET, _SO_MARK, _MARK)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(link, (layout.CA_ADDRESS, 443))
        except OSError:
            self.client.abort()
            return
        self.server, _ = await loop.create_connection(lambda: _Server(self), sock=link)
        if self.early:
            self.server.write(self.early)

    def data_received(self, data: bytes) -> None:
        self.flights += not self.is_asking
        self.is_asking = True
        self.asked = asyncio.get_running_loop().time()
        if self.server is None:
            # Before Python 3.12 a protocol cannot stop a transport that is just being made from reading.
            self.early += data
        else:
            self.server.write(data)

    def answer(self, data: bytes) -> None:
        """Send what the CA said, at its time. A client's first words are a TLS hello, which no
        application has to think about; an empty answer is the end."""
        self.is_asking = False
        loop = asyncio.get_running_loop()
        wait = self.seconds if self.flights > 1 else 0
        # Never two at the same time: the loop would not keep their order.
        self.due = max(self.asked + wait, self.due + 1e-6)
        if data:
            loop.call_at(self.due, self.client.write, data)
        else:
            loop.call_at(self.due, self.client.close)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own form
        if self.server is not None:
            self.server.close()


class _Server(asyncio.Protocol):
    def __init__(self, client: _Client) -> None:
        self.client = client

    def data_received(self, data: bytes) -> None:
        self.client.answer(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own form
        self.client.answer(b"")


async def _stand_before(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Client(seconds), "0.0.0.0", _PORT)  # noqa: S104
    sys.stdout.write(_READY)
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_stand_before(float(sys.argv[1])))
