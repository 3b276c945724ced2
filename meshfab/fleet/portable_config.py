"""The part of a configuration that is sent to other processes: plain values, never a password or a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke.config import Config

if TYPE_CHECKING:
    from collections.abc import Mapping


_KEYS = ("user", "port", "gateway", "forward_agent", "ssh_config_path", "load_ssh_configs", "timeouts")
# Arguments of paramiko's SSHClient.connect that are secrets.
_SECRETS = ("password", "passphrase", "pkey")
_PLAIN = (str, int, float, bool, type(None))


def packed(config: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the portable options of an Invoke or Fabric configuration, and the keys that are not portable."""
    options: dict[str, Any] = {}
    not_portable: list[str] = []
    if config is None:
        return options, ()
    for key in _KEYS:
        value = _plain(config.get(key))
        if _is_plain(value):
            options |= {} if value is None else {key: value}
        else:
            not_portable.append(key)
    kwargs = _plain(config.get("connect_kwargs") or {})
    portable = {key: value for key, value in kwargs.items() if key not in _SECRETS and _is_plain(value)}
    options["connect_kwargs"] = portable
    not_portable += [f"connect_kwargs.{key}" for key in kwargs if key not in portable and kwargs[key] is not None]
    for section, key in (("sudo", "password"), ("authentication", "strategy_class")):
        if (config.get(section) or {}).get(key):
            not_portable.append(f"{section}.{key}")
    return options, tuple(not_portable)


def unpacked(options: Mapping[str, Any]) -> Config:
    """Return a configuration with these options; the SSH configuration is that of the machine where this runs."""
    return Config(overrides=dict(options), lazy=True)


def _plain(value: Any) -> Any:
    """Turn Invoke's own mappings into dictionaries."""
    keys = getattr(value, "keys", None)
    return value if keys is None else {key: _plain(value[key]) for key in keys()}


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)
