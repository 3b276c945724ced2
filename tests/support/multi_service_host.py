"""A host with several services, as one answer of a probe shows it, and what its scripts do to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from meshfab.config.service import Service
from meshfab.host import renewal_units
from meshfab.host.tls_client import Served
from meshfab.ssh.script import Answer, Request
from tests.support.certificates import SETTINGS, good_pair
from tests.support.fake_host import Host, RecordingShell, encoded, unit

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESS = "10.87.0.12"


def service(name: str) -> Service:
    return Service.of(name, SETTINGS)


def fresh(name: str) -> Host:
    """Nothing of the service is there yet."""
    one = service(name)
    timer = unit(one.timer, load="not-found", enabled="", active="inactive")
    return Host(one, cert=None, public=None, digests={"/x": "0" * 64}, units={one.timer: timer})


def whole(name: str) -> Host:
    """All is done for the service."""
    return Host(service(name)).with_vhost()


@dataclass
class Rack:
    """One host; each of its services is described as if it were alone there.

    Attributes:
        parts: the services, by name.
        serves: what clients get, by the service's fqdn.
        deaf: names for which nginx takes nothing up.
        refused: by script, what it says instead, or None where it does its work.
    """

    parts: dict[str, Host]
    serves: dict[str, bytes] = field(default_factory=dict)
    deaf: set[str] = field(default_factory=set)
    refused: dict[str, Callable[[Request], Answer | None]] = field(default_factory=dict)
    undeclared: str = ""
    shell: RecordingShell = field(default_factory=RecordingShell)

    def __post_init__(self) -> None:
        """Put the work of each script in the shell."""
        works: dict[str, Callable[[Request], bytes | None]] = {
            "facts+probe": lambda _: encoded(self.fields()),
            "facts+discover": lambda _: encoded({"own": "h2.internal", "found": self.undeclared, **self.fields()}),
            "mint": self._mint,
            "commit": self._commit,
            "install_units": self._set_up,
            "install_config": self._wire,
            "reload": self._load,
            "read": lambda request: encoded(self._read(request.args)),
        }
        names = {
            *works,
            "wait_background",
            "lock",
            "put_password",
            "remove_password",
            "remove_backups",
            "restore_pair",
            "remove_config",
            "set_permissions",
        }
        self.shell.answers = {name: self._does(name, works.get(name, lambda _: b"")) for name in names}

    def ask(self, address: str, fqdn: str, port: int = 443, **_more: float) -> Served:
        der = self.serves.get(fqdn)
        return Served(der, address, port, why="" if der else "connection refused")

    def fields(self) -> dict[str, str]:
        hosts = list(self.parts.values())
        conf = {path: text for host in hosts for path, text in host.conf.items()}
        said = [replace(host, conf=conf, refusal=self._refusal(conf)).fields() for host in hosts]
        together = {key: "\n".join(one[key] for one in said) for key in ("digests", "stats", "units")}
        together["units"] += "\n" + unit("nginx.service")
        return {key: value for one in said for key, value in one.items()} | together

    def did(self, script: str) -> list[tuple[str, ...]]:
        """What a script was called with, each time."""
        return [request.args for request in self.shell.sent if request.script == script]

    def _refusal(self, conf: dict[str, str]) -> str:
        """nginx reads no further than the first pair that is missing."""
        for host in self.parts.values():
            if host.cert is None and host.vhost_path in conf:
                return f'nginx: [emerg] cannot load certificate "{host.service.cert}": no such file'
        return ""

    def _does(self, script: str, work: Callable[[Request], bytes | None]) -> Callable[[Request], Answer]:
        def run(request: Request) -> Answer:
            refuse = self.refused.get(script)
            no = refuse(request) if refuse else None
            return no or Answer(script, 0, work(request) or b"", "")

        return run

    def _read(self, paths: tuple[str, ...]) -> dict[str, str]:
        certs = {host.service.cert: host.cert for host in self.parts.values()}
        return {path: cert for path in paths if (cert := certs.get(path))}

    def _at(self, path: str) -> Host:
        return next(host for host in self.parts.values() if host.service.cert == path)

    def _mint(self, request: Request) -> bytes:
        pair = good_pair(*request.args[6:])
        return encoded({"cert": pair.pem, "public": pair.public})

    def _commit(self, request: Request) -> None:
        host = self._at(request.args[1])
        pair = good_pair(*host.service.names)
        self.parts[host.service.name] = replace(host, pair=pair, cert=pair.pem, public=pair.public)

    def _set_up(self, request: Request) -> None:
        for name, host in self.parts.items():
            if host.service.timer in request.args[1].split():
                units = {host.service.timer: unit(host.service.timer)}
                digests = {file.path: file.digest for file in renewal_units.wanted(host.service, SETTINGS)}
                self.parts[name] = replace(host, units=units, digests=digests)

    def _wire(self, request: Request) -> None:
        words = request.args[4:]
        for path, text in zip(words[::4], words[3::4], strict=True):
            name = next(name for name, host in self.parts.items() if host.vhost_path == path)
            self.parts[name] = self.parts[name].with_vhost(text)
        self._load(request)

    def _load(self, _: Request) -> None:
        for name, host in self.parts.items():
            if name not in self.deaf and host.cert and host.vhosts:
                self.serves[host.service.fqdn] = good_pair(*host.service.names).der
