"""`inv apply` without the command line: the runs, their progress, and the outcome of each host."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from meshfab.cli.step_lines import StepPrinter
from meshfab.errors import SecretLeftError
from meshfab.fleet import apply, check_certs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.status import Status

    from meshfab.config.settings import Settings
    from meshfab.fleet.apply import HostOutcome


def run(
    config: Any,
    settings: Settings,
    hosts: Sequence[str],
    *,
    dry_run: bool = False,
    force: bool = False,
    start: bool = False,
) -> bool:
    """Apply what is declared, print the outcomes, and return whether all hosts are as declared.

    Args:
        config: the task's configuration.
        settings: the mesh's conventions and services.
        hosts: the hosts; empty for all.
        dry_run: read only.
        force: overwrite what was edited by hand.
        start: start nginx where it is stopped.

    Raises:
        InputError: an argument cannot be used; nothing was connected.
    """
    began = time.monotonic()
    names = check_certs.requested_hosts(hosts, settings)
    with _status(len(names)) as status:
        # Made here: while the live line is shown, output is printed above it.
        lines = StepPrinter()

        def show(host_outcome: HostOutcome, to_come: int) -> None:
            lines.host(host_outcome, dry_run=dry_run)
            if status:
                status.update(_words(len(names) - to_come, len(names)))

        outcomes = apply.apply(
            names, settings=settings, config=config, dry_run=dry_run, force=force, start=start, on_result=show
        )
    StepPrinter().mesh(outcomes, time.monotonic() - began, dry_run=dry_run)
    for host_outcome in outcomes:
        if isinstance(host_outcome.error, SecretLeftError):
            # Repeated as the last line: there may be screens of other hosts above.
            print(host_outcome.error, file=sys.stderr)
    return all(host_outcome.is_well for host_outcome in outcomes)


def _status(total: int) -> Status | nullcontext[None]:
    if not sys.stdout.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.status import Status

    return Status(_words(0, total), console=Console(highlight=False, emoji=False))


def _words(done: int, total: int) -> str:
    return f"{done} of {total} hosts"
