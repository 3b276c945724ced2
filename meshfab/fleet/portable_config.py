"""What of a configuration goes along to another process: plain values, and never a password or a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke.config import Config

if TYPE_CHECKING:
    from collections.abc import Mapping


_KEYS = ("user", "port", "gateway", "forward_agent", "ssh_config_path", "load_ssh_configs", "timeouts")
# What paramiko's SSHClient.connect takes that opens a door by itself.
_SECRETS = ("password", "passphrase", "pkey")
_PLAIN = (str, int, float, bool, type(None))


def packed(config: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What goes along of an Invoke or Fabric configuration (None for none), and the names of what stays behind."""
    found: dict[str, Any] = {}
    left: list[str] = []
    if config is None:
        return found, ()
    for key in _KEYS:
        value = _plain(config.get(key))
        if _is_plain(value):
            found |= {} if value is None else {key: value}
        else:
            left.append(key)
    kwargs = _plain(config.get("connect_kwargs") or {})
    found["connect_kwargs"] = {key: value for key, value in kwargs.items() if key not in _SECRETS and _is_plain(value)}
    left += [
        f"connect_kwargs.{key}" for key in kwargs if key not in found["connect_kwargs"] and kwargs[key] is not None
    ]
    for section, key in (("sudo", "password"), ("authentication", "strategy_class")):
        if (config.get(section) or {}).get(key):
            left.append(f"{section}.{key}")
    return found, tuple(left)


def unpacked(options: Mapping[str, Any]) -> Config:
    """A configuration of what came along; the SSH configuration is that of the machine it is unpacked on."""
    return Config(overrides=dict(options), lazy=True)


def _plain(value: Any) -> Any:
    """Invoke's own mappings as plain ones."""
    keys = getattr(value, "keys", None)
    return value if keys is None else {key: _plain(value[key]) for key in keys()}


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(one) for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)
