"""The quick look at one host: what it publishes, and what clients see. It needs a login, and no rights there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from meshfab.checks.client_addresses import peer
from meshfab.checks.endpoint_probe import EndpointProbe
from meshfab.checks.quick_evaluate import evaluate_published
from meshfab.config import inventory
from meshfab.errors import NotReadyError
from meshfab.fleet.public_names import ask_public_names
from meshfab.host import published_states
from meshfab.nginx.listeners import Endpoint

if TYPE_CHECKING:
    from meshfab.checks.report import CertificateReport
    from meshfab.config.settings import Settings
    from meshfab.ssh.root_shell import RootShell


def look(host: str, settings: Settings, shell: RootShell, seconds: float) -> tuple[CertificateReport, ...]:
    """Observe and evaluate one host.

    Raises:
        NotReadyError: nothing is declared for the host, and it publishes nothing.
        ConnectError: the host was lost, or its answer is not one of ours.
    """
    deadline = time.monotonic() + seconds
    declared = inventory.services(host, settings)
    answer = shell.batch([published_states.REQUEST])[0]
    published = published_states.parse(answer, shell.host, settings, declared)
    if not published.services:
        what = "it publishes no state, and no service is declared for it"
        raise NotReadyError(what, host=host, remedy=f"inv check-certs --host {host} looks at everything")
    endpoints = {service.fqdn: Endpoint() for service in published.services}
    observations = EndpointProbe(shell).observe(published.addresses, endpoints, deadline=deadline)
    public = ask_public_names(list(endpoints), settings, deadline)
    return evaluate_published(
        host, published, observations, public, declared, peer(shell.c), publishes=bool(settings.dns)
    )
