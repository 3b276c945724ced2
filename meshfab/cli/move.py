"""`inv move`, without the command line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from meshfab.cli.step_lines import StepPrinter
from meshfab.config import inventory
from meshfab.fleet import move

if TYPE_CHECKING:
    from meshfab.config.settings import Settings


def run(config: Any, settings: Settings, name: str, source: str, target: str, **options: Any) -> None:
    """Move a service, and print each step and what became of it. Options and errors as for `move`."""
    began, printer = time.monotonic(), StepPrinter()

    def say(host: str, verb: str, text: str) -> None:
        printer.step(verb, f"{host}: {text}" if host else text)

    moved = move.move(name, source, target, settings=settings, config=config, on_step=say, **options)
    if options["dry_run"]:
        printer.dry_run(moved.provisioned)
    else:
        printer.outcome(moved.provisioned, time.monotonic() - began)
    if moved.retired:
        printer.retirement(moved.retired, time.monotonic() - began, dry_run=False)
    elif moved.remaining:
        where = " or ".join(moved.addresses[:3])
        what = f"point {moved.service.fqdn} at {where} in the mesh's DNS ({'; '.join(moved.remaining)})"
        printer.note("note", f"{what}; then the same command retires it on {source}")
    declared = {service.name for service in inventory.services(source, settings)}
    if name in declared:
        printer.note("note", f"meshfab.services.{name} still names {source}: change it to {target}")
