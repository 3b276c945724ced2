"""The checks of settings that are one expression each; `validation` and `lists` have the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# Setting -> the check, and the remedy.
CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "provisioner_password": (lambda value: isinstance(value, str), "set the path of a file"),
    "ssh_config": (lambda value: value is None or isinstance(value, str), "set the path of a file"),
    "services": (lambda value: isinstance(value, Mapping), "set a mapping of names to hosts"),
    "parallel": (lambda value: type(value) is int and value >= 1, "set a whole number from 1"),
    "hsts_max_age": (
        lambda value: type(value) is int and 0 <= value <= 63072000,
        "set a number of seconds from 0 to 63072000",
    ),
    "host_keys": (lambda value: value in ("strict", "accept-new"), "set strict or accept-new"),
    "signing": (lambda value: value in ("host", "operator", "agent"), "set host, operator or agent"),
    "agent_key": (lambda value: value is None or isinstance(value, str), "set a fingerprint or comment"),
    "operator_root": (lambda value: value is None or isinstance(value, str), "set the path of a file"),
    "ca_mtls": (lambda value: isinstance(value, bool), "set true or false"),
    "ask_password": (lambda value: isinstance(value, bool), "set true or false"),
    "provisioner_key": (lambda value: value is None or isinstance(value, str), "set the path of a file"),
}
