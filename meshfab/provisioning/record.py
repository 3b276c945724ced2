"""The step record: the history on the host gets each certificate that is put in place, and one that nobody recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.host import certificate, history
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshfab.host.certificate import Leaf
    from meshfab.host.facts import HostState
    from meshfab.provisioning.plan import Plan


def requests(state: HostState, plans: Sequence[Plan], minted: Mapping[str, Leaf]) -> list[Request]:
    """The request that records the certificates which the plans put in place; empty if they put none there.

    Args:
        state: the host as it was.
        plans: the plans of its services.
        minted: the leaves of new pairs, by service.
    """
    words: list[str] = []
    for plan in plans:
        service_state = state.services[plan.service.name]
        leaf = minted.get(plan.service.name)
        if plan.reason("finish") is not None:
            leaf = certificate.leaf_of(service_state.staged)
        elif plan.reason("record") is not None:
            leaf = certificate.leaf_of(service_state.cert)
        words += [plan.service.name, history.line(leaf), plan.service.cert] if leaf else []
    return [Request("record", tuple(words))] if words else []
