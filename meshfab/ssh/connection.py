"""The strict Fabric connection: no password is sent to a host whose key is not in known_hosts.

Fabric accepts any key, a changed one too (fabric#2071): it installs AutoAddPolicy and never reads known_hosts. Here the
keys of the target and of every jump host are checked against the files that `ssh` would read.
"""

from __future__ import annotations

import getpass
import logging
import os
import socket
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from meshfab.config.validation import host as valid_host
from meshfab.config.validation import host_parts
from meshfab.errors import ConnectError, HostKeyError, InputError
from meshfab.ssh import host_keys
from meshfab.ssh.transport import StrictTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fabric import Connection

    from meshfab.config.settings import Settings
    from meshfab.ssh.jump_hosts import JumpHostPool

__all__ = ["connect"]

CONNECT_SECONDS = 10
# A silent peer blocks a channel open for an hour by default (paramiko transport.py, channel_timeout).
_TIMEOUTS = {"banner_timeout": 15, "auth_timeout": 30, "channel_timeout": 8}


def connect(
    host: str,
    config: Any = None,
    *,
    ssh_config: str | None = None,
    accept_new: bool = False,
    jumps: JumpHostPool | None = None,
) -> Connection:
    """Make a strict connection to `host`, which is not open yet.

    Its first use or `open()` opens it. That raises `meshfab.errors.HostKeyError` if the key of the host or of a jump
    host is not in known_hosts, as StrictHostKeyChecking=yes in ssh_config(5) does.

    Args:
        host: `[user@]host[:port]` or an alias of the SSH configuration; an IPv6 address in brackets.
        config: the Invoke or Fabric configuration to use, such as a task's `c.config` (timeouts, connect_kwargs,
            gateway, and the settings under `meshfab`); None for Fabric's own defaults.
        ssh_config: an SSH configuration file to read instead of `~/.ssh/config`.
        accept_new: add the key of an unknown host to known_hosts, as StrictHostKeyChecking=accept-new does.
        jumps: the pool of jump hosts and configurations to share with other connections; None shares nothing.

    Raises:
        InputError: the host is not a host name, or the SSH configuration cannot be read.
    """
    valid_host(host)
    _require_user()
    from meshfab.ssh.fabric_connection import JumpHost, SharedConfigConnection
    from meshfab.ssh.jump_hosts import JumpHostPool

    pool = jumps or JumpHostPool()
    config = pool.fabric_config(config, ssh_config)

    def make(connection_class: type[Connection], target: str, jump_host: Connection | None) -> Connection:
        c = _new_connection(connection_class, target, config)
        c.gateway = jump_host or pool.jump_host_of(c, partial(make, JumpHost))
        return make_strict(c, accept_new=accept_new)

    return make(SharedConfigConnection, host, None)


def import_clients() -> None:
    """Import what the first connection would import."""
    from meshfab.ssh import fabric_connection, negotiation  # noqa: F401


def connect_by_settings(host: str, settings: Settings, config: Any, jumps: JumpHostPool | None = None) -> Connection:
    """The same, with the SSH configuration and the handling of unknown keys that the settings name."""
    accept_new = settings.host_keys == "accept-new"
    return connect(host, config, ssh_config=settings.ssh_config, accept_new=accept_new, jumps=jumps)


def _new_connection(connection_class: type[Connection], host: str, config: Any) -> Connection:
    # A copy of connect_kwargs: Fabric writes the names of key files into it, and the configuration is shared. Without
    # key_filename: Fabric adds the key files of the configuration by itself.
    kwargs = {**_TIMEOUTS, **{key: value for key, value in config.connect_kwargs.items() if key != "key_filename"}}
    # Fabric's shorthand does not accept brackets around an IPv6 address.
    name, user, port = host_parts(host)
    try:
        return connection_class(name, user=user, port=port, config=config, connect_kwargs=kwargs, gateway=False)
    except ValueError as error:
        raise InputError(
            f"the SSH configuration of {host} is not usable ({error})", remedy="see ssh_config(5)"
        ) from None


def is_connection(c: Any) -> bool:
    """Whether `c` is a Fabric connection (`fab -H` passes one to a task). `run` of an Invoke context is local."""
    return all(hasattr(c, name) for name in ("open", "create_session", "client"))


