"""The pool that the connections of one run share: configurations are read once, and jump hosts are opened once.

sshd refuses new logins when ten are in progress (MaxStartups), so not every target can have its own connection to the
jump host. The number of channels through one connection is not limited.
"""

from __future__ import annotations

from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from meshfab.config import debug_log
from meshfab.config.password import hide_sudo_password
from meshfab.config.validation import host_parts
from meshfab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from fabric import Config, Connection

    from meshfab.ssh.fabric_connection import JumpHost


class JumpHostPool:
    """Jump hosts and configuration for any number of threads; use it as a context manager, which closes them.

    All connections of the pool have the same Fabric configuration: a value that is written to the `config` of one, such
    as `sudo.password`, is set for all.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._configs: dict[tuple[int, str | None], tuple[Any, Config]] = {}
        self._jump_hosts: dict[tuple[str, ...], JumpHost] = {}
        self._in_creation: set[tuple[str, ...]] = set()

    def __enter__(self) -> JumpHostPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all jump hosts, the last one of a chain first. Connections through them end with an error."""
        with self._lock:
            for jump_host in reversed(self._jump_hosts.values()):
                jump_host.client.close()
            self._jump_hosts.clear()

    def fabric_config(self, config: Any, ssh_config: str | None) -> Config:
        """Make a Fabric configuration from an Invoke or Fabric one (or None), and read the SSH configuration.

        Raises:
            InputError: a file cannot be read.
        """
        key = id(config), ssh_config
        with self._lock:
            if key not in self._configs:
                debug_log.hide_passwords()
                fabric_config = _make_config(config, ssh_config)
                hide_sudo_password(config)
                hide_sudo_password(fabric_config)
                # Keep the original too, so that Python does not give its id to another object.
                self._configs[key] = config, fabric_config
            return self._configs[key][1]

    def jump_host_of(self, c: Connection, make: Callable[[str, JumpHost | None], JumpHost]) -> Connection | str | None:
        """The gateway of a connection, from the first of: ProxyJump, ProxyCommand, `gateway` of the configuration.

        Args:
            c: the connection to the target, which has its SSH options.
            make: makes a jump host, given its name and the jump host before it; with None its own SSH options decide.

        Returns:
            The last jump host of the chain, a ProxyCommand, or None for a direct connection.

        Raises:
            InputError: the jump hosts form a cycle.
        """
        jump_names = [name.strip() for name in c.ssh_config.get("proxyjump", "").split(",")]
        if jump_names == [""]:
            return c.ssh_config.get("proxycommand") or c.config.gateway
        # `Host *` applies to the jump host too, which must not be its own jump host.
        if jump_names == ["none"] or {host_parts(name)[0] for name in jump_names} & {c.original_host, c.host}:
            return None
        jump_host: JumpHost | None = None
        with self._lock:
            for position, name in enumerate(jump_names):
                chain = tuple(jump_names[: position + 1])
                if chain in self._in_creation:
                    what = f"the jump hosts of {c.original_host} form a cycle"
                    raise InputError(what, remedy="correct ProxyJump in the SSH configuration")
                if chain not in self._jump_hosts:
                    self._in_creation.add(chain)
                    try:
                        self._jump_hosts[chain] = make(name, jump_host)
                    finally:
                        self._in_creation.remove(chain)
                jump_host = self._jump_hosts[chain]
        return jump_host


def _make_config(config: Any, ssh_config: str | None) -> Config:
    from fabric import Config
    from paramiko import SSHConfig

    config = Config(lazy=True) if config is None else config.clone(into=Config)
    if ssh_config is None:
        # A lazy configuration, or a clone of Invoke's configuration, has not read ~/.ssh/config yet.
        _read_or_refuse(config.load_ssh_config, "~/.ssh/config")
    else:
        config._set(
            base_ssh_config=_read_or_refuse(lambda: SSHConfig.from_path(str(Path(ssh_config).expanduser())), ssh_config)
        )
    return config


def _read_or_refuse(read: Callable[[], Any], file: str) -> Any:
    from paramiko.ssh_exception import ConfigParseError

    try:
        return read()
    except (OSError, UnicodeDecodeError, ConfigParseError) as error:
        what = f"the SSH configuration {file} cannot be read ({error})"
        raise InputError(what, remedy="correct it, or set meshfab.ssh_config") from None
