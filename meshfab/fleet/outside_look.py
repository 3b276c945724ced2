"""The look from outside at the services of one host: DNS and TLS from this machine, without SSH."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

from meshfab.checks import client_checks
from meshfab.config import inventory
from meshfab.fleet.public_names import ask_public_names
from meshfab.host import tls_client
from meshfab.host.call_threads import call_all

if TYPE_CHECKING:
    from meshfab.checks.report import CertificateReport
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings

# Names of one host at once, and addresses of one name.
_AT_ONCE, _MOST_ADDRESSES = 8, 8


def look(host: str, settings: Settings, seconds: float) -> tuple[CertificateReport, ...]:
    """Ask for each service that is declared for the host, and evaluate the answers."""
    deadline = time.monotonic() + seconds
    services = {service.fqdn: service for service in inventory.services(host, settings)}
    ask = partial(_ask, settings, deadline)
    seen = call_all(ask, list(services.values()), deadline=deadline, at_once=_AT_ONCE)
    public = ask_public_names(list(services), settings, deadline)
    now = datetime.now(timezone.utc)
    return tuple(
        client_checks.evaluate_outside(
            host, service, seen.get(service) or client_checks.OutsideObservation(), now, public.get(fqdn, ())
        )
        for fqdn, service in services.items()
    )


def _ask(settings: Settings, deadline: float, service: Service) -> client_checks.OutsideObservation:
    resolved = tls_client.resolve(service.fqdn)
    answers = []
    for address in resolved[:_MOST_ADDRESSES]:
        timeout = min(tls_client.SECONDS, deadline - time.monotonic())
        if timeout <= 0:
            break
        answers.append(tls_client.ask_verified(address, service.fqdn, settings.operator_root_file, timeout=timeout))
    return client_checks.OutsideObservation(resolved, tuple(answers), is_complete=True)
