"""A TLS client: what it gets is the only proof that a certificate is in use."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 5.0
T = TypeVar("T")


@dataclass(frozen=True)
class Served:
    """The leaf that a TLS client got.

    Attributes:
        der: the leaf, DER; None when nothing answered.
        address: where it was asked for.
        port: the TCP port.
        why: the reason for no answer.
        via: the host that asked; empty for the operator's machine.
    """

    der: bytes | None
    address: str
    port: int = 443
    why: str = ""
    via: str = ""

    @property
    def location(self) -> str:
        """Address and port as a client writes them; an IPv6 address in brackets (RFC 3986, 3.2.2).

        >>> Served(None, "fd00::12").location
        '[fd00::12]:443'
        """
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def resolve(fqdn: str) -> tuple[str, ...]:
    """The addresses of a name for the operator; empty when it does not resolve."""
    try:
        return tuple(dict.fromkeys(str(info[4][0]) for info in socket.getaddrinfo(fqdn, 443, type=socket.SOCK_STREAM)))
    except OSError:
        return ()


def ask(address: str, fqdn: str, port: int = 443, *, timeout: float = SECONDS) -> Served:
    """Ask one address for the leaf under SNI `fqdn`. The chain is not checked here: only which leaf it is.

    Args:
        address: an IP address.
        fqdn: the name for SNI.
        port: the TCP port.
        timeout: seconds for the TCP connection and the handshake together.
    """
    import ssl

    deadline = time.monotonic() + timeout

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address, port), timeout=timeout) as raw,
            context.wrap_socket(raw, server_hostname=fqdn, do_handshake_on_connect=False) as tls,
        ):
            # For a handshake the time-out is that of the whole, not of each byte (ssl.SSLSocket, since 3.5).
            tls.settimeout(max(deadline - time.monotonic(), 0.001))
            tls.do_handshake()
            return Served(tls.getpeercert(binary_form=True), address, port)
    except (OSError, ValueError) as error:
        return Served(None, address, port, why=getattr(error, "strerror", None) or str(error))


def until(is_done: Callable[[T], bool], look: Callable[[], T], *, seconds: float = 10.0) -> T:
    """Look until what is seen is as wanted or the time is up, and return the last look.

    nginx's master takes a reload up after the reload command has returned. The first look is at once and the pauses
    grow from 5 ms, so that a quick nginx costs next to nothing.
    """
    deadline, pause = time.monotonic() + seconds, 0.005
    while not is_done(result := look()) and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 2, 0.25)
    return result
