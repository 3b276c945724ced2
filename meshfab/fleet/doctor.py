"""`doctor`: examine hosts before anything is done on them, with a finding for each precondition."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meshfab.ca import ssh_agent
from meshfab.checks import ca_checks, client_addresses, preconditions, provisioner_checks
from meshfab.checks.finding import Finding
from meshfab.checks.report import EXIT, worst
from meshfab.config import inventory, validation
from meshfab.config.settings import Settings
from meshfab.errors import MeshfabError, one_line
from meshfab.fleet import check_certs, operator_check, resolver_look
from meshfab.host import answer_fields, facts, host_addresses, tls_client
from meshfab.host.call_threads import call_all
from meshfab.ssh import session
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from meshfab.checks.finding import Status
    from meshfab.config.service import Service

# How long the operator's resolver may take for all names of a host: one that is dead takes ten seconds for each.
_RESOLVE_SECONDS = 30.0
_RESOLVED_AT_ONCE = 8


@dataclass(frozen=True)
class Readiness:
    """The preconditions of one machine.

    Attributes:
        host: the host, as it was named; empty for the operator's own machine, and for what all hosts together show.
        checks: a finding for each precondition, with status ok where it is met.
    """

    host: str
    checks: tuple[Finding, ...]

    @property
    def status(self) -> Status:
        """The worst of its checks."""
        return worst(check.status for check in self.checks)


def doctor(
    hosts: Sequence[str] | None = None,
    *,
    settings: Settings | None = None,
    config: Any = None,
    on_result: Callable[[Readiness], object] | None = None,
    quick: bool = False,
) -> tuple[Readiness, ...]:
    """Examine hosts before anything is done on them, the operator's own machine first. It changes nothing.

    A host's error is not raised: it is one of its checks.

    Args:
        hosts: the hosts to examine; None takes the hosts of the settings and those of the declared services.
        settings: the mesh's conventions; None reads them from `config`.
        config: an Invoke or Fabric configuration to carry on.
        on_result: called with each machine's checks, in the order of the hosts.
        quick: only what `check-certs --quick` needs, with a login that may have no rights.

    Raises:
        InputError: a host or a setting is not usable. Nothing was connected.
    """
    settings = settings or Settings.load(config if config is not None else {})
    names = check_certs.requested_hosts(hosts, settings)
    results: list[Readiness] = []

    def add(result: Readiness) -> None:
        results.append(result)
        if on_result:
            on_result(result)

    if quick:
        from meshfab.fleet import quick_doctor

        with ThreadPoolExecutor(min(settings.parallel, len(names))) as pool:
            quickly = partial(quick_doctor.examine, settings=settings, config=config)
            for name, checks in zip(names, pool.map(quickly, names), strict=True):
                add(Readiness(name, checks))
        return tuple(results)
    add(Readiness("", operator_check.examine(settings)))
    with ThreadPoolExecutor(min(settings.parallel, len(names))) as pool:
        examinations = []
        for name, examination in zip(
            names, pool.map(partial(_examine, settings=settings, config=config), names), strict=True
        ):
            examinations.append(examination)
            add(Readiness(name, examination.checks))
    # Only who has seen every host that has services knows of a provisioner that none of them uses.
    if set(inventory.hosts(settings)) <= set(names) and (unused := _unused(examinations, settings)):
        add(Readiness("", (unused,)))
    return tuple(results)


def exit_status(results: Iterable[Readiness]) -> int:
    """0 ok, 1 warning, 2 critical, 3 unknown, as monitoring plugins have it; the worst wins."""
    return EXIT[worst(result.status for result in results)]


@dataclass(frozen=True)
class _Examination:
    """What one host's answer says.

    Attributes:
        checks: a finding for each precondition.
        provisioners: the names of the CA's provisioners; None if they are not known.
        minters: the provisioners of the certificates of declared services.
    """

    checks: tuple[Finding, ...]
    provisioners: frozenset[str] | None = None
    minters: frozenset[str] = frozenset()


def examine(host: str, settings: Settings, config: Any = None) -> tuple[Finding, ...]:
    """Check every precondition of one host, with one connection and one command."""
    return _examine(host, settings, config).checks


def _examine(host: str, settings: Settings, config: Any = None) -> _Examination:
    declared = inventory.services(host, settings)
    try:
        with session.shell_within(host, settings, config, session.HOST_SECONDS) as shell:
            probe_answer, doctor_answer = shell.batch([facts.request(settings, declared), _request(settings, declared)])
            state = facts.parse(probe_answer, shell.host, settings, declared)
            reached = client_addresses.peer(shell.c)
        answers = answer_fields.parse_fields(doctor_answer.out, shell.host)
        listed, minters = ca_checks.listed_provisioners(answers), provisioner_checks.minters(state, declared)
        checks = (
            *preconditions.check_login(None),
            *_of_host(state, answers, settings, declared, reached),
            *_of_provisioners(listed or [], minters, settings, declared, host),
        )
        names = None if listed is None else frozenset(str(provisioner.get("name")) for provisioner in listed)
        return _Examination(checks, names, frozenset(minters.values()))
    except MeshfabError as error:
        return _Examination(tuple(preconditions.check_login(error)))
    except Exception as error:  # a host may answer anything; its answer must not hide the other hosts
        what = f"its answer cannot be judged: {type(error).__name__}: {one_line(str(error))[:200]}"
        return _Examination((Finding("answer", "unknown", what, f"try `ssh {host} true`: is it the right host?"),))


def _of_provisioners(
    listed: list[dict[str, Any]], minters: dict[str, str], settings: Settings, declared: Sequence[Service], host: str
) -> Iterator[Finding]:
    """What the CA's list means for the way of signing, and for the certificates that are on the host."""
    if ours := provisioner_checks.ours(listed, settings.provisioner):
        yield provisioner_checks.check_published(ours, settings)
        if settings.signing == "agent":
            # Without an agent, the operator's own line says so.
            with suppress(MeshfabError), closing(ssh_agent.open_agent()) as agent:
                yield provisioner_checks.check_agent(ours, agent.get_keys())
    yield from provisioner_checks.check_gone(listed, minters, declared, host)


