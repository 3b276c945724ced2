"""The tasks of names in the mesh's DNS."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from invoke.exceptions import Exit
from invoke.tasks import task

from meshfab.cli.error_lines import one_line_errors
from meshfab.cli.interpreter import garbage_collector_paused
from meshfab.cli.task_options import HOSTS, helped
from meshfab.config.settings import Settings
from meshfab.errors import InputError

if TYPE_CHECKING:
    from invoke.context import Context


@task(
    help={
        "name": "a service; repeat for more (default: all that are declared for the hosts)",
        "host": HOSTS,
        "remove": "take the records of --name away, wherever they lead; no host is asked",
        **helped("dry-run"),
    },
    iterable=["name", "host"],
)
def publish_dns(c: Context, name: list[str], host: list[str], remove: bool = False, dry_run: bool = False) -> None:
    """Lead the names of services to their hosts in the mesh's DNS, and ask until everybody gets them."""
    dry_run = dry_run or c.config.run.dry
    with one_line_errors(), garbage_collector_paused():
        settings = Settings.load(c.config)
        from meshfab.cli import target
        from meshfab.cli.step_lines import StepPrinter
        from meshfab.fleet import publish

        published = publish.publish_dns(
            target.hosts(c, host) or None,
            names=name or None,
            settings=settings,
            config=c.config,
            remove=remove,
            dry_run=dry_run,
        )
        StepPrinter().publications(published, dry_run=dry_run)
    if any(each.error for each in published):
        raise Exit(code=1)
    if dry_run and any(each.reason for each in published):
        raise Exit(code=2)


@task(help={"format": "hosts, zone, unbound or octodns", "ttl": "time to live of the records, in seconds"})
def dns_records(c: Context, format: str = "hosts", ttl: int = 300) -> None:  # noqa: A002
    """Print the records of the declared services, for a DNS that is fed from a repository; without a connection."""
    with one_line_errors():
        from meshfab.dns.record_formats import FORMATS
        from meshfab.fleet import dns_records as records

        if format not in FORMATS:
            raise InputError(f"--format {format!r} is unknown", remedy=f"use one of {', '.join(FORMATS)}")
        settings = Settings.load(c.config)
        sys.stdout.write(FORMATS[format](records.declared(settings, c.config), ttl, settings.domain))
