"""The settings that are lists. Each function returns a tuple, which cannot be changed, or raises an InputError."""

from __future__ import annotations

from typing import Any

from meshfab.config import validation
from meshfab.errors import InputError


def words(value: Any) -> tuple[str, ...]:
    """Check `provisioner_password_command`: a program and its arguments."""
    is_list = isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value)
    if not is_list or value[:1] in ([""], ("",)):
        what = "meshfab.provisioner_password_command is not a list of a program and its arguments"
        raise InputError(what, remedy="write it as a list: [pass, show, mesh/provisioner]")
    return tuple(value)


def hosts(value: Any) -> tuple[str, ...]:
    """Check `hosts`: a list of hosts."""
    if not isinstance(value, (list, tuple)):
        raise InputError("meshfab.hosts is not a list of hosts")
    return tuple(validation.host(host) for host in value)


def folders(value: Any) -> tuple[str, ...]:
    """Check `trusted_projects`: a list of absolute paths."""
    is_list = isinstance(value, (list, tuple)) and all(isinstance(folder, str) for folder in value)
    if not is_list or not all(folder.startswith(("/", "~")) for folder in value):
        raise InputError("meshfab.trusted_projects is not a list of folders", remedy="set absolute paths")
    return tuple(value)


def addresses(value: Any) -> tuple[str, ...]:
    """Check `public_resolvers`: a list of addresses."""
    if not isinstance(value, (list, tuple)):
        raise InputError("meshfab.public_resolvers is not a list of addresses")
    return tuple(validation.address(address, "meshfab.public_resolvers") for address in value)
