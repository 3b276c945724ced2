"""The tasks of a service's later life: a new key, its end, and the revocation of a certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from meshfab.cli import step_command
from meshfab.cli.error_lines import one_line_errors
from meshfab.cli.step_command import garbage_collector_paused
from meshfab.cli.task_options import MINTING, helped, settings_of
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import InputError

if TYPE_CHECKING:
    from invoke.context import Context


@task(help=helped("name", "host", "dry-run"))
def rekey(c: Context, name: str, host: str = "", dry_run: bool = False) -> None:
    """Replace the key of a service without a password, and have the CA revoke the old key's certificates."""
    with one_line_errors(), garbage_collector_paused():
        settings = Settings.load(c.config)
        service = Service.of(name, settings)
        step_command.rekey(c, host, service, settings, dry_run=dry_run or c.config.run.dry)


@task(help={**helped("name", "host", "revoke", "last", *MINTING, "dry-run"), "force": "also what you edited by hand"})
def retire(
    c: Context,
    name: str,
    host: str = "",
    revoke: bool = True,
    force: bool = False,
    last: bool = False,
    signing: str = "",
    ask_password: bool = False,
    dry_run: bool = False,
) -> None:
    """End a service: it is not served any more, its certificates are revoked, and no file of it is left."""
    with one_line_errors(), garbage_collector_paused():
        from meshfab.cli import retirement
        from meshfab.provisioning.remains import RetirementRequest

        settings = settings_of(c, signing, ask_password)
        can_sign = settings.signing != "host"
        request = RetirementRequest(Service.of(name, settings), settings, revoke, can_sign, force, last)
        retirement.retire(c, host, request, dry_run=dry_run or c.config.run.dry)


@task(help={**helped("serial", *MINTING), "host": "the host that has the pair with that serial"})
def revoke(c: Context, serial: str, host: str = "", signing: str = "", ask_password: bool = False) -> None:
    """Revoke one certificate: the CA renews it no more. One that is revoked already counts as done."""
    with one_line_errors(), garbage_collector_paused():
        settings = settings_of(c, signing, ask_password)
        if c.config.run.dry:
            raise InputError("a revocation has no dry run", remedy="leave --dry out")
        from meshfab.cli import retirement

        retirement.revoke(c, host, serial, settings)