def _unused(examinations: Sequence[_Examination], settings: Settings) -> Finding | None:
    """The provisioners that no declared service uses; None also where a host was not asked, or no minter is known."""
    lists = [examination.provisioners for examination in examinations]
    minters = {name for examination in examinations for name in examination.minters}
    if None in lists or not minters:
        return None
    listed = frozenset().union(*(names for names in lists if names))
    return provisioner_checks.check_unused(listed, minters, settings)


def _request(settings: Settings, declared: Sequence[Service]) -> Request:
    ca, port = _ca(settings)
    names = " ".join([ca, *(service.fqdn for service in declared)])
    folders = (
        *(settings.cert_dir, settings.key_dir, settings.conf_dir or "/etc/nginx", "/etc/systemd/system"),
        *("/etc/meshfab", "/usr/local/libexec", "/var/lib/meshfab"),
    )
    check_name = "-verify_ip" if validation.is_address(ca) else "-verify_hostname"
    args = (settings.ca_url, ca, str(port), settings.root, settings.nginx_user or "", names, check_name)
    # /tmp and /run hold the password and the new pair for a moment.
    return Request("doctor", (*args, *folders, "/tmp", "/run"))  # noqa: S108


def _of_host(
    state: facts.HostState, answers: dict[str, str], settings: Settings, declared: Sequence[Service], reached: str
) -> Iterator[Finding]:
    version = one_line(answers.get("step.version", ""))
    for tool in preconditions.check_tools(state.tools):
        has_version = tool.code == "step" and tool.status == "ok" and version
        yield Finding("step", "ok", f"{tool.message}, {version}") if has_version else tool
    yield from preconditions.check_notices(state.tools, declared)
    yield preconditions.check_systemd(answers.get("systemd", ""), runs="systemd.runs" in answers)
    yield from preconditions.check_nginx(state, answers.get("users", "").split())
    yield from preconditions.check_root(state.root, settings)
    addresses_there = host_addresses.resolved(answers.get("resolved", ""))
    fqdns = [service.fqdn for service in declared]
    until = time.monotonic() + _RESOLVE_SECONDS
    found = call_all(tls_client.resolve, fqdns, deadline=until, at_once=_RESOLVED_AT_ONCE)
    addresses_here = {fqdn: found.get(fqdn, ()) for fqdn in fqdns}
    yield from preconditions.check_names(addresses_there, addresses_here, state.addresses, _ca(settings)[0], reached)
    yield from resolver_look.look(answers.get("resolver", ""), answers.get("resolver.negative", ""), fqdns, settings)
    yield from ca_checks.check_ca(answers, state.root, settings)
    yield from preconditions.check_folders(answers.get("folders", ""))


def _ca(settings: Settings) -> tuple[str, int]:
    parts = urlsplit(settings.ca_url)
    return str(parts.hostname), parts.port or 443