def _require_user() -> None:
    """Check that the local user has a name. In a container it may be missing; Fabric and paramiko log in with it."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        raise InputError(f"the user {os.getuid()} of this machine has no name", remedy="set USER") from None


def make_strict(c: Connection, *, accept_new: bool = False) -> Connection:
    """Make a connection and its jump hosts verify host keys; check the key now if the connection is already open.

    Raises:
        HostKeyError: the connection is already open, and the host's key is not in known_hosts.
    """
    from meshfab.ssh.negotiation import NegotiatingTransport

    # Without a logging configuration, paramiko logs tracebacks of refused connections to stderr.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    for connection in _with_jump_hosts(c):
        if isinstance(connection.connect_kwargs.get("transport_factory"), StrictTransport):
            continue
        records = host_keys.records_of(connection)
        if connection.is_connected:
            host_keys.require_known(connection, records, connection.transport.get_remote_server_key())
            continue
        connection.client.set_missing_host_key_policy(host_keys.KnownHostsPolicy(connection, records, accept_new))
        kwargs = dict(connection.connect_kwargs)
        for key, seconds in _TIMEOUTS.items():
            kwargs.setdefault(key, seconds)
        if connection.ssh_config.get("identitiesonly", "no") == "yes":
            # paramiko would also offer every ~/.ssh/id_*, which the option forbids.
            kwargs.setdefault("look_for_keys", False)
        kwargs["transport_factory"] = StrictTransport(NegotiatingTransport, records.key_types)
        connection.connect_kwargs = kwargs
        if connection.connect_timeout is None:
            connection.connect_timeout = CONNECT_SECONDS
    return c


def ensure_open(c: Connection, seconds: float | None = None) -> Connection:
    """Make a connection and its jump hosts strict, and open them unless they are open.

    Args:
        c: the connection to the target.
        seconds: the time limit of the jump hosts, and of the TCP connection to the target; None for the usual ones.

    Raises:
        InputError: `c` is not a Fabric connection: under `inv` a task gets a context, whose `run` is local.
        HostKeyError: a key is unknown, changed or revoked.
        ConnectError: the host cannot be reached or logged in to.
    """
    if not is_connection(c):
        remedy = "pass meshfab.connect(host, c.config), or a fabric.Connection"
        raise InputError(f"{type(c).__name__} is not a Fabric connection", remedy=remedy)
    make_strict(c)
    if c.is_connected:
        return c
    ensure_jump_host_open(c, seconds)
    if seconds is not None:
        c.connect_timeout = min(c.connect_timeout, seconds)
    from paramiko.ssh_exception import AuthenticationException, SSHException

    from meshfab.ssh.negotiation import NoCommonAlgorithm

    name = c.original_host
    try:
        c.open()
    except HostKeyError:
        # Fabric closes only connections that were opened: sshd would count this one against MaxStartups.
        c.client.close()
        raise
    except socket.gaierror as error:
        raise ConnectError(
            f"{c.host} is not a known name ({error.strerror})",
            host=name,
            remedy="check the name, ~/.ssh/config and DNS",
        ) from None
    except TimeoutError:
        raise ConnectError(
            f"{c.host} port {c.port} does not answer within {c.connect_timeout} s",
            host=name,
            remedy="check that the host and the mesh are up",
        ) from None
    except AuthenticationException as error:
        raise ConnectError(
            f"the login as {c.user} was refused ({error})", host=name, remedy=f"try `ssh {name} true`"
        ) from None
    except NoCommonAlgorithm as error:
        remedy = f"allow one of {', '.join(error.supported)} with {error.option} in its sshd_config"
        raise ConnectError(f"no SSH connection to {c.host} port {c.port}: {error}", host=name, remedy=remedy) from None
    except (OSError, SSHException, EOFError, OverflowError) as error:
        message = f"no SSH connection to {c.host} port {c.port} ({error})"
        raise ConnectError(message, host=name, remedy=_remedy(name, error)) from None
    return c


def _remedy(name: str, error: Exception) -> str:
    remedy = f"try `ssh {name} true`"
    if "protocol banner" in str(error):
        remedy += "; OpenSSH 9.8 and newer refuses an address for some time after failed logins (PerSourcePenalties)"
    return remedy


def ensure_jump_host_open(c: Connection, seconds: float | None = None) -> None:
    """Open the jump host of a connection, if it has one that is not open yet.

    Args:
        c: the connection to the target.
        seconds: the time limit; None for the timeouts of each step only.

    Raises:
        ConnectError: the jump host cannot be reached or logged in to; the message names it.
    """
    from meshfab.ssh.deadline import limit
    from meshfab.ssh.fabric_connection import JumpHost, jump_host_error

    jump_host = c.gateway
    if not jump_host or isinstance(jump_host, str):
        return

    def open_it(remaining: float | None) -> None:
        with limit(jump_host, remaining) if remaining else nullcontext():
            ensure_jump_host_open(jump_host, remaining)
            ensure_open(jump_host)

    if isinstance(jump_host, JumpHost):
        jump_host.ensure_open(c.original_host, seconds, open_it)
        return
    try:
        open_it(seconds)
    except ConnectError as error:
        raise jump_host_error(jump_host, error, c.original_host) from None


def _with_jump_hosts(c: Connection) -> Iterator[Connection]:
    """The jump hosts and the target. A ProxyCommand is not a jump host: the target's key is checked through it."""
    gateway = c.gateway
    if gateway and not isinstance(gateway, str):
        yield from _with_jump_hosts(gateway)
    yield c
