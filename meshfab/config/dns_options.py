"""The setting `dns`: in which way names are published, and where. Checked when the settings are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshfab.config import validation
from meshfab.errors import InputError

# The keys of each kind: those that it needs, and those that it may have.
_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "rfc2136": (("server", "key_file"), ("zone", "ttl")),
    "hosts-file": (("host", "file"), ("server", "reload")),
    "unbound": (("host", "file"), ("server", "reload", "ttl")),
    "command": (("command",), ("server",)),
}
KINDS = tuple(_KEYS)
_LONGEST_WAIT, _LONGEST_TTL = 3600, 86400


@dataclass(frozen=True)
class DnsOptions:
    """The setting `dns`, checked.

    Attributes:
        kind: one of KINDS.
        server: address and port of the DNS server, which is asked in the end; None if it is not known.
        zone: the zone that is updated (`rfc2136`).
        key_file: the file of the TSIG key on the operator's machine (`rfc2136`); `~` is expanded by `key_path`.
        ttl: the records' time to live, in seconds (`rfc2136`, `unbound`).
        host: the host that has the file, reached over SSH (`hosts-file`, `unbound`).
        file: the absolute path of the file there.
        reload: the command that makes the server read the file, run there as root; empty for the kind's own.
        command: a program of one's own and its arguments, run here without a shell (`command`).
        wait: for how many seconds those who are asked may take to give the new address.
    """

    kind: str
    server: tuple[str, int] | None = None
    zone: str = ""
    key_file: str = ""
    ttl: int = 300
    host: str = ""
    file: str = ""
    reload: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    wait: int = 30

    @property
    def key_path(self) -> Path:
        """The path of the TSIG key, with `~` expanded."""
        return Path(self.key_file).expanduser()


def parse(value: Any, domain: str) -> DnsOptions | None:
    """Check the setting; None where names are published by hand.

    >>> parse({"kind": "rfc2136", "server": "10.87.0.1", "key_file": "~/mesh.key"}, "internal").zone
    'internal'

    Args:
        value: the setting.
        domain: the domain of the services, which is the zone unless another is set.

    Raises:
        InputError: a key is missing or unknown, or a value is not usable.
    """
    if value is None:
        return None
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind not in _KEYS:
        raise InputError("meshfab.dns has no usable kind", remedy=f"set meshfab.dns.kind to one of {', '.join(KINDS)}")
    required, optional = _KEYS[kind]
    for key in value:
        if key not in ("kind", "wait", *required, *optional):
            known = ", ".join(("wait", *required, *optional))
            raise InputError(f"meshfab.dns.{key} has no meaning for {kind}", remedy=f"it takes {known}")
    for key in required:
        if key not in value:
            raise InputError(f"meshfab.dns.{key} is missing, and {kind} needs it", remedy=f"set meshfab.dns.{key}")
    checked: dict[str, Any] = {key: _CHECKS[key](value[key], f"meshfab.dns.{key}") for key in value}
    return DnsOptions(**{"zone": domain, **checked})


def networks(value: Any) -> tuple[str, ...]:
    """Check `mesh_network`: one network, or a list of them; never a public one.

    >>> networks("10.87.0.0/16")
    ('10.87.0.0/16',)
    """
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)):
        raise InputError("meshfab.mesh_network is not a network", remedy="set it as 10.87.0.0/16, or a list of such")
    return tuple(_network(each) for each in listed)


def _network(value: Any) -> str:
    # Here, as in `validation`: `inv --list` makes settings, and none of their defaults is a network.
    from ipaddress import ip_network

    try:
        network = ip_network(value) if isinstance(value, str) else None
    except ValueError:
        network = None
    if network is None:
        raise InputError(f"meshfab.mesh_network {value!r} is not a network", remedy="set it as 10.87.0.0/16")
    # Python calls 0.0.0.0/0 private in some versions, since both of its ends are.
    if network.is_global or network.prefixlen == 0:
        what = f"meshfab.mesh_network {network} is public, and no service's name leads to a public address"
        raise InputError(what, remedy="set the network of the mesh itself")
    return str(network)


def _kind(value: Any, _subject: str) -> str:
    return str(value)


def _server(value: Any, subject: str) -> tuple[str, int]:
    """An address, with or without a port: 10.87.0.1, 10.87.0.1:5353, [fd87::1]:5353."""
    text = str(value)
    address, port = text, "53"
    if text.startswith("["):
        address, _, port = text[1:].partition("]:")
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise InputError(f"{subject} {text!r} has no usable port", remedy="set ADDRESS or ADDRESS:PORT")
    return validation.address(address, subject), int(port)


def _whole(most: int) -> Callable[[Any, str], int]:
    def check(value: Any, subject: str) -> int:
        if type(value) is not int or not 0 <= value <= most:
            raise InputError(f"{subject} is {value!r}", remedy=f"set a number of seconds from 0 to {most}")
        return value

    return check


def _argv(value: Any, subject: str) -> tuple[str, ...]:
    is_list = isinstance(value, (list, tuple)) and value and all(isinstance(word, str) and word for word in value)
    if not is_list:
        raise InputError(
            f"{subject} is not a list of a program and its arguments", remedy="write it as [PROGRAM, WORD]"
        )
    return tuple(value)


def _file(value: Any, subject: str) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"{subject} is {value!r}", remedy="set the path of a file")
    return value


def _host(value: Any, _subject: str) -> str:
    return validation.host(value)


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "kind": _kind,
    "server": _server,
    "zone": validation.dns_name,
    "key_file": _file,
    "ttl": _whole(_LONGEST_TTL),
    "host": _host,
    "file": validation.path,
    "reload": _argv,
    "command": _argv,
    "wait": _whole(_LONGEST_WAIT),
}
