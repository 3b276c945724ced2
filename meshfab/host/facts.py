"""The facts of a host, read by one remote command: probe.sh runs on the host, and this module parses its answer.

The parser trusts nothing: a host may answer anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING

from meshfab.errors import ConnectError
from meshfab.host import answer_fields, history, host_addresses, nginx_config
from meshfab.host.history import History
from meshfab.host.nginx_config import NginxConfig
from meshfab.host.nginx_grammar import ServerBlocks
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.ssh.root_shell import RootShell
    from meshfab.ssh.script import Answer

_MAX_UNITS = 20_000
_MAX_PROPERTIES = 64
_MAX_ACL = 64 * 1024
# Words that systemd, stat or a script's error output prints; they appear in messages.
_MAX_WORD = 200


@dataclass(frozen=True)
class Stat:
    """A file's kind ("regular file"), "owner:group" and mode bits."""

    kind: str
    owner: str
    mode: int


@dataclass(frozen=True)
class Unit:
    """What `systemctl show` says of a unit; `elapses` is when a timer is due, as systemd prints it, in UTC.

    `main_pid` is a number, "0" for a service that does not run.
    """

    load: str = "not-found"
    enabled: str = ""
    active: str = "inactive"
    result: str = ""
    needs_reload: bool = False
    elapses: str = ""
    main_pid: str = ""


@dataclass(frozen=True)
class ServiceState:
    """The files of one service on the host; None where there is no such file.

    Attributes:
        cert: the text of the certificate file.
        public: the public half of the key, PEM; empty when the key is not readable.
        acl: the key's ACL as `getfacl -cpE` prints it.
        staged: a certificate that an interrupted run left, complete, beside the live one.
        has_leftovers: whether files of an interrupted run are beside the pair, including that certificate.
        secret: the path of a password file on the host.
        is_secret_folder: whether that path is a folder, which meshfab never makes.
        vhosts: the text of each vhost and snippet file of the service's name, by path.
        history: its certificates that have not expired, and the first one of the key in use.
    """

    cert: str | None = None
    public: str | None = None
    acl: str = ""
    staged: str | None = None
    has_leftovers: bool = False
    secret: str | None = None
    is_secret_folder: bool = False
    vhosts: Mapping[str, str] = field(default_factory=dict)
    history: History = field(default_factory=History)


@dataclass(frozen=True)
class HostState:
    """A host at the moment of the probe; `now` is its own clock's time, `unwritable` our folders that are read-only."""

    host: str
    now: datetime
    addresses: tuple[str, ...]
    tools: Mapping[str, str]
    root: str | None
    nginx_conf: str
    nginx_version: tuple[int, ...]
    nginx_user: str
    has_sites: bool
    digests: Mapping[str, str]
    stats: Mapping[str, Stat]
    units: Mapping[str, Unit]
    services: Mapping[str, ServiceState]
    has_ipv6: bool = True
    unwritable: frozenset[str] = frozenset()

    def unit(self, name: str) -> Unit:
        """The unit's state; one that systemd does not know has the defaults."""
        return self.units.get(name, Unit())

    @cached_property
    def nginx(self) -> NginxConfig:
        """nginx's configuration, split into its files; read when it is asked for."""
        return NginxConfig(self.nginx_conf, self.host)

    @cached_property
    def server_blocks(self) -> ServerBlocks:
        """The server blocks of that configuration, parsed when they are asked for."""
        return ServerBlocks(self.nginx)

    @property
    def step(self) -> str | None:
        """Path of Smallstep's CLI, which some distributions call step-cli."""
        return self.tools.get("step") or self.tools.get("step-cli")


def read_host(shell: RootShell, settings: Settings, services: Sequence[Service]) -> HostState:
    """Probe the host for the given services.

    Raises:
        ConnectError: the answer is not a probe's.
    """
    return parse(shell.batch([request(settings, services)])[0], shell.host, settings, services)


def request(settings: Settings, services: Sequence[Service]) -> Request:
    """The request for a probe, to send it together with other scripts."""
    args = [settings.root, settings.conf_dir or ""]
    for service in services:
        args += [service.name, service.fqdn, service.cert, service.key, service.secret, " ".join(service.files)]
    return Request("facts+probe", tuple(args))


