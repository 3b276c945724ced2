"""A simulated host with several services: the answers of its probe, and the effects of its scripts."""

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


def service_named(name: str) -> Service:
    return Service.of(name, SETTINGS)


def fresh_host(name: str) -> Host:
    """A host with nothing of the service."""
    service = service_named(name)
    timer = unit(service.timer, load="not-found", enabled="", active="inactive")
    return Host(service, cert=None, public=None, digests={"/x": "0" * 64}, units={service.timer: timer})


def converged_host(name: str) -> Host:
    """A host with everything that the service needs."""
    return Host(service_named(name)).with_vhost()


@dataclass
class MultiServiceHost:
    """One host; each of its services is described by a `Host` that has only this service.

    Attributes:
        services: the services, by name.
        served: the leaf that clients get, by the service's fqdn.
        ignored: names of services for which nginx ignores a reload.
        overrides: by script, a function that returns another answer, or None for the effect of the script.
        undeclared: names of services on the host that the probe reports besides the requested ones.
        shell: records the requests, and answers them.
    """

    services: dict[str, Host]
    served: dict[str, bytes] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    overrides: dict[str, Callable[[Request], Answer | None]] = field(default_factory=dict)
    undeclared: str = ""
    shell: RecordingShell = field(default_factory=RecordingShell)

    def __post_init__(self) -> None:
        """Let the shell answer with the effect of each script."""
        effects: dict[str, Callable[[Request], bytes | None]] = {
            "facts+probe": lambda _: encoded(self.all_fields()),
            "facts+discover": lambda _: encoded({"own": "h2.internal", "found": self.undeclared, **self.all_fields()}),
            "mint": self._mint,
            "commit": self._commit,
            "install_units": self._install_units,
            "install_config": self._install_config,
            "reload": self._load,
            "read": lambda request: encoded(self._read(request.args)),
        }
        names = {
            *effects,
            "wait_background",
            "lock",
            "check_transfer",
            "put_password",
            "remove_password",
            "remove_backups",
            "restore_pair",
            "remove_config",
            "set_permissions",
            "record",
        }
        self.shell.answers = {name: self._answer(name, effects.get(name, lambda _: b"")) for name in names}

    def ask(self, address: str, fqdn: str, port: int = 443, **_more: float) -> Served:
        der = self.served.get(fqdn)
        return Served(der, address, port, why="" if der else "connection refused")

    def all_fields(self) -> dict[str, str]:
        hosts = list(self.services.values())
        conf = {path: text for host in hosts for path, text in host.conf.items()}
        fields_of_each = [replace(host, conf=conf, refusal=self._refusal(conf)).fields() for host in hosts]
        keys = ("digests", "stats", "units", "histories")
        joined = {key: "\n".join(fields.get(key, "") for fields in fields_of_each) for key in keys}
        joined["units"] += "\n" + unit("nginx.service")
        return {key: value for fields in fields_of_each for key, value in fields.items()} | joined

    def calls(self, script: str) -> list[tuple[str, ...]]:
        """The arguments of every call of a script."""
        return [request.args for request in self.shell.sent if request.script == script]

    def _refusal(self, conf: dict[str, str]) -> str:
        """nginx stops at the first missing pair."""
        for host in self.services.values():
            if host.cert is None and host.vhost_path in conf:
                return f'nginx: [emerg] cannot load certificate "{host.service.cert}": no such file'
        return ""

    def _answer(self, script: str, effect: Callable[[Request], bytes | None]) -> Callable[[Request], Answer]:
        def run(request: Request) -> Answer:
            override = self.overrides.get(script)
            answer = override(request) if override else None
            return answer or Answer(script, 0, effect(request) or b"", "")

        return run

    def _read(self, paths: tuple[str, ...]) -> dict[str, str]:
        certs = {host.service.cert: host.cert for host in self.services.values()}
        return {path: cert for path in paths if (cert := certs.get(path))}

    def _host_of_cert(self, path: str) -> Host:
        return next(host for host in self.services.values() if host.service.cert == path)

    def _mint(self, request: Request) -> bytes:
        pair = good_pair(*request.args[6:])
        return encoded({"cert": pair.pem, "public": pair.public})

    def _commit(self, request: Request) -> None:
        for cert in request.args[2::3]:
            host = self._host_of_cert(cert)
            pair = good_pair(*host.service.names)
            self.services[host.service.name] = replace(host, pair=pair, cert=pair.pem, public=pair.public)

    def _install_units(self, request: Request) -> None:
        for name, host in self.services.items():
            if host.service.timer in request.args[1].split():
                units = {host.service.timer: unit(host.service.timer)}
                digests = {file.path: file.digest for file in renewal_units.wanted(host.service, SETTINGS)}
                self.services[name] = replace(host, units=units, digests=digests)

    def _install_config(self, request: Request) -> None:
        file_args = request.args[4:]
        for path, text in zip(file_args[::4], file_args[3::4], strict=True):
            name = next(name for name, host in self.services.items() if host.vhost_path == path)
            self.services[name] = self.services[name].with_vhost(text)
        self._load(request)

    def _load(self, _: Request) -> None:
        for name, host in self.services.items():
            if name not in self.ignored and host.cert and host.vhosts:
                self.served[host.service.fqdn] = good_pair(*host.service.names).der
