"""`inv reissue` without the command line: the runs, their progress, and how to go on after an interruption."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from meshfab.cli import apply as apply_command
from meshfab.errors import InputError
from meshfab.fleet import reissue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.config.settings import Settings
    from meshfab.fleet.host_outcome import HostOutcome, OnResult


def run(
    config: Any,
    settings: Settings,
    hosts: Sequence[str],
    names: Sequence[str],
    *,
    provisioner: str = "",
    before: str = "",
    dry_run: bool = False,
) -> int:
    """Replace pairs, print the outcomes, and return the exit status.

    It is 1 if a service failed; in a dry run 2 if a pair would be replaced.

    Raises:
        InputError: an argument cannot be used; nothing was connected.
    """
    began = datetime.now(timezone.utc)
    moment = _parsed(before) if before else None
    count = len(reissue.choose(hosts or None, names or None, settings))

    def replace(on_result: OnResult) -> tuple[HostOutcome, ...]:
        return reissue.reissue(
            hosts or None,
            names=names or None,
            provisioner=provisioner or None,
            before=moment,
            settings=settings,
            config=config,
            dry_run=dry_run,
            on_result=on_result,
        )

    outcomes = apply_command.run_with_lines(count, replace, dry_run=dry_run)
    if not all(host_outcome.is_well for host_outcome in outcomes):
        if not provisioner and not dry_run:
            # The same command would replace everything again.
            print(f"to do only what is left: add --before {moment or began:%Y-%m-%dT%H:%M:%SZ}", file=sys.stderr)
        return 1
    return 2 if dry_run and any(host_outcome.is_changed for host_outcome in outcomes) else 0


def _parsed(text: str) -> datetime:
    # datetime.fromisoformat knows the Z from Python 3.11 on.
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise InputError(f"--before {text!r} is not a moment", remedy="write it as 2026-11-26T09:30:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
