"""Whom a task works on: the host of `--host`, or the one whose connection `fab -H` hands it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshfab.config.validation import host_parts
from meshfab.errors import InputError
from meshfab.ssh.connection import connect, is_connection, make_strict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fabric import Connection

    from meshfab.config.settings import Settings


def connection(c: Any, host: str, settings: Settings) -> Connection:
    """The connection that a task works on: a new one to `--host`, or the one that `fab -H` handed it, made strict.

    Raises:
        InputError: there is neither, or they name different hosts.
    """
    accept_new = settings.host_keys == "accept-new"
    if not is_connection(c):
        if not host:
            raise InputError("no host was given", remedy="add --host HOST")
        return connect(host, c.config, ssh_config=settings.ssh_config, accept_new=accept_new)
    if host:
        name, user, port = host_parts(host)
        if (name, user or c.user, port or c.port) != (c.original_host, c.user, c.port):
            raise InputError(f"-H is {c.original_host} and --host is {host}", remedy="give one of the two")
    return make_strict(c, accept_new=accept_new)


def hosts(c: Any, named: Sequence[str]) -> Sequence[str]:
    """The hosts that a task of the fleet asks: those of `--host`, or the one of `fab -H`, as it was typed there.

    Raises:
        InputError: there are both.
    """
    if not is_connection(c):
        return named
    if named:
        raise InputError("both -H and --host were given", remedy="give --host alone, and again for more hosts")
    # Fabric has taken the word apart; what it had from elsewhere is found there again.
    user = "" if c.user == c.ssh_config.get("user", c.config.user) else f"{c.user}@"
    port = "" if c.port == int(c.ssh_config.get("port", c.config.port)) else f":{c.port}"
    name = f"[{c.original_host}]" if ":" in c.original_host else c.original_host
    return [f"{user}{name}{port}"]
