"""Every service of a host, declared or found there, by one remote command: discover.sh."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from meshfab.config import host_pair, validation
from meshfab.config.service import Service
from meshfab.errors import ConnectError, InputError
from meshfab.host import answer_fields, facts, host_addresses
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshfab.config.settings import Settings
    from meshfab.host.facts import HostState
    from meshfab.ssh.script import Answer

# The name of the host's identity pair in the scripts; no service has a dot in its name.
OWN = "own.pair"
OWN_UNIT = "step.service"
# The limits for a host that lists too many names: every service costs signature checks and TLS connections.
_MOST_FOUND, _MOST_SECRETS = 200, 20
_MAX_TICK_MESSAGE = 2000
# The names that put_password.sh gives: the file, and the folder in which it is made.
_SECRET = re.compile(r"/tmp/(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?-provisioner|\.meshfab-[0-9a-f]{16})")  # noqa: S108


@dataclass(frozen=True)
class HostCertificate:
    """The host's identity pair. step.service renews it; meshfab checks it and never mints it.

    Attributes:
        fqdn: the host's own name.
        cert: path of the certificate.
        key: path of the key.
        name: its name in the answers of the scripts.
        sans: None, since no more names are requested.
    """

    fqdn: str
    cert: str
    key: str
    name: str = OWN
    sans: None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the certificate must carry."""
        return (self.fqdn,)


@dataclass(frozen=True)
class Discovery:
    """A host and all of its services at one moment.

    Attributes:
        state: what `probe` reads, for every service and for the host's own pair.
        own: the host's own pair; None when the host does not report its name, or has none by the settings.
        has_own: whether the settings say that hosts have a pair of their own.
        services: every service, declared ones first.
        declared: the names of those that the settings put on this host.
        vhosted: the names of those whose pair nginx's configuration mentions.
        secrets: paths of password files on the host while no mint is in progress.
        resolved: the addresses to which each service's name resolves on the host.
        failed: the message of the last tick, by service, if it failed.
        left_out: the number of password files beyond the limit.
    """

    state: HostState
    own: HostCertificate | None
    services: tuple[Service, ...]
    declared: frozenset[str]
    vhosted: frozenset[str]
    secrets: tuple[str, ...]
    resolved: Mapping[str, frozenset[str]]
    failed: Mapping[str, str]
    left_out: int = 0
    has_own: bool = True


def request(settings: Settings, declared: Sequence[Service], *, judge: bool = True) -> Request:
    """The request for the one command.

    Without `judge` the host does less work: there is no `own`, and `secrets`, `resolved` and `failed` are empty.
    """
    root, conf_dir, *service_args = facts.request(settings, declared).args
    folders = (settings.domain, settings.cert_dir, settings.key_dir)
    own_pair = host_pair.patterns(settings.host_certificate) or ("", "")
    args = (root, conf_dir, *folders, "judge" if judge else "", *own_pair)
    return Request("facts+discover", (*args, *service_args))


def parse(answer: Answer, host: str, settings: Settings, declared: Sequence[Service]) -> Discovery:
    """Parse the answer, whatever bytes it contains.

    Raises:
        ConnectError: it is not the answer of our script, or claims more services than a host has.
    """
    fields = answer_fields.parse_fields(answer.out, host)
    by_name = found_services(fields.get("found", ""), host, settings, declared, "look at its folder of certificates")
    secrets = [path for path in answer_fields.rows(fields.get("secrets", "")) if _SECRET.fullmatch(path)]
    patterns = host_pair.patterns(settings.host_certificate)
    own = _own(fields.get("own", ""), patterns) if patterns else None
    names = [*by_name, *([own.name] if own else [])]
    state = facts.from_fields(fields, host, settings, names, stderr=answer.err)
    return Discovery(
        state=state,
        own=own,
        has_own=patterns is not None,
        services=tuple(by_name.values()),
        declared=frozenset(service.name for service in declared),
        vhosted=frozenset(name for name in fields.get("vhosted", "").split() if name in by_name),
        secrets=tuple(secrets[:_MOST_SECRETS]),
        resolved=host_addresses.resolved(fields.get("resolved", "")),
        failed={name: fields[f"{name}/failed"][:_MAX_TICK_MESSAGE] for name in by_name if f"{name}/failed" in fields},
        left_out=max(len(secrets) - _MOST_SECRETS, 0),
    )


def found_services(
    text: str, host: str, settings: Settings, declared: Sequence[Service], remedy: str
) -> dict[str, Service]:
    """The declared services, then those whose names the host gives, by name.

    Args:
        text: names, separated by blanks.
        host: the host, as it was named.
        settings: the mesh's conventions.
        declared: the services that are declared for the host.
        remedy: where to look if the host names too many.

    Raises:
        ConnectError: it claims more services than a host has.
    """
    by_name = {service.name: service for service in declared}
    found = [name for name in dict.fromkeys(text.split()) if name not in by_name]
    if len(found) > _MOST_FOUND:
        what = f"it has more than {_MOST_FOUND} services that are not declared for it"
        raise ConnectError(what, host=host, remedy=f"declare them, or {remedy}")
    for name in found:
        try:
            by_name[name] = Service.of(name, settings)
        except InputError:
            continue  # not a valid service name: the file is not ours
    return by_name


def undeclared(discovery: Discovery) -> tuple[str, ...]:
    """A sentence on each service that is on the host and not declared for it. It is reported, not removed."""
    sentences = []
    for service in discovery.services:
        timer = discovery.state.unit(service.timer)
        parts = [
            "a pair" * (discovery.state.services[service.name].cert is not None),
            "a timer" * (timer.enabled == "enabled" or timer.active == "active"),
            "a place in nginx's configuration" * (service.name in discovery.vhosted),
        ]
        if service.name not in discovery.declared and any(parts):
            what = ", ".join(part for part in parts if part)
            sentences.append(f"orphan: {service.fqdn} has {what} here and is not declared; it is left unchanged")
    return tuple(sentences)


def elapse(text: str) -> datetime | None:
    """Parse a time in UTC as systemd prints it.

    >>> elapse("Mon 2026-11-23 17:45:00 UTC").isoformat()
    '2026-11-23T17:45:00+00:00'
    """
    try:
        return datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def _own(fqdn: str, patterns: tuple[str, str]) -> HostCertificate | None:
    try:
        validation.dns_name(fqdn)
    except InputError:
        return None
    cert, key = (pattern.replace(host_pair.PLACEHOLDER, fqdn) for pattern in patterns)
    return HostCertificate(fqdn, cert, key)
