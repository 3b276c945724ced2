"""Plan the end of a service on a host: what is there, what names it, and in which order it goes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.errors import EditedError, NginxError, NotReadyError
from meshfab.host import certificate, renewal_units, service_files
from meshfab.host.nginx_config import PREFIX
from meshfab.nginx import config_dump, references, server_blocks, snippets, vhost
from meshfab.nginx.layout import VhostPath
from meshfab.provisioning import revocation_plan
from meshfab.provisioning.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.facts import HostState
    from meshfab.host.history import Generation
    from meshfab.provisioning.remains import RetirementRequest, ServiceRemains
    from meshfab.provisioning.revocation_plan import PlannedRevocation

HOW_TO_FORCE = "undo your change or move it elsewhere, or give --force"


@dataclass(frozen=True)
class RetirementPlan:
    """The steps that end a service.

    Attributes:
        service: the service.
        steps: in the order of execution; empty when nothing of it is there.
        vhosts: our vhosts, with their links.
        served: the leaves (DER) that clients must not get any more.
        revocations: the certificates that are revoked.
        unrevoked: those that are not, since nothing here or there can, or since it was not asked for; oldest first.
        tested: the files that nginx's configuration could name: it must be valid without them.
        files: the other files, in the order of removal.
        units: the shared units to remove.
        notes: what the operator should know.
    """

    service: Service
    steps: tuple[Step, ...]
    vhosts: tuple[VhostPath, ...] = ()
    served: frozenset[bytes] = frozenset()
    revocations: tuple[PlannedRevocation, ...] = ()
    unrevoked: tuple[Generation, ...] = ()
    tested: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def has(self, verb: str) -> bool:
        """Whether a step is in the plan."""
        return any(step.verb == verb for step in self.steps)


def nginx_paths(service: Service, settings: Settings) -> tuple[str, ...]:
    """Where our files for nginx can be, and the links to them."""
    file = f"{service.fqdn}.conf"
    folders = (settings.conf_dir or f"{PREFIX}/conf.d", f"{PREFIX}/sites-available")
    vhosts = (f"{PREFIX}/sites-enabled/{file}", *(f"{folder}/{file}" for folder in folders))
    return (*vhosts, *(snippets.path(service, part) for part in ("tls", "mtls")))


def all_paths(service: Service, settings: Settings) -> tuple[str, ...]:
    """Where a service can have files; the order is that of their removal."""
    return (*nginx_paths(service, settings), service.key, service.cert, *service_files.others(service, settings))


def kept_files(state: HostState, service: Service, settings: Settings) -> set[str]:
    """Files with the names of ours that meshfab did not write, with their links."""
    texts = state.services[service.name].vhosts
    unmanaged = {
        path for path in nginx_paths(service, settings) if path in texts and not vhost.read_header(texts[path])
    }
    return {name for path in unmanaged for name in (path, _vhost_path(path).link) if name}


def make_plan(remains: ServiceRemains, request: RetirementRequest) -> RetirementPlan:
    """Decide what ends the service, before anything is changed.

    Raises:
        NginxError: nginx refuses its configuration, or something that meshfab did not write names the pair.
        EditedError: a file of ours was edited by hand, and `force` is not given.
        NotReadyError: `last` is given, and another service is on the host.
    """
    service, state = request.service, remains.state
    texts = state.services[service.name].vhosts
    managed = {path: text for path, text in texts.items() if vhost.read_header(text)}
    vhosts = tuple(_vhost_path(path) for path in managed if path not in _snippet_paths(service))
    _require_readable(state, service, has_vhost=bool(vhosts))
    _require_unedited(state, managed, force=request.force)
    _require_unreferenced(state, service, vhosts)
    kept = kept_files(state, service, request.settings)
    files = tuple(path for path in remains.files if path not in kept)
    served = _served(remains, service, vhosts)
    revocations, unrevoked = revocation_plan.decide(remains, request)
    has_rest = set(files) - {service_files.lock(service)}
    units = _shared_units(remains, request)
    steps = (
        *_nginx_steps(vhosts, served),
        *_timer_steps(state, service),
        *[Step("revoke", revocation_plan.describe_all(revocations))] * bool(revocations),
        *[Step("remove", ", ".join(files))] * bool(has_rest),
        *[Step("units", "no service of this host uses them any more")] * bool(units),
    )
    return RetirementPlan(
        service=service,
        steps=steps,
        vhosts=vhosts,
        served=served,
        revocations=revocations,
        unrevoked=unrevoked,
        tested=tuple(path for path in files if path in (service.cert, service.key, *_snippet_paths(service))),
        files=tuple(path for path in files if path not in (service.cert, service.key, *_snippet_paths(service))),
        units=units,
        notes=tuple(_notes(remains, request, kept, is_there=bool(has_rest))),
    )


def _require_readable(state: HostState, service: Service, *, has_vhost: bool) -> None:
    output = config_dump.config_error(state) if "nginx" in state.tools else ""
    # Without our vhost nginx accepts it again, if the pair of this service is all that is wrong.
    if output and not (has_vhost and config_dump.is_about(output, service)):
        raise NginxError(
            f"nginx's configuration was broken before this run: {config_dump.error_line(output)}",
            host=state.host,
            remedy="repair it (nginx -t), then run this again",
        )


def _require_unedited(state: HostState, managed: Mapping[str, str], *, force: bool) -> None:
    for path, text in managed.items():
        header = vhost.read_header(text)
        if header and not header.is_untouched and not force:
            what = f"{path} was edited by hand since meshfab wrote it, and would be removed"
            raise EditedError(what, host=state.host, remedy=HOW_TO_FORCE)


def _require_unreferenced(state: HostState, service: Service, vhosts: Sequence[VhostPath]) -> None:
    managed = {name for each in vhosts for name in (each.path, each.link)}
    found = references.find(state, service, managed, _snippet_paths(service))
    if found:
        raise NginxError(
            f"the pair is still used, and nothing was changed: {'; '.join(map(str, found))}",
            host=state.host,
            remedy="take that out there and reload nginx, then run this again",
        )


def _vhost_path(path: str) -> VhostPath:
    available = f"{PREFIX}/sites-available/"
    link = path.replace(available, f"{PREFIX}/sites-enabled/") if path.startswith(available) else ""
    return VhostPath(path, link)


def _snippet_paths(service: Service) -> tuple[str, str]:
    return snippets.path(service, "tls"), snippets.path(service, "mtls")


def _served(remains: ServiceRemains, service: Service, vhosts: Sequence[VhostPath]) -> frozenset[bytes]:
    """The leaves of the service that clients get now: by our vhost, or by one that nginx has in memory only."""
    disk = certificate.leaf_of(remains.state.services[service.name].cert)
    leaves = {answer.der for answer in remains.clients.answers if answer.der} if remains.clients else set()
    ours = {name for each in vhosts for name in (each.path, each.link)}
    foreign = [block for block in server_blocks.find(remains.state, service) if block.file not in ours]
    # Somebody's own server may go on answering to the name, with another pair.
    return frozenset(
        leaf for leaf in leaves if (disk and leaf == disk.der) or (not foreign and service.fqdn in _names(leaf))
    )


def _names(der: bytes) -> tuple[str, ...]:
    try:
        return certificate.read_der(der).sans
    except ValueError:
        return ()


def _nginx_steps(vhosts: Sequence[VhostPath], served: frozenset[bytes]) -> Iterator[Step]:
    if vhosts:
        yield Step("vhost", ", ".join(each.path for each in vhosts))
    elif served:
        yield Step("reload", "nginx still serves it from memory")


def _timer_steps(state: HostState, service: Service) -> Iterator[Step]:
    timer, tick = state.unit(service.timer), state.unit(service.timer.replace(".timer", ".service"))
    is_set = timer.enabled == "enabled" or timer.active in ("active", "failed")
    if is_set or tick.active not in ("inactive", ""):
        yield Step("timer", f"{service.timer} is {timer.enabled or 'not enabled'} and {timer.active}")


def _shared_units(remains: ServiceRemains, request: RetirementRequest) -> tuple[str, ...]:
    """The shared units to remove.

    Raises:
        NotReadyError: another service of the host uses them.
    """
    state, users = remains.state, _other_users(remains, request.service)
    if not request.last:
        return ()
    if users:
        what = f"--last would remove the units of {', '.join(users)}, and nothing was changed"
        raise NotReadyError(what, host=state.host, remedy="leave --last out")
    return tuple(path for path in renewal_units.SHARED if path in state.digests)


def _other_users(remains: ServiceRemains, service: Service) -> list[str]:
    """The other services of the host that have a timer, or settings for it."""
    state = remains.state
    return [
        other.fqdn
        for other in remains.discovery.services
        if other.name != service.name
        and (
            state.unit(other.timer).enabled == "enabled"
            or state.unit(other.timer).active == "active"
            or other.env_file in state.digests
        )
    ]


def _notes(remains: ServiceRemains, request: RetirementRequest, kept: set[str], *, is_there: bool) -> Iterator[str]:
    service, state = request.service, remains.state
    for path in sorted(kept & set(state.services[service.name].vhosts)):
        yield f"{path} was not written by meshfab: left as it is"
    if not is_there:
        return
    if not state.services[service.name].history.generations:
        yield "the host keeps no history of it: certificates before the present one are not known here"
    has_units = any(path in state.digests for path in renewal_units.SHARED)
    if has_units and not request.last and not _other_users(remains, service):
        yield "it was the last service here: the units that all services share stay, and --last removes them"
