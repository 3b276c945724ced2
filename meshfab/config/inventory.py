"""What is declared: the hosts of the settings, and the services of `meshfab.services` on each. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshfab.config import validation
from meshfab.config.service import Service
from meshfab.errors import InputError

if TYPE_CHECKING:
    from meshfab.config.settings import Settings

_KEYS = {"host", "hosts", "sans", "upstream", "mtls", "vhost", "listen"}


def hosts(settings: Settings) -> tuple[str, ...]:
    """Every host that the settings name, once, in their order: `hosts` first, then those of the services.

    Raises:
        InputError: a service is not declared as it should be.
    """
    named = [host for name in settings.services for host in _places(name, settings)]
    return tuple(dict.fromkeys([*settings.hosts, *named]))


def services(host: str, settings: Settings) -> tuple[Service, ...]:
    """The services that are declared for a host, by the name that the operator uses for it.

    Raises:
        InputError: a service is not declared as it should be.
    """
    return tuple(_service(name, settings) for name in settings.services if host in _places(name, settings))


def shares(settings: Settings) -> dict[str, dict[str, Mapping[str, Any]]]:
    """What is declared, by host, so that a check of thousands of hosts does not search everything for each.

    Raises:
        InputError: a service is not declared as it should be.
    """
    shares_by_host: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name in settings.services:
        for host in _places(name, settings):
            shares_by_host.setdefault(host, {})[name] = _said(name, settings)
    return shares_by_host


def check(settings: Settings) -> None:
    """Refuse a declaration with a fault anywhere in it, before the first connection.

    Raises:
        InputError: it names the service and the key.
    """
    claimed: dict[tuple[str, str], str] = {}
    for name in settings.services:
        for host in _places(name, settings):
            for claim in _service(name, settings).names:
                # nginx would ignore one of the two.
                if (other := claimed.setdefault((host, claim), name)) != name:
                    what = f"meshfab.services.{other} and meshfab.services.{name} both claim {claim} on {host}"
                    raise InputError(what, remedy="remove it from one of them")


def _service(name: str, settings: Settings) -> Service:
    options = _said(name, settings)
    lists: dict[str, tuple[str, ...] | None] = {}
    for key in ("sans", "listen"):
        value = options.get(key)
        if value is not None and (isinstance(value, str) or not isinstance(value, Sequence)):
            raise InputError(f"meshfab.services.{name}.{key} is not a list")
        lists[key] = None if value is None else tuple(value)
    for key in ("mtls", "vhost"):
        if not isinstance(options.get(key, False), bool):
            raise InputError(f"meshfab.services.{name}.{key} is {options[key]!r}", remedy="set true or false")
    try:
        return Service.of(
            name,
            settings,
            sans=lists["sans"],
            listen=lists["listen"],
            upstream=options.get("upstream"),
            mtls=options.get("mtls", False),
            vhost=options.get("vhost", True),
        )
    except InputError as error:
        # The message is written for the command line of one service; here there are many.
        raise InputError(f"meshfab.services.{name}: {error.what}", remedy=error.remedy) from None


def _places(name: str, settings: Settings) -> tuple[str, ...]:
    options = _said(name, settings)
    several = options.get("hosts", ())
    if isinstance(several, str) or not isinstance(several, Sequence):
        raise InputError(f"meshfab.services.{name}.hosts is not a list of hosts")
    hosts = [*([options["host"]] if "host" in options else []), *several]
    if not hosts:
        raise InputError(f"meshfab.services.{name} names no host", remedy=f"set meshfab.services.{name}.host")
    try:
        return tuple(validation.host(host) for host in hosts)
    except InputError as error:
        raise InputError(f"meshfab.services.{name}: {error.what}", remedy=error.remedy) from None


def _said(name: str, settings: Settings) -> Mapping[str, Any]:
    options = settings.services[name]
    if not isinstance(options, Mapping):
        raise InputError(f"meshfab.services.{name} is not a mapping", remedy="write it as NAME: {host: HOST}")
    for key in options:
        if key not in _KEYS:
            known = ", ".join(sorted(_KEYS))
            raise InputError(f"unknown setting meshfab.services.{name}.{key}", remedy=f"known are {known}")
    return options
