"""Settings from the operator's environment that Invoke does not read: variables, and the configuration of `step`.

Invoke reads a variable only if the task's collection has a default for its key. Tasks of other projects have none, and
a parent collection may have dropped meshfab's defaults (pyinvoke/invoke#782).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshfab.config import validation
from meshfab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping


def read(config: Any, key: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Read the settings from `INVOKE_<KEY>_<SETTING>`, or from `FABRIC_<KEY>_<SETTING>` under `fab`.

    Args:
        config: an Invoke or Fabric configuration, which decides about the prefix; a plain mapping reads no variable.
        key: the key of the settings, "meshfab".
        defaults: the settings with their defaults. A list or a mapping cannot be set by a variable.

    Raises:
        InputError: the setting is a number, and the variable is not.
    """
    prefix = _prefix(config)
    if prefix is None:
        return {}
    scalars = {name: default for name, default in defaults.items() if isinstance(default, (str, int, type(None)))}
    variables = {name: os.environ.get(f"{prefix}{key}_{name}".upper()) for name in scalars}
    return {name: _cast(f"{key}.{name}", text, scalars[name]) for name, text in variables.items() if text is not None}


def root_fingerprint(config: Any, ca_url: str) -> str | None:
    """The root's fingerprint that `step ca bootstrap` recorded on this machine, if that was for the same CA.

    Args:
        config: an Invoke or Fabric configuration; a plain mapping reads no file.
        ca_url: the CA of the settings.

    Raises:
        InputError: the recorded value is not a fingerprint.
    """
    if _prefix(config) is None:
        return None
    file = Path(os.environ.get("STEPPATH") or "~/.step").expanduser() / "config" / "defaults.json"
    try:
        defaults = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(defaults, dict) or "fingerprint" not in defaults or defaults.get("ca-url") != ca_url:
        return None
    return validation.fingerprint(defaults["fingerprint"], f"the fingerprint in {file}")


def _prefix(config: Any) -> str | None:
    # A private attribute, but nothing else tells whether `inv` or `fab` made the configuration. A clone keeps it.
    prefix = getattr(config, "_env_prefix", None)
    return prefix if isinstance(prefix, str) else None


def _cast(name: str, text: str, default: object) -> object:
    """Convert a variable to the type of the default, by the same rules as Invoke's env.py."""
    if isinstance(default, bool):
        return text not in ("0", "")
    if not isinstance(default, int):
        return text
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{name} is {text!r} in the environment", remedy="set a whole number") from None
