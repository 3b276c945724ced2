"""`inv retire` and `inv revoke`, without the command line."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from meshfab.cli import step_command
from meshfab.dns import opening
from meshfab.provisioning.request import MintingMeans, revoking_means
from meshfab.ssh.connection import is_connection

if TYPE_CHECKING:
    from fabric import Connection
    from invoke.context import Context

    from meshfab.cli.step_lines import StepPrinter
    from meshfab.config.settings import Settings
    from meshfab.provisioning.outcome import Retirement
    from meshfab.provisioning.remains import RetirementRequest
    from meshfab.provisioning.revocation import Revocation


def retire(c: Context, host: str, request: RetirementRequest, *, dry_run: bool = False) -> None:
    """End a service on a host and print what became of it."""
    began = time.monotonic()
    opening.require_usable(request.settings)
    with closing(revoking_means(request.settings) if request.revokes and not dry_run else MintingMeans()) as means:

        def work(connection: Connection, printer: StepPrinter) -> Retirement:
            from meshfab.provisioning import retirement

            return retirement.retire_service(connection, request, means.signer, dry_run=dry_run, on_step=printer.step)

        retired, printer = step_command.on_host(c, host, request.settings, work)
    printer.retirement(retired, time.monotonic() - began, dry_run=dry_run)


def revoke(c: Context, host: str, serial: str, settings: Settings) -> None:
    """Revoke one serial and print what became of it."""
    from meshfab.provisioning import revocation

    def work(connection: Connection, _printer: StepPrinter) -> Revocation:
        return revocation.revoke(connection, serial, settings=settings)

    if host or is_connection(c):
        revoked, _ = step_command.on_host(c, host, settings, work)
    else:
        revoked = revocation.revoke(None, serial, settings=settings)
    what = "was revoked before" if revoked.was_revoked else "is revoked: the CA renews it no more"
    by = "by a token of the provisioner" if revoked.way == "token" else f"by its own pair, that of {revoked.fqdn}"
    print(f"serial {revoked.serial} {what} ({by})")
