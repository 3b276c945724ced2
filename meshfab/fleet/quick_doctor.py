"""`doctor --quick`: whether a login without any rights is enough for `check-certs --quick`, line by line."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from meshfab.checks import preconditions
from meshfab.checks.finding import Finding
from meshfab.config import inventory
from meshfab.errors import MeshfabError, one_line
from meshfab.host import published_states, tick_state, tls_client
from meshfab.ssh import session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshfab.config.settings import Settings
    from meshfab.host.published_states import PublishedStates

# Names of one host; each takes a TLS handshake.
_MOST_ASKED = 20
_INSTALL = "inv renew-enable installs a tick that publishes it: see docs/how-to/monitoring.md"


def examine(host: str, settings: Settings, config: Any = None) -> tuple[Finding, ...]:
    """Check what a quick look needs of one host, with one connection and one command, without sudo."""
    try:
        with session.shell_within(host, settings, config, session.HOST_SECONDS, as_root=False) as shell:
            answer = shell.batch([published_states.REQUEST])[0]
            published = published_states.parse(answer, shell.host, settings, inventory.services(host, settings))
        login = Finding("login", "ok", "the login works; it needs no sudo")
        return (login, *_of_states(published), *_of_clients(published))
    except MeshfabError as error:
        return tuple(preconditions.check_login(error))
    except Exception as error:  # a host may answer anything; its answer must not hide the other hosts
        what = f"its answer cannot be judged: {type(error).__name__}: {one_line(str(error))[:200]}"
        return (Finding("answer", "unknown", what, f"try `ssh {host} true`: is it the right host?"),)


def _of_states(published: PublishedStates) -> Iterator[Finding]:
    """The folder of the states can be read, each declared service has one, and none is old."""
    if not published.is_readable:
        what = f"this login cannot read {tick_state.FOLDER}, or no tick has made it since the host booted"
        yield Finding("states", "critical", what, _INSTALL)
        return
    missing = [service.name for service in published.services if published.states.get(service.name) is None]
    if missing:
        yield Finding("states", "critical", f"no readable state of {', '.join(missing)}", _INSTALL)
        return
    ages = [published.now - state.time for state in published.states.values() if state]
    oldest = max(ages, default=timedelta())
    what = f"{len(ages)} states, the oldest {max(int(oldest.total_seconds()), 0) // 60} min old"
    is_old = oldest > timedelta(seconds=tick_state.TWO_TICKS)
    remedy = "look at its timer: systemctl list-timers 'step@*'" if is_old else ""
    yield Finding("states", "warning" if is_old else "ok", what, remedy)


def _of_clients(published: PublishedStates) -> Iterator[Finding]:
    """Each service's name leads to the host from here, and something there answers in TLS."""
    for service in published.services[:_MOST_ASKED]:
        resolved = tls_client.resolve(service.fqdn)
        if not set(resolved) & set(published.addresses):
            what = f"{service.fqdn} resolves to {', '.join(resolved) or 'nothing'} here"
            yield Finding("names", "warning", what, f"point {service.fqdn} at the host in the mesh's DNS")
            continue
        answer = tls_client.ask(resolved[0], service.fqdn)
        if answer.der is None:
            what = f"{service.fqdn} at {answer.location}: {answer.why or 'no answer'}"
            remedy = "open the way from here to this port; the host will be asked to ask itself until then"
            yield Finding("clients", "warning", what, remedy)
        else:
            yield Finding("clients", "ok", f"{service.fqdn} answers at {answer.location}")
