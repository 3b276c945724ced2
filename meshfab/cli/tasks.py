"""The command line: thin tasks over the public functions, and `ns` for other people's fabfiles.

Settings are read from the key `meshfab` of Invoke's configuration; `meshfab.Settings` has all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import task

from meshfab.cli import step_command
from meshfab.cli.ca_tasks import ca_template, provisioner_key
from meshfab.cli.dns_tasks import dns_records, publish_dns
from meshfab.cli.error_lines import one_line_errors
from meshfab.cli.interpreter import garbage_collector_paused
from meshfab.cli.lifecycle_tasks import move, reissue, rekey, retire, revoke
from meshfab.cli.step_command import run_request, warn_of_exposure
from meshfab.cli.task_options import HOSTS, MINTING, WIRING, helped, settings_of
from meshfab.config import debug_log
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import InputError
from meshfab.provisioning.request import EVERYTHING, Consent

if TYPE_CHECKING:
    from invoke.context import Context

    from meshfab.provisioning.request import Part


@task(help=helped("name", "host", "san", *WIRING, *MINTING, "rehearse", "dry-run"), iterable=["san", "listen"])
def provision(
    c: Context,
    name: str,
    san: list[str],
    listen: list[str],
    host: str = "",
    upstream: str | None = None,
    mtls: bool = False,
    verify_upstream: bool = True,
    keep_host: bool = False,
    vhost: bool = True,
    force: bool = False,
    start: bool = False,
    signing: str = "",
    ask_password: bool = False,
    rehearse: bool = False,
    dry_run: bool = False,
) -> None:
    """Take a service to a certificate that is served, trusted and renews itself."""
    with one_line_errors(), garbage_collector_paused():
        settings = settings_of(c, signing, ask_password)
        service = Service.of(
            name,
            settings,
            sans=san or None,
            upstream=upstream,
            mtls=mtls,
            verify_upstream=verify_upstream,
            keep_host=keep_host,
            vhost=vhost,
            listen=listen or None,
        )
        run_request(c, host, service, settings, EVERYTHING, consent=Consent(force, start), dry_run=dry_run)
        if rehearse and not (dry_run or c.config.run.dry):
            step_command.renew(c, host, service, settings)


@task(help=helped("name", "host", "san", *MINTING, "dry-run"), iterable=["san"])
def mint(
    c: Context,
    name: str,
    san: list[str],
    host: str = "",
    signing: str = "",
    ask_password: bool = False,
    dry_run: bool = False,
) -> None:
    """Make sure that a valid pair is in place."""
    with one_line_errors(), garbage_collector_paused():
        settings = settings_of(c, signing, ask_password)
        service = Service.of(name, settings, sans=san or None)
        run_request(c, host, service, settings, frozenset({"mint"}), dry_run=dry_run)


@task(help=helped("name", "host", "dry-run"))
def renew_enable(c: Context, name: str, host: str = "", dry_run: bool = False) -> None:
    """Make sure that the service's renewal timer is installed and runs."""
    with one_line_errors(), garbage_collector_paused():
        settings = Settings.load(c.config)
        run_request(c, host, Service.of(name, settings), settings, frozenset({"renew-enable"}), dry_run=dry_run)


@task(help=helped("name", "host", "san", *WIRING, "dry-run"), iterable=["san", "listen"])
def wire_nginx(
    c: Context,
    name: str,
    san: list[str],
    listen: list[str],
    host: str = "",
    upstream: str | None = None,
    mtls: bool = False,
    verify_upstream: bool = True,
    keep_host: bool = False,
    vhost: bool = True,
    force: bool = False,
    start: bool = False,
    dry_run: bool = False,
) -> None:
    """Make sure that nginx serves the pair that is on the host."""
    with one_line_errors(), garbage_collector_paused():
        settings = Settings.load(c.config)
        service = Service.of(
            name,
            settings,
            sans=san or None,
            upstream=upstream,
            mtls=mtls,
            verify_upstream=verify_upstream,
            keep_host=keep_host,
            vhost=vhost,
            listen=listen or None,
        )
        parts: frozenset[Part] = frozenset({"wire-nginx"})
        run_request(c, host, service, settings, parts, consent=Consent(force, start), dry_run=dry_run)


