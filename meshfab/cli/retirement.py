"""`inv revoke`, without the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.cli import step_command
from meshfab.ssh.connection import is_connection

if TYPE_CHECKING:
    from fabric import Connection
    from invoke.context import Context

    from meshfab.cli.step_lines import StepPrinter
    from meshfab.config.settings import Settings
    from meshfab.provisioning.revocation import Revocation


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
