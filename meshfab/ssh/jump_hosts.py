"""What the connections of one run share: the configuration, read once, and the jump hosts, opened once.

sshd turns logins away when ten are under way (MaxStartups), so that a connection of its own to the jump host for every
target behind it does not only cost time. Channels through one connection are not limited.
"""

from __future__ import annotations

from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from meshfab.config.validation import host_parts
from meshfab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from fabric import Config, Connection

    from meshfab.ssh.fabric_connection import JumpHost


class JumpHostPool:
    """Jump hosts and configuration for any number of threads; use it as a context manager, which closes them.

    The connections that share it share one Fabric configuration: what is written to the `config` of one of them, such
    as `sudo.password`, holds for all.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._configs: dict[tuple[int, str | None], tuple[Any, Config]] = {}
        self._jumps: dict[tuple[str, ...], JumpHost] = {}
        self._making: set[tuple[str, ...]] = set()

    def __enter__(self) -> JumpHostPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every jump host, the last one of a chain first; whatever still goes through them ends with an error."""
        with self._lock:
            for jump in reversed(self._jumps.values()):
                jump.client.close()
            self._jumps.clear()

    def config(self, config: Any, ssh_config: str | None) -> Config:
        """A Fabric configuration made of an Invoke or Fabric one (or None), with the SSH configuration read.

        Raises:
            InputError: a file cannot be read.
        """
        key = id(config), ssh_config
        with self._lock:
            if key not in self._configs:
                # Kept beside it, the original cannot lend its id to another.
                self._configs[key] = config, _read(config, ssh_config)
            return self._configs[key][1]

    def before(self, c: Connection, make: Callable[[str, JumpHost | None], JumpHost]) -> Connection | str | None:
        """The jump host right before a host, as ssh_config(5) has it: ProxyJump, ProxyCommand, then the configuration.

        Args:
            c: the host, with what the SSH configuration says about it.
            make: makes a jump host of its name and the one before it; with None, what is said about itself counts.

        Raises:
            InputError: the jump hosts lead in a circle.
        """
        jump_names = [word.strip() for word in c.ssh_config.get("proxyjump", "").split(",")]
        if jump_names == [""]:
            return c.ssh_config.get("proxycommand") or c.config.gateway
        # `Host *` means the jump host as well.
        if jump_names == ["none"] or {host_parts(word)[0] for word in jump_names} & {c.original_host, c.host}:
            return None
        jump: JumpHost | None = None
        with self._lock:
            for at, word in enumerate(jump_names):
                way = tuple(jump_names[: at + 1])
                if way in self._making:
                    what = f"the jump hosts of {c.original_host} lead in a circle"
                    raise InputError(what, remedy="mend ProxyJump in the SSH configuration")
                if way not in self._jumps:
                    self._making.add(way)
                    try:
                        self._jumps[way] = make(word, jump)
                    finally:
                        self._making.remove(way)
                jump = self._jumps[way]
        return jump


def _read(config: Any, ssh_config: str | None) -> Config:
    from fabric import Config
    from paramiko import SSHConfig

    config = Config(lazy=True) if config is None else config.clone(into=Config)
    if ssh_config is None:
        # Neither a lazy configuration nor a clone of Invoke's own has read ~/.ssh/config yet.
        _checked(config.load_ssh_config, "~/.ssh/config")
    else:
        config._set(
            base_ssh_config=_checked(lambda: SSHConfig.from_path(str(Path(ssh_config).expanduser())), ssh_config)
        )
    return config


def _checked(read: Callable[[], Any], file: str) -> Any:
    from paramiko.ssh_exception import ConfigParseError

    try:
        return read()
    except (OSError, UnicodeDecodeError, ConfigParseError) as error:
        what = f"the SSH configuration {file} cannot be read ({error})"
        raise InputError(what, remedy="repair it, or set meshfab.ssh_config") from None
