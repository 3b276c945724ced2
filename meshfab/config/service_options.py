"""Settings of the renewal that hold for all services, and that a declared service may replace. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from meshfab.config import validation
from meshfab.errors import InputError

_KEY = "meshfab"


class RenewalSettings(Protocol):
    """What `meshfab.config.settings.Settings` has of these, which itself calls this module."""

    @property
    def services(self) -> Mapping[str, Mapping[str, Any]]: ...  # noqa: D102
    @property
    def ca_mtls(self) -> bool: ...  # noqa: D102
    @property
    def rekey_after(self) -> str | None: ...  # noqa: D102
    @property
    def notify(self) -> str | None: ...  # noqa: D102
    @property
    def ping_url(self) -> str | None: ...  # noqa: D102


def check(settings: RenewalSettings, name: str = "") -> None:
    """Check the values for all services, or those of one.

    Raises:
        InputError: one of them cannot be used; the message names the key.
    """
    rekey_seconds(settings, name)
    notify(settings, name)
    ping_url(settings, name)


def rekey_seconds(settings: RenewalSettings, name: str) -> int | None:
    """The age in seconds at which the key of a service is replaced; None keeps it.

    Raises:
        InputError: the value is not an age, or the CA cannot re-key.
    """
    value, subject = _value(settings, name, "rekey_after", settings.rekey_after)
    if value in (None, "never"):
        return None
    if not settings.ca_mtls:
        what = f"{subject} needs mTLS with the CA, and {_KEY}.ca_mtls is false"
        raise InputError(what, remedy="remove one of them")
    return validation.age(value, subject)


def notify(settings: RenewalSettings, name: str) -> str | None:
    """Who is told of a service's failing renewals: a URL, or the path of a program on the host; None tells nobody.

    Raises:
        InputError: it is neither.
    """
    value, subject = _value(settings, name, "notify", settings.notify)
    if value is None or validation.is_off(value):
        return None
    if isinstance(value, str) and "://" in value:
        return validation.url(value, subject)
    return validation.path(value, subject)


def ping_url(settings: RenewalSettings, name: str) -> str | None:
    """The URL that each tick of a service pings; None pings none.

    Raises:
        InputError: it is no plain URL.
    """
    value, subject = _value(settings, name, "ping_url", settings.ping_url)
    if value is None or validation.is_off(value):
        return None
    if not isinstance(value, str):
        raise InputError(f"{subject} {value!r} is not a plain http or https URL")
    return validation.url(value.replace("{name}", name or "name"), subject).rstrip("/")


def _value(settings: RenewalSettings, name: str, key: str, default: str | None) -> tuple[Any, str]:
    """The service's own value, else that for all, and what a message calls it."""
    options = settings.services.get(name)
    if isinstance(options, Mapping) and key in options:
        return options[key], f"{_KEY}.services.{name}.{key}"
    return default, f"{_KEY}.{key}"
