"""SSH transports with TCP options for low latency, and a preference for the host key types in known_hosts."""

from __future__ import annotations

import socket
from typing import Any

# Nagle's algorithm adds 40 ms to every command. The kernel detects a silent peer within 20 s: on an idle connection by
# keepalive probes, otherwise by the timeout of unacknowledged data. paramiko's own keepalive waits for no answer.
_SOCKET_OPTIONS = (
    (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 20_000),
)
# known_hosts lists RSA keys as ssh-rsa; SSH negotiates their signature algorithms (RFC 8332).
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


class StrictTransport:
    """A factory of transports, for paramiko's `transport_factory`.

    Args:
        transport_class: paramiko's Transport.
        key_types: the key types of the host in known_hosts, which the key exchange asks for first.
    """

    def __init__(self, transport_class: Any, key_types: tuple[str, ...]) -> None:
        self.transport_class, self.key_types = transport_class, key_types

    def __call__(self, sock: Any, **kwargs: Any) -> Any:
        """Make a transport over a socket, or over the channel of a jump host; paramiko calls this."""
        # A channel has no socket options: the options of the jump host's own socket apply.
        if hasattr(sock, "setsockopt"):
            for level, name, value in _SOCKET_OPTIONS:
                if hasattr(socket, name):
                    sock.setsockopt(level, getattr(socket, name), value)
        transport = self.transport_class(sock, **kwargs)
        options = transport.get_security_options()
        algorithms = [name for key_type in self.key_types for name in _ALGORITHMS.get(key_type, (key_type,))]
        preferred = [name for name in algorithms if name in options.key_types]
        options.key_types = [*preferred, *(name for name in options.key_types if name not in preferred)]
        return transport