@task(help=helped("name", "host"))
def renew(c: Context, name: str, host: str = "") -> None:
    """Renew now, through the installed unit itself, and prove that the new certificate is served."""
    with one_line_errors(), garbage_collector_paused():
        settings = Settings.load(c.config)
        service = Service.of(name, settings)
        if c.config.run.dry:
            raise InputError("a renewal has no dry run", remedy="use provision --dry-run")
        step_command.renew(c, host, service, settings)


@task(help={"host": HOSTS, **helped("force", "start", "prune", "yes", *MINTING, "dry-run")}, iterable=["host"])
def apply(
    c: Context,
    host: list[str],
    force: bool = False,
    start: bool = False,
    prune: bool = False,
    yes: bool = False,
    signing: str = "",
    ask_password: bool = False,
    dry_run: bool = False,
) -> None:
    """Take every declared service to its certificate, on all hosts at once; --dry-run exits 2 if any would change."""
    dry_run = dry_run or c.config.run.dry
    with one_line_errors(), garbage_collector_paused():
        settings = settings_of(c, signing, ask_password)
        if not dry_run:
            warn_of_exposure(settings)
        from meshfab.cli import apply as command
        from meshfab.cli import target

        consent = {"force": force, "start": start, "prune": prune, "yes": yes}
        status = command.run(c.config, settings, target.hosts(c, host), dry_run=dry_run, **consent)
    if status:
        raise Exit(code=status)


@task(help={"host": HOSTS, **helped("format", "output", "executor", "quick", "outside", "watch")}, iterable=["host"])
def check_certs(
    c: Context,
    host: list[str],
    format: str = "table",  # noqa: A002
    output: str = "",
    executor: str = "auto",
    quick: bool = False,
    outside: bool = False,
    watch: str = "",
) -> None:
    """Check every certificate of the fleet; exit status 0 ok, 1 warning, 2 critical, 3 unknown."""
    with one_line_errors(code=3):
        from meshfab.cli import check_certs as command
        from meshfab.cli import target

        status = command.run(
            c.config, target.hosts(c, host), command.Options(format, output, executor, quick, outside, watch)
        )
    if status:
        raise Exit(code=status)


@task(help={"host": HOSTS, "quick": "only what check-certs --quick needs; no sudo"}, iterable=["host"])
def doctor(c: Context, host: list[str], quick: bool = False) -> None:
    """Say whether hosts are ready for a service, line by line with what to do; exit status as check-certs."""
    with one_line_errors(code=3):
        from meshfab.cli import doctor as command
        from meshfab.cli import target

        status = command.run(c.config, target.hosts(c, host), quick=quick)
    if status:
        raise Exit(code=status)


# Here, because Invoke logs INVOKE_SUDO_PASSWORD before it calls a task.
debug_log.hide_passwords()
ns = Collection(
    provision,
    mint,
    renew_enable,
    wire_nginx,
    apply,
    renew,
    rekey,
    reissue,
    move,
    retire,
    revoke,
    check_certs,
    doctor,
    publish_dns,
    dns_records,
    provisioner_key,
    ca_template,
)
# Single values only: the environment can set just the keys that have a default (INVOKE_MESHFAB_CA_URL), and no lists.
# Nor where a mapping is possible: Invoke refuses to merge one with anything else, also with None.
_MAPPINGS = ("dns", "host_certificate")
ns.configure(
    {
        "meshfab": {
            key: value
            for key, value in vars(Settings()).items()
            if isinstance(value, (str, int, type(None))) and key not in _MAPPINGS
        }
    }
)
