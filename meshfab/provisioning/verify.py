"""The proof that a pair is served: what TLS clients get, before a change and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.host import tls_client
from meshfab.nginx.listeners import Endpoint

if TYPE_CHECKING:
    from meshfab.checks.endpoint_probe import EndpointObservation, EndpointProbe
    from meshfab.host.certificate import Leaf
    from meshfab.host.facts import HostState
    from meshfab.host.tls_client import Served
    from meshfab.provisioning.observe import ServiceObservation
    from meshfab.provisioning.plan import Plan


class ServingCheck:
    """What clients of one service get: the only proof that a load, or a rollback, took effect.

    Args:
        probe: asks as a TLS client.
        state: the host.
        plan: the plan of the service.
        before: the service as it was before.
    """

    def __init__(self, probe: EndpointProbe, state: HostState, plan: Plan, before: ServiceObservation) -> None:
        self.plan = plan
        self._probe, self._state, self._before = probe, state, before

    @property
    def was_served(self) -> bool:
        """Whether clients got anything before."""
        return self._before.served is not None

    @property
    def resolved(self) -> tuple[str, ...]:
        """The addresses that the service's name has for the operator."""
        clients = self._probe.latest.get(self.plan.service.fqdn)
        return clients.resolved if clients else ()

    def wait_until_served(self, disk: Leaf) -> Served:
        """Wait until clients get the leaf that is on disk, or the time is up; return the answer that counts."""
        fqdn, endpoint = self.plan.service.fqdn, self.plan.endpoint or Endpoint()
        return wait_until_served(self._probe, self._state, fqdn, endpoint, disk)

    def is_restored(self) -> bool:
        """Whether clients get again what they got before.

        True where nothing was meant to serve the name, and where nginx was stopped: it runs after a rollback.
        """
        fqdn, endpoint, clients = self.plan.service.fqdn, self._before.endpoint, self._before.clients
        if endpoint is None or clients is None or self.plan.starts:
            return True

        def observe() -> EndpointObservation:
            return self._probe.observe(self._state.addresses, {fqdn: endpoint})[fqdn]

        last = tls_client.until(lambda observation: observation.leaves == clients.leaves, observe)
        return last.leaves == clients.leaves


def wait_until_served(probe: EndpointProbe, state: HostState, fqdn: str, endpoint: Endpoint, disk: Leaf) -> Served:
    """Ask until every address that clients reach serves the leaf on disk, or the time is up.

    Returns:
        The answer that counts: one with another leaf or none, if there is such.
    """

    def observe() -> Served:
        answer = probe.observe(state.addresses, {fqdn: endpoint})[fqdn].served(disk.der)
        assert answer is not None  # an endpoint has at least one address  # noqa: S101
        return answer

    return tls_client.until(lambda answer: answer.der == disk.der, observe)
