"""Take a service's vhosts out of nginx's configuration, and explain what can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.errors import LockedError, MeshfabError, NginxError
from meshfab.nginx import activation, config_dump, layout
from meshfab.ssh.script import ExitStatus, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.host.facts import HostState
    from meshfab.nginx.layout import VhostPath
    from meshfab.ssh.script import Answer

_BACK = "; what was there before is back in place"


def remove(state: HostState, vhosts: Sequence[VhostPath]) -> Request:
    """Remove the vhosts, test the configuration and load it; the script restores them when nginx refuses.

    Without a vhost the configuration is only tested and loaded.
    """
    action = "reload" if layout.is_running(state) else ""
    args = [word for each in vhosts for word in (each.path, each.link)]
    return Request("remove_vhost", (action, *activation.nginx_args(state), *args))


def explain(answer: Answer, state: HostState) -> MeshfabError:
    """The error for a failed remove_vhost.sh."""
    if answer.status == ExitStatus.BUSY:
        return LockedError(answer.err, host=state.host, remedy="try again when that has ended")
    error = config_dump.error_line(answer.err)
    if answer.status == ExitStatus.CONFIG_REFUSED and "before" in answer.text:
        what = f"nginx's configuration was broken before this run: {error}"
        return NginxError(what, host=state.host, remedy="repair it (nginx -t), then run this again")
    if answer.status == ExitStatus.CONFIG_REFUSED:
        return NginxError(
            f"nginx refuses its configuration without the vhost: {error}",
            host=state.host,
            remedy=f"take out what it names, then run this again{_BACK}",
        )
    return NginxError(
        f"nginx did not take the vhost out: {error}",
        host=state.host,
        remedy=f"see `journalctl -u nginx` there, then run this again{_BACK}",
    )
