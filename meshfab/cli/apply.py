"""`inv apply` without the command line: the runs, their progress, and the outcome of each host."""

from __future__ import annotations

import sys
import time
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

from meshfab.cli.step_lines import StepPrinter
from meshfab.config.password import hide_sudo_password
from meshfab.dns import opening
from meshfab.errors import InputError, SecretLeftError
from meshfab.fleet import apply, check_certs, publish
from meshfab.fleet import prune as pruning
from meshfab.provisioning.request import Consent, MintingMeans, minting_means

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.status import Status

    from meshfab.config.settings import Settings
    from meshfab.fleet.host_outcome import HostOutcome, OnResult


def run(
    config: Any,
    settings: Settings,
    hosts: Sequence[str],
    *,
    dry_run: bool = False,
    force: bool = False,
    start: bool = False,
    prune: bool = False,
    yes: bool = False,
) -> int:
    """Apply what is declared, print the outcomes, and return the exit status.

    It is 1 if a host is not as declared; in a dry run 2 if something would change.

    Args:
        config: the task's configuration.
        settings: the mesh's conventions and services.
        hosts: the hosts; empty for all.
        dry_run: read only.
        force: overwrite what was edited by hand.
        start: start nginx where it is stopped.
        prune: retire what meshfab set up and is not declared any more, after the plan was shown and confirmed.
        yes: it is confirmed already.

    Raises:
        InputError: an argument cannot be used; nothing was connected.
    """
    names = check_certs.requested_hosts(hosts, settings)
    if prune:
        pruning.require_declared(names, settings)
    opening.require_usable(settings)

    hide_sudo_password(config)
    # One for both halves: a person is asked for the password once.
    with closing(MintingMeans() if dry_run else minting_means(settings)) as means:

        def work(on_result: OnResult) -> tuple[HostOutcome, ...]:
            consent = Consent(force, start)
            return apply.provision_all(
                names, settings, means, config, consent=consent, dry_run=dry_run, on_result=on_result
            )

        outcomes = run_with_lines(len(names), work, dry_run=dry_run)
        if settings.dns:
            outcomes = publish.publish_outcomes(outcomes, settings, config, dry_run=dry_run)
            StepPrinter().publications([each for outcome in outcomes for each in outcome.published], dry_run=dry_run)
        if prune:
            outcomes = _prune(config, settings, outcomes, means, dry_run=dry_run, force=force, yes=yes)
    if not all(host_outcome.is_well for host_outcome in outcomes):
        return 1
    return 2 if dry_run and any(host_outcome.is_changed for host_outcome in outcomes) else 0


def run_with_lines(
    count: int, work: Callable[[OnResult], tuple[HostOutcome, ...]], *, dry_run: bool
) -> tuple[HostOutcome, ...]:
    """Do the work on some hosts, and print each outcome when it arrives, then the sum."""
    began = time.monotonic()
    with _status(count) as status:
        # Made here: while the live line is shown, output is printed above it.
        lines = StepPrinter()

        def show(host_outcome: HostOutcome, to_come: int) -> None:
            lines.host(host_outcome, dry_run=dry_run)
            if status:
                status.update(_words(count - to_come, count))

        outcomes = work(show)
    StepPrinter().mesh(outcomes, time.monotonic() - began, dry_run=dry_run)
    for host_outcome in outcomes:
        if isinstance(host_outcome.error, SecretLeftError):
            # Repeated as the last line: there may be screens of other hosts above.
            print(host_outcome.error, file=sys.stderr)
    return outcomes


def _prune(
    config: Any,
    settings: Settings,
    outcomes: Sequence[HostOutcome],
    means: MintingMeans,
    *,
    dry_run: bool,
    force: bool,
    yes: bool,
) -> tuple[HostOutcome, ...]:
    """Show what would be retired and, when that is confirmed, retire it.

    Raises:
        InputError: there is nobody who could confirm it; nothing was retired.
    """
    lines = StepPrinter()
    planned = pruning.prune(outcomes, settings, means, config, dry_run=True, force=force)
    lines.retirements(planned, dry_run=True)
    names = [f"{one.service.fqdn} on {one.host}" for each in planned for one in each.retired if one.changed]
    if dry_run or not names:
        return planned
    if not yes:
        _require_confirmed(names)
    retired = pruning.prune(outcomes, settings, means, config, force=force)
    lines.retirements(retired, dry_run=False)
    return retired


def _require_confirmed(names: Sequence[str]) -> None:
    if not sys.stdin.isatty():
        what = f"not retired, since there is no terminal to confirm it: {', '.join(names)}"
        raise InputError(what, remedy="look at the plan above, then add --yes")
    if input(f"Retire {', '.join(names)}? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError(f"not retired: {', '.join(names)}", remedy="declare them, or answer y")


def _status(total: int) -> Status | nullcontext[None]:
    if not sys.stdout.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.status import Status

    return Status(_words(0, total), console=Console(highlight=False, emoji=False))


def _words(done: int, total: int) -> str:
    return f"{done} of {total} hosts"
