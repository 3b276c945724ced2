"""SSH transports that differ from paramiko's: no delayed packets, and the recorded host keys are asked for first."""

from __future__ import annotations

import socket
from typing import Any

# Nagle's algorithm adds 40 ms to every command. The kernel finds a silent peer in 20 s, by its probes on an idle
# connection and by the time-out of unacknowledged data otherwise: paramiko's keepalive does not ask for an answer.
_SOCKET_OPTIONS = (
    (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 20_000),
)
# RSA keys are on record as ssh-rsa and negotiated by their signature algorithms (RFC 8332).
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


class StrictTransport:
    """Makes transports that ask for the key types on record first, and do not wait for delayed ACKs."""

    def __init__(self, transport: Any, kinds: tuple[str, ...]) -> None:
        self.transport, self.kinds = transport, kinds

    def __call__(self, sock: Any, **kwargs: Any) -> Any:
        """Called by paramiko with the socket, or the channel of a jump host."""
        # A jump host's channel has no socket options, and needs none.
        if hasattr(sock, "setsockopt"):
            for level, name, value in _SOCKET_OPTIONS:
                if hasattr(socket, name):
                    sock.setsockopt(level, getattr(socket, name), value)
        made = self.transport(sock, **kwargs)
        options = made.get_security_options()
        wanted = [name for kind in self.kinds for name in _ALGORITHMS.get(kind, (kind,)) if name in options.key_types]
        options.key_types = [*wanted, *(name for name in options.key_types if name not in wanted)]
        return made
