"""Settings from environment variables that Invoke itself does not read.

Invoke reads a variable only where the task's own collection has a value for its key: not in another project's task,
nor where a parent collection has dropped our defaults (pyinvoke/invoke#782).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from meshfab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping


def read(config: Any, key: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What `INVOKE_<KEY>_…` sets, or `FABRIC_<KEY>_…` in a configuration of Fabric's own; lists cannot be set so.

    Raises:
        InputError: a number is required, and the value is none.
    """
    # A private attribute, but nothing else has the prefix; Invoke's configuration keeps it when Fabric clones it.
    prefix = getattr(config, "_env_prefix", None)
    if not isinstance(prefix, str):
        return {}
    single = {name: value for name, value in defaults.items() if isinstance(value, (str, int, type(None)))}
    variables = {name: os.environ.get(f"{prefix}{key}_{name}".upper()) for name in single}
    return {name: _cast(f"{key}.{name}", word, single[name]) for name, word in variables.items() if word is not None}


def _cast(name: str, word: str, default: object) -> object:
    """As Invoke does it (its env.py)."""
    if isinstance(default, bool):
        return word not in ("0", "")
    if not isinstance(default, int):
        return word
    try:
        return int(word)
    except ValueError:
        raise InputError(f"{name} is {word!r} in the environment", remedy="set a whole number") from None
