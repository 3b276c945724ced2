"""`inv doctor` without the command line: a line for each check of each host, with its remedy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from meshfab.cli import table
from meshfab.config.settings import Settings
from meshfab.fleet import doctor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from meshfab.fleet.doctor import Readiness


def run(config: Any, hosts: Sequence[str], *, quick: bool = False) -> int:
    """Examine the hosts, print a line for each precondition, and return the exit status.

    Args:
        config: Invoke's configuration.
        hosts: the hosts; empty for those of the settings and of the declared services.
        quick: only what `check-certs --quick` needs.

    Raises:
        InputError: an argument cannot be used; nothing was connected.
    """
    console = table.console(sys.stdout)
    results = doctor.doctor(
        hosts,
        settings=Settings.load(config),
        config=config,
        on_result=lambda result: _show(console, result),
        quick=quick,
    )
    return doctor.exit_status(results)


def _show(console: Console, result: Readiness) -> None:
    from rich.text import Text

    console.print(Text(result.host or "here", "bold"), soft_wrap=True)
    for check in result.checks:
        head = (f"  {check.status:<8}", table.STYLES[check.status])
        console.print(Text.assemble(head, f" {check.code:<20} {check.message}"), soft_wrap=True)
        if check.remedy:
            console.print(Text.assemble(f"{'':31} -> ", (check.remedy, "bold")), soft_wrap=True)
