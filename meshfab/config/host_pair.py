"""The setting `host_certificate`: where hosts have a pair of their own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshfab.config import validation
from meshfab.errors import InputError

PLACEHOLDER = "{hostname}"
# The runbook's paths.
_DEFAULT = (f"/etc/pki/tls/misc/{PLACEHOLDER}.pem", f"/etc/pki/tls/private/{PLACEHOLDER}.pem")


def patterns(value: Any) -> tuple[str, str] | None:
    """The paths of certificate and key, with `{hostname}` for the host's own name; None if hosts have no pair.

    >>> patterns({"cert": "/etc/ssl/{hostname}.crt", "key": "/etc/ssl/private/{hostname}.key"})
    ('/etc/ssl/{hostname}.crt', '/etc/ssl/private/{hostname}.key')

    Args:
        value: the setting: None for the runbook's paths, "off" or False for none, or a mapping with `cert` and `key`.

    Raises:
        InputError: it is none of these.
    """
    if value is None:
        return _DEFAULT
    if validation.is_off(value):
        return None
    if not isinstance(value, Mapping) or set(value) != {"cert", "key"}:
        what = "meshfab.host_certificate is neither off nor a mapping of cert and key"
        raise InputError(what, remedy=f"write it as {{cert: /etc/ssl/{PLACEHOLDER}.pem, key: …}}")
    return _pattern(value["cert"], "cert"), _pattern(value["key"], "key")


def _pattern(value: Any, key: str) -> str:
    subject = f"meshfab.host_certificate.{key}"
    if not isinstance(value, str) or value.count(PLACEHOLDER) != 1:
        raise InputError(
            f"{subject} does not have {PLACEHOLDER} once", remedy="put it where the host's own name belongs"
        )
    validation.path(value.replace(PLACEHOLDER, "host"), subject)
    return value
