"""The inventory: the hosts that the settings name, and the services that are declared for each host. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshfab.config import service_options, validation
from meshfab.config.service import Service
from meshfab.errors import InputError

if TYPE_CHECKING:
    from meshfab.config.settings import Settings

_KEYS = {
    *("host", "hosts", "sans", "upstream", "mtls", "verify_upstream", "keep_host", "vhost", "listen"),
    *("rekey_after", "notify", "ping_url"),
}


def hosts(settings: Settings) -> tuple[str, ...]:
    """List every host of the settings once: first those of `hosts`, then those of the services.

    Raises:
        InputError: the declaration of a service is invalid.
    """
    service_hosts = [host for name in settings.services for host in _hosts_of(name, settings)]
    return tuple(dict.fromkeys([*settings.hosts, *service_hosts]))


def services(host: str, settings: Settings) -> tuple[Service, ...]:
    """List the services that are declared for a host. The host must be written as in the declarations.

    Raises:
        InputError: the declaration of a service is invalid.
    """
    return tuple(_service(name, settings) for name in settings.services if host in _hosts_of(name, settings))


def declarations_by_host(settings: Settings) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Group the declared services by host: host -> service name -> options.

    A check of thousands of hosts then does not search all declarations for each host.

    Raises:
        InputError: the declaration of a service is invalid.
    """
    declarations: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name in settings.services:
        for host in _hosts_of(name, settings):
            declarations.setdefault(host, {})[name] = _options_of(name, settings)
    return declarations


def options_of(name: str, settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The hosts for which a service is declared, and its other DNS names; empty if it is not declared.

    Raises:
        InputError: its declaration is invalid.
    """
    if name not in settings.services:
        return (), ()
    return _hosts_of(name, settings), _service(name, settings).sans or ()


def check(settings: Settings) -> None:
    """Check all declarations, before the first connection.

    Raises:
        InputError: a declaration is invalid, or two services of one host have the same DNS name; with service and key.
    """
    owners: dict[tuple[str, str], str] = {}
    for name in settings.services:
        for host in _hosts_of(name, settings):
            for dns_name in _service(name, settings).names:
                # nginx would ignore one of the two.
                if (owner := owners.setdefault((host, dns_name), name)) != name:
                    what = f"meshfab.services.{owner} and meshfab.services.{name} both claim {dns_name} on {host}"
                    raise InputError(what, remedy="remove it from one of them")


def _service(name: str, settings: Settings) -> Service:
    options = _options_of(name, settings)
    lists: dict[str, tuple[str, ...] | None] = {}
    for key in ("sans", "listen"):
        value = options.get(key)
        if value is not None and (isinstance(value, str) or not isinstance(value, Sequence)):
            raise InputError(f"meshfab.services.{name}.{key} is not a list")
        lists[key] = None if value is None else tuple(value)
    for key in ("mtls", "verify_upstream", "keep_host", "vhost"):
        if not isinstance(options.get(key, False), bool):
            raise InputError(f"meshfab.services.{name}.{key} is {options[key]!r}", remedy="set true or false")
    service_options.check(settings, name)  # its message names the service
    try:
        return Service.of(
            name,
            settings,
            sans=lists["sans"],
            listen=lists["listen"],
            upstream=options.get("upstream"),
            mtls=options.get("mtls", False),
            verify_upstream=options.get("verify_upstream", True),
            keep_host=options.get("keep_host", False),
            vhost=options.get("vhost", True),
        )
    except InputError as error:
        # The message does not name the service: it is written for a command line with one service.
        raise InputError(f"meshfab.services.{name}: {error.what}", remedy=error.remedy) from None


def _hosts_of(name: str, settings: Settings) -> tuple[str, ...]:
    options = _options_of(name, settings)
    host_list = options.get("hosts", ())
    if isinstance(host_list, str) or not isinstance(host_list, Sequence):
        raise InputError(f"meshfab.services.{name}.hosts is not a list of hosts")
    hosts = [*([options["host"]] if "host" in options else []), *host_list]
    if not hosts:
        raise InputError(f"meshfab.services.{name} names no host", remedy=f"set meshfab.services.{name}.host")
    try:
        return tuple(validation.host(host) for host in hosts)
    except InputError as error:
        raise InputError(f"meshfab.services.{name}: {error.what}", remedy=error.remedy) from None


def _options_of(name: str, settings: Settings) -> Mapping[str, Any]:
    options = settings.services[name]
    if not isinstance(options, Mapping):
        raise InputError(f"meshfab.services.{name} is not a mapping", remedy="write it as NAME: {host: HOST}")
    for key in options:
        if key not in _KEYS:
            known = ", ".join(sorted(_KEYS))
            raise InputError(f"unknown setting meshfab.services.{name}.{key}", remedy=f"use one of {known}")
    return options
