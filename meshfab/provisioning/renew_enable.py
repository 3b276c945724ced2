"""The step renew-enable: install the renewal units and start the timers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.errors import NotReadyError
from meshfab.host import renewal_units
from meshfab.ssh.script import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.host.facts import HostState
    from meshfab.provisioning.plan import Plan


def requests(state: HostState, plans: Sequence[Plan], *, background: bool) -> list[Request]:
    """The requests that install missing or changed units and enable and start timers; empty if nothing is missing.

    Args:
        state: the host.
        plans: the plans of its services.
        background: run it while nginx loads, because neither depends on the other; a second request waits for it.
    """
    installs = [plan for plan in plans if plan.reason("units") is not None]
    enables = [plan for plan in plans if plan.reason("timer") is not None]
    if not installs and not enables:
        return []
    # systemd reads its units again only if it has older ones in memory.
    is_stale = any(renewal_units.unread(state, plan.service) for plan in installs)
    timers = [plan.service.timer for plan in enables]
    is_running = any(state.unit(timer).active == "active" for timer in timers)
    files = dict.fromkeys(file for plan in installs for file in plan.files)
    args = ("reload" if is_stale else "", " ".join(timers), "reload" if is_running else "")
    file_args = [arg for file in files for arg in (file.path, file.mode, file.text)]
    install = Request("install_units", (*args, *file_args), background=background)
    return [install, Request("wait_background", persistent=True)] if background else [install]


def explain(answer: Answer, host: str) -> NotReadyError:
    """The error for a failed install_units.sh or wait_background.sh."""
    what = f"the renewal could not be set up: {answer.err}"
    return NotReadyError(what, host=host, remedy="repair what the message names, then run this again")
