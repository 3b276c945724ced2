"""The way back from what failed half done: the old pairs and files, loaded again, and whether clients see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.errors import MeshfabError, ServedError
from meshfab.host import renewal_units, tls_client
from meshfab.nginx import activation, config_dump, layout, listeners
from meshfab.provisioning import mint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.checks.eye import Eye
    from meshfab.host.certificate import Leaf
    from meshfab.host.facts import HostState
    from meshfab.host.tls_client import Served
    from meshfab.provisioning.plan import Plan
    from meshfab.ssh.root_shell import RootShell
    from meshfab.ssh.script import Answer


class ServingCheck:
    """What clients get, before and after: the only proof that a load was taken up, and that a way back was."""

    def __init__(self, shell: RootShell, state: HostState, plan: Plan, eye: Eye) -> None:
        self.shell, self.state, self.remedy, self.eye = shell, state, plan, eye
        # The plan's own look; none where nothing was meant to serve the name, and so nothing can be lost.
        self.before = eye.last

    def require(self, disk: Leaf) -> None:
        """Wait until clients get the leaf that is on disk; if they never do, go back to what was there.

        Raises:
            ServedError: what they get instead, and how the way back went.
        """
        shown = tls_client.until(disk.der, self._look)
        if shown.der == disk.der:
            return
        what = "another certificate" if shown.der else f"no certificate ({shown.why})"
        place = self.remedy.nginx_change.place or layout.VhostPath("")
        hidden = listeners.overriding_listener(self.state, shown.address, shown.port, place)
        plan = f"see its error log, {config_dump.error_log(self.state)}"
        if hidden and not self.remedy.addresses:
            what += f" from {hidden}, which listens on just that address"
            plan = f"give --listen {shown.address} to do so too"
        did = "started" if self.remedy.starts else "reloaded"
        raise ServedError(
            f"nginx was {did}, and clients at {shown.address}:{shown.port} get for {self.remedy.service.fqdn} {what};"
            f" {_restore(self.shell, self.state, [self.remedy], [self], is_wired=True)}",
            host=self.shell.host,
            remedy=plan,
        )

    def is_back(self) -> bool:
        """Whether clients get again what they got before."""
        return self.before is None or tls_client.until(self.before.der, self._look).der == self.before.der

    def _look(self) -> Served:
        return self.eye.look(self.state, self.remedy.port or 443, self.remedy.addresses)


def roll_back(
    shell: RootShell,
    state: HostState,
    plans: Sequence[Plan],
    failed: Answer,
    proofs: Sequence[ServingCheck],
    moved: Sequence[Plan],
) -> MeshfabError:
    """Take back what a batch did before its failing script, and say what failed.

    Args:
        plans: what the batch was to do.
        moved: those whose new pair had been moved in by then.
    """
    if failed.script == "wait_background":
        # nginx has been loaded meanwhile.
        late = renewal_units.not_set_up(failed, shell.host)
        late.remedy = f"{late.remedy}; {_restore(shell, state, plans, proofs, is_wired=True)}"
        return late
    if failed.script in ("install_config", "reload"):
        error = activation.explain(failed, state)
        if failed.script == "install_config" and not moved:
            # The script itself had put everything back.
            is_back = failed.status < 6 or all(proof.is_back() for proof in proofs)
            how = "" if is_back else "clients get something else than before"
        else:
            how = _restore(shell, state, plans, proofs, is_wired=failed.script != "install_config")
        if "failed" in how or "clients" in how:
            error.remedy = f"{error.remedy}; {how}"
        return error
    if moved:
        # nginx has not read the new pairs: with the old ones back, nothing has changed.
        shell.batch([mint.restore(plan.service) for plan in moved])
    if failed.script == "install_units":
        return renewal_units.not_set_up(failed, shell.host)
    return mint.not_moved(failed, state)


def _restore(
    shell: RootShell, state: HostState, plans: Sequence[Plan], proofs: Sequence[ServingCheck], *, is_wired: bool
) -> str:
    """Put back the pairs and, unless install_config.sh did so itself, the files of before; load them, and say how that went."""
    requests = [mint.restore(plan.service) for plan in plans if plan.reason("mint") is not None]
    if not requests and not any(plan.nginx_change.files or plan.starts for plan in plans):
        return "nothing else was changed"
    last = shell.batch([*requests, activation.unwire(state, [plan.activation for plan in plans], is_wired=is_wired)])[
        -1
    ]
    if not last.ok:
        return f"going back failed too: {last.err}"
    if not all(proof.is_back() for proof in proofs):
        return "what was there before is back, and clients get something else than before"
    was_served = any(proof.before and proof.before.der for proof in proofs)
    return "what was there before is back" + (" and served" if was_served else "")
