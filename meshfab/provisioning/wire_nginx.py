"""The step wire-nginx: install the vhosts or snippets, and have nginx load them together with new pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.nginx import activation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.host.facts import HostState
    from meshfab.provisioning.plan import Plan
    from meshfab.ssh.script import Request


def requests(state: HostState, plans: Sequence[Plan]) -> list[Request]:
    """One transaction for the files of all services, and one load of nginx; empty if nothing is missing."""
    result: list[Request] = []
    written = [plan for plan in plans if plan.nginx_change.files]
    if written:
        result.append(activation.install(state, [plan.activation for plan in written]))
    stale = [plan for plan in plans if plan.reason("reload") is not None]
    if stale and not any(plan.nginx_change.is_loaded for plan in written):
        result.append(activation.reload(state, [plan.activation for plan in stale]))
    return result