def parse(answer: Answer, host: str, settings: Settings, services: Sequence[Service]) -> HostState:
    """Parse the probe's answer, whatever bytes it contains.

    Raises:
        ConnectError: it is not the answer of our script.
    """
    names = [service.name for service in services]
    return from_fields(answer_fields.parse_fields(answer.out, host), host, settings, names, stderr=answer.err)


def from_fields(
    answers: Mapping[str, str], host: str, settings: Settings, names: Iterable[str], *, stderr: str = ""
) -> HostState:
    """The same for an answer that was split into its fields already.

    Args:
        answers: the fields.
        host: the host, as it was named.
        settings: the mesh's conventions.
        names: of the services, as the probe was told.
        stderr: the script's error output, for the message of the error.

    Raises:
        ConnectError: it is not the answer of our script.
    """
    try:
        now = datetime.fromtimestamp(int(answers["now"]), timezone.utc)
    except (KeyError, ValueError, OverflowError, OSError):
        raise ConnectError(
            f"the host's answer to the probe cannot be parsed ({stderr[:_MAX_WORD] or 'no error message'})",
            host=host,
            remedy=f"try `ssh {host} sudo -n id`",
        ) from None
    return HostState(
        host=host,
        now=now,
        addresses=host_addresses.own(answers.get("addresses", "")),
        tools={path.rpartition("/")[2]: path for path in answer_fields.rows(answers.get("tools", ""))},
        root=answers.get("root"),
        nginx_conf=answers.get("nginx.conf", ""),
        nginx_version=nginx_config.version(answers.get("nginx.conf", "")),
        nginx_user=settings.nginx_user
        or nginx_config.worker_user(answers.get("nginx.conf", ""))
        or nginx_config.worker_user(f"user {answers.get('nginx.user', '')};")
        or "nginx",
        has_sites="nginx.sites" in answers,
        has_ipv6="no-ipv6" not in answers,
        unwritable=frozenset(answer_fields.rows(answers.get("unwritable", ""))),
        digests={row[66:]: row[:64] for row in answer_fields.rows(answers.get("digests", ""))},
        stats=_stats(answers.get("stats", "")),
        units=_units(answers.get("units", "")),
        services=_services(answers, names),
    )


def _services(answers: Mapping[str, str], names: Iterable[str]) -> dict[str, ServiceState]:
    vhosts: dict[str, dict[str, str]] = {}
    for key, text in answers.items():
        name, mark, path = key.partition("/vhost:")
        if mark:
            vhosts.setdefault(name, {})[path] = text
    histories = history.parse_all(answers.get("histories", ""))
    return {
        name: ServiceState(
            cert=answers.get(f"{name}/cert"),
            public=answers.get(f"{name}/public"),
            acl=answers.get(f"{name}/acl", "")[:_MAX_ACL],
            staged=answers.get(f"{name}/staged"),
            has_leftovers=f"{name}/leftovers" in answers,
            secret=answers.get(f"{name}/secret"),
            is_secret_folder=f"{name}/secret-folder" in answers,
            vhosts=vhosts.get(name, {}),
            history=histories.get(name, History()),
        )
        for name in names
    }


def _stats(text: str) -> dict[str, Stat]:
    stats = {}
    for row in answer_fields.rows(text):
        columns = row.split("|", 4)
        if len(columns) == 4 and re.fullmatch("[0-7]{1,5}", columns[3]):
            stats[columns[0]] = Stat(columns[1][:_MAX_WORD], columns[2][:_MAX_WORD], int(columns[3], 8))
    return stats


def _units(text: str) -> dict[str, Unit]:
    units = {}
    for block in text.split("\n\n", _MAX_UNITS)[:_MAX_UNITS]:
        rows = (row.partition("=") for row in block.split("\n", _MAX_PROPERTIES)[:_MAX_PROPERTIES])
        properties = {name: value[:_MAX_WORD] for name, _, value in rows}
        units[properties.get("Id", "")] = Unit(
            load=properties.get("LoadState", ""),
            enabled=properties.get("UnitFileState", ""),
            active=properties.get("ActiveState", ""),
            result=properties.get("Result", ""),
            needs_reload=properties.get("NeedDaemonReload") == "yes",
            elapses=properties.get("NextElapseUSecRealtime", ""),
            main_pid=properties.get("MainPID", ""),
        )
    return units
