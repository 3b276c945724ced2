"""Roll back what failed half done: restore the old pairs and files, load them, and check that clients get them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.errors import MeshfabError, ServedError
from meshfab.nginx import activation, listeners
from meshfab.nginx.layout import VhostPath
from meshfab.provisioning import mint, renew_enable
from meshfab.ssh.script import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.host.facts import HostState
    from meshfab.host.tls_client import Served
    from meshfab.provisioning.plan import Plan
    from meshfab.provisioning.verify import ServingCheck
    from meshfab.ssh.root_shell import RootShell
    from meshfab.ssh.script import Answer

# Statuses of install_config.sh with which it ends before nginx loads anything; 1: the files could not be written.
_NOT_LOADED = (1, ExitStatus.CONFIG_REFUSED, ExitStatus.SERVER_IGNORED, ExitStatus.NOT_INCLUDED, ExitStatus.BUSY)


def roll_back(
    shell: RootShell,
    state: HostState,
    plans: Sequence[Plan],
    failed: Answer,
    checks: Sequence[ServingCheck],
    moved: Sequence[Plan],
) -> MeshfabError:
    """Undo what a batch did before its failing script, and return the error.

    Args:
        shell: the host's root shell.
        state: the host as it was.
        plans: the plans of the batch.
        failed: the answer of the failing script.
        checks: what clients got before.
        moved: the plans whose new pair was already in place.
    """
    if failed.script == "wait_background":
        # nginx was loaded in the meantime.
        result = _restore(shell, state, plans, checks, is_installed=True)
        return _with_result(renew_enable.explain(failed, shell.host), result)
    if failed.script in ("install_config", "reload"):
        error = activation.explain(failed, state)
        if failed.script == "install_config" and not moved:
            # The script itself has restored everything. With another status nginx may have loaded the new files before.
            is_back = failed.status in _NOT_LOADED or all(check.is_restored() for check in checks)
            result = "" if is_back else "clients get something else than before"
        else:
            result = _restore(shell, state, plans, checks, is_installed=failed.script != "install_config")
        if "failed" in result or "clients" in result or ("stopped" in result and "stopped" not in error.remedy):
            return _with_result(error, result)
        return error
    if moved:
        # nginx has not read the new pairs: after their old ones are restored, nothing has changed.
        shell.batch([mint.restore(plan.service) for plan in moved])
    if failed.script == "install_units":
        return renew_enable.explain(failed, shell.host)
    return mint.not_moved(failed, state)


def not_served(shell: RootShell, state: HostState, check: ServingCheck, answer: Served) -> ServedError:
    """Undo a change that clients do not see, and return the error with what they get instead."""
    plan = check.plan
    what = "another certificate" if answer.der else f"no certificate ({answer.why})"
    overriding = listeners.overriding_listener(state, answer.address, answer.port, plan.vhost_path or VhostPath(""))
    remedy = "see nginx's error log there"
    # The host says its addresses. Only one to which the name leads for this machine too is put into a command.
    listen = f"--listen {answer.address}" if answer.address in check.resolved else "--listen for that address"
    listen_addresses = plan.endpoint.addresses if plan.endpoint else ()
    if overriding and not listen_addresses:
        what += f" from {overriding}, which listens on just that address"
        remedy = f"give {listen} to do so too"
    elif listen_addresses and answer.address not in listen_addresses:
        what += f", since its vhost listens on {', '.join(listen_addresses)} only"
        remedy = f"point {plan.service.fqdn} at an address that its vhost listens on, or give {listen}"
    action = "started" if plan.starts else "reloaded"
    return ServedError(
        f"nginx was {action}, and clients at {answer.location} get for {plan.service.fqdn} {what};"
        f" {_restore(shell, state, [plan], [check], is_installed=True)}",
        host=shell.host,
        remedy=remedy,
    )


def _with_result(error: MeshfabError, result: str) -> MeshfabError:
    """The same error, and what came of going back. It may quote the host, so it is no part of the remedy."""
    return type(error)(f"{error.what}; {result}", host=error.host, remedy=error.remedy)


def _restore(
    shell: RootShell, state: HostState, plans: Sequence[Plan], checks: Sequence[ServingCheck], *, is_installed: bool
) -> str:
    """Restore the pairs and, unless install_config.sh did it, the files; load them, and return the result in words."""
    requests = [mint.restore(plan.service) for plan in plans if plan.reason("mint") is not None]
    if not requests and not any(plan.nginx_change.files or plan.starts for plan in plans):
        return "nothing else was changed"
    activations = [plan.activation for plan in plans]
    last = shell.batch([*requests, activation.remove(state, activations, is_installed=is_installed)])[-1]
    starts = any(plan.starts for plan in plans)
    if starts and last.status == ExitStatus.LOAD_FAILED:
        return "what was there before is back, and nginx is stopped: it does not start with it"
    if not last.ok:
        return f"going back failed too: {last.err}"
    if not all(check.is_restored() for check in checks):
        return "what was there before is back, and clients get something else than before"
    if starts:
        return "what was there before is back, and nginx runs with it"
    return "what was there before is back" + (" and served" if any(check.was_served for check in checks) else "")
