"""A TLS client: what it gets is the only proof that a certificate is in use."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from meshfab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from ssl import SSLContext

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

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        return Served(_handshake(context, address, fqdn, port, timeout), address, port)
    except (OSError, ValueError) as error:
        return Served(None, address, port, why=_reason(error))


@dataclass(frozen=True)
class Verified:
    """What a client got that checks the chain, as a browser does.

    Attributes:
        served: the leaf, also one whose chain is not trusted.
        fault: why the chain is not trusted, in OpenSSL's words; empty if it is, or nothing answered.
    """

    served: Served
    fault: str = ""


# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED, which the leaf's own dates tell better.
_DATE_FAULTS = (9, 10)


def ask_verified(address: str, fqdn: str, root: Path, port: int = 443, *, timeout: float = SECONDS) -> Verified:
    """The same as `ask`, with a check of the chain against one root certificate.

    Args:
        address: an IP address.
        fqdn: the name for SNI; it is not compared with the certificate.
        root: the mesh's root certificate on this machine, PEM.
        port: the TCP port.
        timeout: seconds for each of the two connections that it takes where the chain is not trusted.

    Raises:
        InputError: the root cannot be used.
    """
    import ssl

    context = verifying_context(str(root))
    try:
        return Verified(Served(_handshake(context, address, fqdn, port, timeout), address, port))
    except ssl.SSLCertVerificationError as error:
        served = ask(address, fqdn, port, timeout=timeout)
        fault = "" if error.verify_code in _DATE_FAULTS else error.verify_message
        return Verified(served, fault)
    except (OSError, ValueError) as error:
        return Verified(Served(None, address, port, why=_reason(error)))


@cache
def verifying_context(root: str) -> SSLContext:
    """What a client needs to trust this root certificate (a path) and no other; the name is not compared.

    Raises:
        InputError: the file cannot be read, or has no certificate.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.load_verify_locations(cafile=root)
    except (OSError, ValueError) as error:
        remedy = "set meshfab.operator_root to the mesh's root certificate on this machine"
        raise InputError(f"the root {root} cannot be used ({type(error).__name__})", remedy=remedy) from None
    return context


def _handshake(context: SSLContext, address: str, fqdn: str, port: int, timeout: float) -> bytes | None:
    deadline = time.monotonic() + timeout
    with (
        socket.create_connection((address, port), timeout=timeout) as raw,
        context.wrap_socket(raw, server_hostname=fqdn, do_handshake_on_connect=False) as tls,
    ):
        # For a handshake the time-out is that of the whole, not of each byte (ssl.SSLSocket, since 3.5).
        tls.settimeout(max(deadline - time.monotonic(), 0.001))
        tls.do_handshake()
        return tls.getpeercert(binary_form=True)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


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
