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
    """Install the units that are not as wanted, each once, and enable and start timers; empty where nothing is to do.

    Args:
        state: the host.
        plans: what is to be done for its services.
        background: let it run while nginx loads, which knows nothing of systemd's units; a second request waits for it.
    """
    installs = [plan for plan in plans if plan.reason("units") is not None]
    enables = [plan for plan in plans if plan.reason("timer") is not None]
    if not installs and not enables:
        return []
    # The manager reads its units anew only when it holds older ones.
    is_stale = any(renewal_units.unread(state, plan.service) for plan in installs)
    timers = [plan.service.timer for plan in enables]
    is_running = any(state.unit(timer).active == "active" for timer in timers)
    files = dict.fromkeys(file for plan in installs for file in plan.files)
    args = ("reload" if is_stale else "", " ".join(timers), "reload" if is_running else "")
    texts = [word for file in files for word in (file.path, file.mode, file.text)]
    install = Request("install_units", (*args, *texts), background=background)
    return [install, Request("wait_background", persistent=True)] if background else [install]


def explain(answer: Answer, host: str) -> NotReadyError:
    """The error that a failed request of this step stands for."""
    what = f"the renewal could not be set up: {answer.err}"
    return NotReadyError(what, host=host, remedy="repair what the message names, then run this again")
