"""The strict Fabric connection: no password ever goes to a host whose key is not on record.

Fabric accepts any key, a changed one too (fabric#2071): it installs AutoAddPolicy and never reads known_hosts. Here the
target and every jump host are checked against the files that `ssh` itself would read.
"""

from __future__ import annotations

import getpass
import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshfab import host_keys
from meshfab.errors import ConnectError, HostKeyError, InputError
from meshfab.validation import host as valid_host
from meshfab.validation import host_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fabric import Connection

__all__ = ["connect"]

CONNECT_SECONDS = 10
# Nagle's algorithm costs 40 ms on every command. A peer that went silent is found out in 20 s, by the kernel's probes
# while nothing is under way and by the time-out of what is: paramiko's own keepalive asks for no answer.
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


def connect(host: str, config: Any = None, *, ssh_config: str | None = None, accept_new: bool = False) -> Connection:
    """A strict connection to `host`, not yet open.

    It is opened by its first use, or by `open()`, and then raises `meshfab.errors.HostKeyError` for the host or a jump
    host whose key is not on record, as `ssh` refuses it (StrictHostKeyChecking in ssh_config(5)).

    Args:
        host: `[user@]host[:port]` or an alias of the SSH configuration; an IPv6 address in brackets.
        config: the Invoke or Fabric configuration to carry on, such as a task's `c.config` (timeouts, connect_kwargs,
            gateway, and the settings under `meshfab`); None for Fabric's own defaults.
        ssh_config: an SSH configuration file to read instead of `~/.ssh/config`.
        accept_new: put the key of a host that is not on record on it, as StrictHostKeyChecking=accept-new does.

    Raises:
        InputError: the host is no host name, or the SSH configuration cannot be read.
    """
    valid_host(host)
    _require_user()
    from fabric import Config, Connection
    from paramiko import SSHConfig

    config = Config(lazy=True) if config is None else config.clone(into=Config)
    if ssh_config is None:
        # Neither a lazy configuration nor a clone of Invoke's own has read ~/.ssh/config yet.
        _checked(config.load_ssh_config, "~/.ssh/config")
    else:
        config._set(
            base_ssh_config=_checked(lambda: SSHConfig.from_path(str(Path(ssh_config).expanduser())), ssh_config)
        )
    # Fabric's own shorthand knows no brackets around an IPv6 address.
    name, user, port = host_parts(host)
    try:
        c = Connection(name, user=user, port=port, config=config)
    except ValueError as error:
        raise InputError(f"the SSH configuration of {host} is not usable ({error})", todo="see ssh_config(5)") from None
    return strict(c, accept_new=accept_new)


def is_connection(c: Any) -> bool:
    """Whether that is a Fabric connection, as `fab -H` hands one to a task; `run` of a mere context is local."""
    return all(hasattr(c, name) for name in ("open", "create_session", "client"))


def _require_user() -> None:
    """A container may run as a number that nobody has named, and Fabric and paramiko ask for the name to log in by."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        raise InputError(f"the user {os.getuid()} of this machine has no name", todo="set USER") from None


def _checked(read: Callable[[], Any], file: str) -> Any:
    from paramiko.ssh_exception import ConfigParseError

    try:
        return read()
    except (OSError, UnicodeDecodeError, ConfigParseError) as error:
        what = f"the SSH configuration {file} cannot be read ({error})"
        raise InputError(what, todo="repair it, or set meshfab.ssh_config") from None


def strict(c: Connection, *, accept_new: bool = False) -> Connection:
    """Make a connection and its jump hosts verify keys, and refuse one that is open to a host we cannot verify.

    Raises:
        HostKeyError: the connection is open already, and the key it trusted is not on record.
    """
    from paramiko import Transport

    # paramiko logs tracebacks of refused connections to stderr when nobody configured logging.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    for hop in _hops(c):
        if isinstance(hop.connect_kwargs.get("transport_factory"), _StrictTransport):
            continue
        known = host_keys.known(hop)
        if hop.is_connected:
            host_keys.judge(hop, known, hop.transport.get_remote_server_key())
            continue
        hop.client.set_missing_host_key_policy(host_keys.Policy(hop, known, accept_new))
        kwargs = dict(hop.connect_kwargs)
        # A silent peer blocks a channel open for an hour by default (paramiko transport.py, channel_timeout).
        for key, seconds in {"banner_timeout": 15, "auth_timeout": 30, "channel_timeout": 8}.items():
            kwargs.setdefault(key, seconds)
        if hop.ssh_config.get("identitiesonly", "no") == "yes":
            # paramiko would also offer every ~/.ssh/id_*, which the option forbids.
            kwargs.setdefault("look_for_keys", False)
        kwargs["transport_factory"] = _StrictTransport(Transport, known.kinds)
        hop.connect_kwargs = kwargs
        if hop.connect_timeout is None:
            hop.connect_timeout = CONNECT_SECONDS
    return c


def opened(c: Connection) -> Connection:
    """Make sure that a connection is strict and open.

    Raises:
        InputError: `c` is no Fabric connection: under `inv` a task is handed a context, whose `run` is local.
        HostKeyError: a key is unknown, changed or revoked.
        ConnectError: the host cannot be reached or logged in to.
    """
    if not is_connection(c):
        todo = "pass meshfab.connect.connect(host, c.config), or a fabric.Connection"
        raise InputError(f"{type(c).__name__} is no Fabric connection", todo=todo)
    strict(c)
    if c.is_connected:
        return c
    from paramiko.ssh_exception import AuthenticationException, SSHException

    name = c.original_host
    try:
        c.open()
    except HostKeyError:
        raise
    except socket.gaierror as error:
        raise ConnectError(
            f"{c.host} is not a known name ({error.strerror})",
            host=name,
            todo="check the name, ~/.ssh/config and DNS",
        ) from None
    except TimeoutError:
        raise ConnectError(
            f"{c.host} port {c.port} does not answer within {c.connect_timeout} s",
            host=name,
            todo="is it up, and is the mesh?",
        ) from None
    except AuthenticationException as error:
        raise ConnectError(
            f"the login as {c.user} was refused ({error})", host=name, todo=f"try `ssh {name} true`"
        ) from None
    except (OSError, SSHException, EOFError, OverflowError) as error:
        raise ConnectError(
            f"no SSH connection to {c.host} port {c.port} ({error})",
            host=name,
            todo=f"try `ssh {name} true`",
        ) from None
    return c


def _hops(c: Connection) -> Iterator[Connection]:
    """The jump hosts and the target. A ProxyCommand is no hop: the target's key is checked through it."""
    gateway = c.gateway
    if gateway and not isinstance(gateway, str):
        yield from _hops(gateway)
    yield c


class _StrictTransport:
    """Makes transports that ask for the key types on record first, and do not wait for delayed ACKs."""

    def __init__(self, transport: Any, kinds: tuple[str, ...]) -> None:
        self.transport, self.kinds = transport, kinds

    def __call__(self, sock: Any, **kwargs: Any) -> Any:
        # A jump host's channel has no such switches, and needs none.
        if hasattr(sock, "setsockopt"):
            for level, name, value in _SOCKET_OPTIONS:
                if hasattr(socket, name):
                    sock.setsockopt(level, getattr(socket, name), value)
        made = self.transport(sock, **kwargs)
        options = made.get_security_options()
        wanted = [name for kind in self.kinds for name in _ALGORITHMS.get(kind, (kind,)) if name in options.key_types]
        options.key_types = [*wanted, *(name for name in options.key_types if name not in wanted)]
        return made
