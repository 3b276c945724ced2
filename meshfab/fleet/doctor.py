"""`doctor`: examine hosts before anything is done on them, with a finding for each precondition."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meshfab.checks import ca_checks, client_addresses, preconditions
from meshfab.checks.finding import Finding
from meshfab.checks.report import EXIT, worst
from meshfab.config import inventory, password_source, validation
from meshfab.config.settings import Settings
from meshfab.errors import InputError, MeshfabError, one_line
from meshfab.fleet import check_certs
from meshfab.host import answer_fields, facts, host_addresses, tls_client
from meshfab.ssh import session
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from meshfab.checks.finding import Status
    from meshfab.config.service import Service


@dataclass(frozen=True)
class Readiness:
    """The preconditions of one machine.

    Attributes:
        host: the host, as it was named; empty for the operator's own machine.
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
) -> tuple[Readiness, ...]:
    """Examine hosts before anything is done on them, the operator's own machine first. It changes nothing.

    A host's error is not raised: it is one of its checks.

    Args:
        hosts: the hosts to examine; None takes the hosts of the settings and those of the declared services.
        settings: the mesh's conventions; None reads them from `config`.
        config: an Invoke or Fabric configuration to carry on.
        on_result: called with each machine's checks, in the order of the hosts.

    Raises:
        InputError: a host or a setting is not usable. Nothing was connected.
    """
    settings = settings or Settings.load(config if config is not None else {})
    names = check_certs.requested_hosts(hosts, settings)
    results = [Readiness("", of_operator(settings))]
    if on_result:
        on_result(results[0])
    with ThreadPoolExecutor(min(settings.parallel, len(names))) as pool:
        examined = pool.map(partial(examine, settings=settings, config=config), names)
        for name, checks in zip(names, examined, strict=True):
            results.append(Readiness(name, checks))
            if on_result:
                on_result(results[-1])
    return tuple(results)


def exit_status(results: Iterable[Readiness]) -> int:
    """0 ok, 1 warning, 2 critical, 3 unknown, as monitoring plugins have it; the worst wins."""
    return EXIT[worst(result.status for result in results)]


def examine(host: str, settings: Settings, config: Any = None) -> tuple[Finding, ...]:
    """Check every precondition of one host, with one connection and one command."""
    declared = inventory.services(host, settings)
    try:
        with session.shell_within(host, settings, config, session.HOST_SECONDS) as shell:
            probe_answer, doctor_answer = shell.batch([facts.request(settings, declared), _request(settings, declared)])
            state = facts.parse(probe_answer, shell.host, settings, declared)
            reached = client_addresses.peer(shell.c)
        answers = answer_fields.parse_fields(doctor_answer.out, shell.host)
        return (*preconditions.check_login(None), *_of_host(state, answers, settings, declared, reached))
    except MeshfabError as error:
        return tuple(preconditions.check_login(error))
    except Exception as error:  # a host may answer anything; its answer must not hide the other hosts
        what = f"its answer cannot be judged: {type(error).__name__}: {one_line(str(error))[:200]}"
        return (Finding("answer", "unknown", what, f"try `ssh {host} true`: is it the right host?"),)


def of_operator(settings: Settings) -> tuple[Finding, ...]:
    """The preconditions of the operator's own machine."""
    try:
        # A prompt has nothing that could be checked before.
        if not settings.ask_password:
            password_source.obtain(settings)
    except InputError as error:
        return (Finding("password", "critical", error.what, error.remedy),)
    exposure = password_source.source_exposure(settings)
    if exposure:
        return (Finding("password", "warning", exposure.what, exposure.remedy),)
    return (Finding("password", "ok", password_source.describe(settings)),)


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
    yield preconditions.check_systemd(answers.get("systemd", ""), runs="systemd.runs" in answers)
    yield from preconditions.check_nginx(state, answers.get("users", "").split())
    yield from preconditions.check_root(state.root, settings)
    addresses_there = host_addresses.resolved(answers.get("resolved", ""))
    addresses_here = {service.fqdn: tls_client.resolve(service.fqdn) for service in declared}
    yield from preconditions.check_names(addresses_there, addresses_here, state.addresses, _ca(settings)[0], reached)
    yield from ca_checks.check_ca(answers, state.root, settings)
    yield from preconditions.check_folders(answers.get("folders", ""))


def _ca(settings: Settings) -> tuple[str, int]:
    parts = urlsplit(settings.ca_url)
    return str(parts.hostname), parts.port or 443
