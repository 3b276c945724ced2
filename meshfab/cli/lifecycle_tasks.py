"""The tasks of a service's later life: a new key, its end, and the revocation of a certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.exceptions import Exit
from invoke.tasks import task

from meshfab.cli import step_command
from meshfab.cli.error_lines import one_line_errors
from meshfab.cli.interpreter import garbage_collector_paused
from meshfab.cli.step_command import warn_of_exposure
from meshfab.cli.task_options import HOSTS, MINTING, helped, settings_of
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
        from meshfab.provisioning.request import revoking_root

        settings = settings_of(c, signing, ask_password)
        request = RetirementRequest(
            Service.of(name, settings), settings, revoke, revoking_root(settings), force=force, last=last
        )
        retirement.retire(c, host, request, dry_run=dry_run or c.config.run.dry)


@task(
    help={
        "host": HOSTS,
        "name": "a service; repeat for more (default: all that are declared for the hosts)",
        "all": "all declared services of all hosts",
        "provisioner": "mint with this one, and replace only what comes from another",
        "before": "replace only keys that were made before this moment, as 2026-11-26T09:30:00Z",
        **helped(*MINTING, "dry-run"),
    },
    iterable=["host", "name"],
)
def reissue(
    c: Context,
    host: list[str],
    name: list[str],
    all: bool = False,  # noqa: A002
    provisioner: str = "",
    before: str = "",
    signing: str = "",
    ask_password: bool = False,
    dry_run: bool = False,
) -> None:
    """Replace keys and certificates that are valid, on all hosts at once; --dry-run exits 2 if any would change."""
    dry_run = dry_run or c.config.run.dry
    with one_line_errors(), garbage_collector_paused():
        settings = settings_of(c, signing, ask_password)
        from meshfab.cli import reissue as command
        from meshfab.cli import target

        hosts = target.hosts(c, host)
        if all is bool(hosts or name):
            raise InputError("reissue replaces what is named", remedy="give --name, --host, or --all alone")
        if not dry_run:
            warn_of_exposure(settings)
        status = command.run(c.config, settings, hosts, name, provisioner=provisioner, before=before, dry_run=dry_run)
    if status:
        raise Exit(code=status)


@task(
    help={
        "from": "the old host",
        "to": "the new host",
        "wait": "--no-wait: end before the old host is retired, if the name does not lead to the new one yet",
        **helped("name", "san", "vhost", "revoke", "force", "start", *MINTING, "dry-run"),
    },
    iterable=["san"],
)
def move(
    c: Context,
    name: str,
    from_: str,
    to: str,
    san: list[str],
    vhost: bool = True,
    wait: bool = True,
    revoke: bool = True,
    force: bool = False,
    start: bool = False,
    signing: str = "",
    ask_password: bool = False,
    dry_run: bool = False,
) -> None:
    """Move a service to another host: served on both, then the name, then the old host is retired."""
    dry_run = dry_run or c.config.run.dry
    with one_line_errors(), garbage_collector_paused():
        settings = settings_of(c, signing, ask_password)
        from meshfab.cli import move as command

        if not dry_run:
            warn_of_exposure(settings)
        options = {"sans": san or None, "vhost": vhost, "wait": wait, "revoke": revoke, "force": force, "start": start}
        command.run(c.config, settings, name, from_, to, dry_run=dry_run, **options)


@task(help={**helped("serial", *MINTING), "host": "the host that has the pair with that serial"})
def revoke(c: Context, serial: str, host: str = "", signing: str = "", ask_password: bool = False) -> None:
    """Revoke one certificate: the CA renews it no more. One that is revoked already counts as done."""
    with one_line_errors(), garbage_collector_paused():
        settings = settings_of(c, signing, ask_password)
        if c.config.run.dry:
            raise InputError("a revocation has no dry run", remedy="leave --dry out")
        from meshfab.cli import retirement

        retirement.revoke(c, host, serial, settings)
