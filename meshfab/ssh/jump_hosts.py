"""What the connections of one run share: the configuration, read once, and the jump hosts, opened once.

sshd refuses logins when ten are in progress (MaxStartups), so every target cannot open its own connection to the jump
host. Channels through one connection are not limited.
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

    All connections of the pool have the same Fabric configuration: a value that is written to the `config` of one, such
    as `sudo.password`, is set for all.
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
        """Close every jump host, the last one of a chain first; connections through them end with an error."""
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
                # The original is kept too, so that its id is not used again for another object.
                self._configs[key] = config, _read(config, ssh_config)
            return self._configs[key][1]

    def before(self, c: Connection, make: Callable[[str, JumpHost | None], JumpHost]) -> Connection | str | None:
        """The jump host right before a host, as ssh_config(5) has it: ProxyJump, ProxyCommand, then the configuration.

        Args:
            c: the host, with what the SSH configuration says about it.
            make: makes a jump host from its name and the jump host before it; None for what its own SSH options say.

        Raises:
            InputError: the jump hosts form a cycle.
        """
        jump_names = [word.strip() for word in c.ssh_config.get("proxyjump", "").split(",")]
        if jump_names == [""]:
            return c.ssh_config.get("proxycommand") or c.config.gateway
        # `Host *` applies to the jump host too.
        if jump_names == ["none"] or {host_parts(word)[0] for word in jump_names} & {c.original_host, c.host}:
            return None
        jump: JumpHost | None = None
        with self._lock:
            for at, word in enumerate(jump_names):
                way = tuple(jump_names[: at + 1])
                if way in self._making:
                    what = f"the jump hosts of {c.original_host} form a cycle"
                    raise InputError(what, remedy="correct ProxyJump in the SSH configuration")
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
