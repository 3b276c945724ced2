"""The strict Fabric connection: no password is sent to a host whose key is not on record.

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
    """A strict connection to `host`, not yet open.

    It is opened by its first use, or by `open()`, and then raises `meshfab.errors.HostKeyError` for the host or a jump
    host whose key is not on record, as `ssh` refuses it (StrictHostKeyChecking in ssh_config(5)).

    Args:
        host: `[user@]host[:port]` or an alias of the SSH configuration; an IPv6 address in brackets.
        config: the Invoke or Fabric configuration to carry on, such as a task's `c.config` (timeouts, connect_kwargs,
            gateway, and the settings under `meshfab`); None for Fabric's own defaults.
        ssh_config: an SSH configuration file to read instead of `~/.ssh/config`.
        accept_new: record the key of a host that has none on record, as StrictHostKeyChecking=accept-new does.
        jumps: the pool that it shares with other connections; None for jump hosts and a configuration of its own.

    Raises:
        InputError: the host is not a host name, or the SSH configuration cannot be read.
    """
    valid_host(host)
    _require_user()
    from meshfab.ssh.fabric_connection import JumpHost, SharedConfigConnection
    from meshfab.ssh.jump_hosts import JumpHostPool

    shared = jumps or JumpHostPool()
    config = shared.config(config, ssh_config)

    def make(kind: type[Connection], word: str, before: Connection | None) -> Connection:
        c = _unopened(kind, word, config)
        c.gateway = before or shared.before(c, partial(make, JumpHost))
        return strict(c, accept_new=accept_new)

    return make(SharedConfigConnection, host, None)


def _unopened(kind: type[Connection], word: str, config: Any) -> Connection:
    # A separate dictionary: Fabric would write the names of key files into the shared configuration. It adds the key
    # files of the configuration itself.
    kwargs = {**_TIMEOUTS, **{key: value for key, value in config.connect_kwargs.items() if key != "key_filename"}}
    # Fabric's shorthand does not accept brackets around an IPv6 address.
    name, user, port = host_parts(word)
    try:
        return kind(name, user=user, port=port, config=config, connect_kwargs=kwargs, gateway=False)
    except ValueError as error:
        raise InputError(
            f"the SSH configuration of {word} is not usable ({error})", remedy="see ssh_config(5)"
        ) from None


def is_connection(c: Any) -> bool:
    """Whether `c` is a Fabric connection, as `fab -H` passes one to a task; `run` of an Invoke context is local."""
    return all(hasattr(c, name) for name in ("open", "create_session", "client"))


def _require_user() -> None:
    """Require a user name: a container may run as a number without one, and Fabric and paramiko need it to log in."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        raise InputError(f"the user {os.getuid()} of this machine has no name", remedy="set USER") from None


def strict(c: Connection, *, accept_new: bool = False) -> Connection:
    """Make a connection and its jump hosts verify keys; refuse one that is already open to an unverified host.

    Raises:
        HostKeyError: the connection is already open, and the host's key is not on record.
    """
    from paramiko import Transport

    # Without a logging configuration, paramiko logs tracebacks of refused connections to stderr.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    for connection in _with_jump_hosts(c):
        if isinstance(connection.connect_kwargs.get("transport_factory"), StrictTransport):
            continue
        records = host_keys.known(connection)
        if connection.is_connected:
            host_keys.judge(connection, records, connection.transport.get_remote_server_key())
            continue
        connection.client.set_missing_host_key_policy(host_keys.Policy(connection, records, accept_new))
        kwargs = dict(connection.connect_kwargs)
        for key, seconds in _TIMEOUTS.items():
            kwargs.setdefault(key, seconds)
        if connection.ssh_config.get("identitiesonly", "no") == "yes":
            # paramiko would also offer every ~/.ssh/id_*, which the option forbids.
            kwargs.setdefault("look_for_keys", False)
        kwargs["transport_factory"] = StrictTransport(Transport, records.kinds)
        connection.connect_kwargs = kwargs
        if connection.connect_timeout is None:
            connection.connect_timeout = CONNECT_SECONDS
    return c


def opened(c: Connection) -> Connection:
    """Make sure that a connection is strict and open, and so are its jump hosts.

    Raises:
        InputError: `c` is not a Fabric connection: under `inv` a task gets a context, whose `run` is local.
        HostKeyError: a key is unknown, changed or revoked.
        ConnectError: the host cannot be reached or logged in to.
    """
    if not is_connection(c):
        remedy = "pass meshfab.connect(host, c.config), or a fabric.Connection"
        raise InputError(f"{type(c).__name__} is not a Fabric connection", remedy=remedy)
    strict(c)
    if c.is_connected:
        return c
    pass_through(c)
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
            remedy="check the name, ~/.ssh/config and DNS",
        ) from None
    except TimeoutError:
        raise ConnectError(
            f"{c.host} port {c.port} does not answer within {c.connect_timeout} s",
            host=name,
            remedy="is it up, and is the mesh?",
        ) from None
    except AuthenticationException as error:
        raise ConnectError(
            f"the login as {c.user} was refused ({error})", host=name, remedy=f"try `ssh {name} true`"
        ) from None
    except (OSError, SSHException, EOFError, OverflowError) as error:
        raise ConnectError(
            f"no SSH connection to {c.host} port {c.port} ({error})",
            host=name,
            remedy=f"try `ssh {name} true`",
        ) from None
    return c


def pass_through(c: Connection, seconds: float | None = None) -> None:
    """Make sure that the jump host before a host is open, if there is one.

    Args:
        c: the host.
        seconds: the time limit; None for the time-outs of each step only.

    Raises:
        ConnectError: it cannot be used; the message names it.
    """
    from meshfab.ssh.deadline import limit
    from meshfab.ssh.fabric_connection import JumpHost, through

    jump = c.gateway
    if not jump or isinstance(jump, str):
        return

    def reach(remaining: float | None) -> None:
        with limit(jump, remaining) if remaining else nullcontext():
            pass_through(jump, remaining)
            opened(jump)

    if isinstance(jump, JumpHost):
        jump.ensure_open(c.original_host, seconds, reach)
        return
    try:
        reach(seconds)
    except ConnectError as error:
        raise through(jump, error, c.original_host) from None


def _with_jump_hosts(c: Connection) -> Iterator[Connection]:
    """The jump hosts and the target. A ProxyCommand is not a jump host: the target's key is checked through it."""
    gateway = c.gateway
    if gateway and not isinstance(gateway, str):
        yield from _with_jump_hosts(gateway)
    yield c
