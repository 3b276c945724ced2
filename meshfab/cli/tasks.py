"""The command line: thin tasks over the public functions, and `ns` for other people's fabfiles.

Settings are read from the key `meshfab` of Invoke's configuration; `meshfab.Settings` has all of them.
"""

from __future__ import annotations

import gc
import getpass
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import task

from meshfab.config.password import exposure, read_password
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import InputError, MeshfabError, SudoAsksError, one_line
from meshfab.provisioning.request import EVERYTHING, Consent, ProvisionRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fabric import Connection
    from invoke.context import Context

    from meshfab.cli.step_lines import StepPrinter
    from meshfab.provisioning.outcome import Outcome
    from meshfab.provisioning.request import Part


_HELP = {
    "name": "short name of the service; it becomes NAME.<domain>",
    "host": "where it runs: a name from ~/.ssh/config, or [user@]host[:port] (left out: that of `fab -H`)",
    "san": "one more DNS name in the certificate; repeat for more (left out: those it has are kept)",
    "upstream": "URL that nginx proxies to (left out: kept as it is)",
    "mtls": "show the pair to the upstream as a client certificate",
    "vhost": "--no-vhost leaves the vhost to you; the pair and its renewal are ours",
    "listen": "address for the vhost to listen on, or a network of which the host's own is meant; repeat for more",
    "force": "overwrite a file of ours that you edited; take an address from the host's other servers",
    "start": "start nginx if it is stopped",
    "rehearse": "renew once through the installed unit as well: what would fail at night fails now",
    "dry-run": "read only: the plan and a diff of every file",
    "format": "table, json, prometheus or html",
    "output": "a file to put in place at once, instead of stdout",
    "executor": "where the work runs: threads, processes or dask://HOST:PORT (left out: by hosts and processors)",
}
_HOSTS = "a host to ask, repeat for more (left out: the hosts of the settings and of the declared services)"


def _helped(*names: str) -> dict[str, str]:
    return {name: _HELP[name] for name in names}


_WIRING = ("upstream", "mtls", "vhost", "listen", "force", "start")


@task(help=_helped("name", "host", "san", *_WIRING, "rehearse", "dry-run"), iterable=["san", "listen"])
def provision(
    c: Context,
    name: str,
    san: list[str],
    listen: list[str],
    host: str = "",
    upstream: str | None = None,
    mtls: bool = False,
    vhost: bool = True,
    force: bool = False,
    start: bool = False,
    rehearse: bool = False,
    dry_run: bool = False,
) -> None:
    """Take a service to a certificate that is served, trusted and renews itself."""
    with _one_line_errors(), _collector_at_rest():
        settings = Settings.load(c.config)
        service = Service.of(
            name, settings, sans=san or None, upstream=upstream, mtls=mtls, vhost=vhost, listen=listen or None
        )
        _run_request(c, host, service, settings, EVERYTHING, consent=Consent(force, start), dry_run=dry_run)
        if rehearse and not (dry_run or c.config.run.dry):
            _renew(c, host, service, settings)


@task(help=_helped("name", "host", "san", "dry-run"), iterable=["san"])
def mint(c: Context, name: str, san: list[str], host: str = "", dry_run: bool = False) -> None:
    """Make sure that a valid pair lies in its place."""
    with _one_line_errors(), _collector_at_rest():
        settings = Settings.load(c.config)
        service = Service.of(name, settings, sans=san or None)
        _run_request(c, host, service, settings, frozenset({"mint"}), dry_run=dry_run)


@task(help=_helped("name", "host", "dry-run"))
def renew_enable(c: Context, name: str, host: str = "", dry_run: bool = False) -> None:
    """Make sure that the service's renewal timer is installed and runs."""
    with _one_line_errors(), _collector_at_rest():
        settings = Settings.load(c.config)
        _run_request(c, host, Service.of(name, settings), settings, frozenset({"renew-enable"}), dry_run=dry_run)


@task(help=_helped("name", "host", "san", *_WIRING, "dry-run"), iterable=["san", "listen"])
def wire_nginx(
    c: Context,
    name: str,
    san: list[str],
    listen: list[str],
    host: str = "",
    upstream: str | None = None,
    mtls: bool = False,
    vhost: bool = True,
    force: bool = False,
    start: bool = False,
    dry_run: bool = False,
) -> None:
    """Make sure that nginx serves the pair that lies on the host."""
    with _one_line_errors(), _collector_at_rest():
        settings = Settings.load(c.config)
        service = Service.of(
            name, settings, sans=san or None, upstream=upstream, mtls=mtls, vhost=vhost, listen=listen or None
        )
        parts: frozenset[Part] = frozenset({"wire-nginx"})
        _run_request(c, host, service, settings, parts, consent=Consent(force, start), dry_run=dry_run)


@task(help=_helped("name", "host"))
def renew(c: Context, name: str, host: str = "") -> None:
    """Renew now, through the installed unit itself, and prove that the new certificate is served."""
    with _one_line_errors(), _collector_at_rest():
        settings = Settings.load(c.config)
        service = Service.of(name, settings)
        if c.config.run.dry:
            raise InputError("a renewal is for real: there is no dry run of it", remedy="use provision --dry-run")
        _renew(c, host, service, settings)


@task(help={"host": _HOSTS, **_helped("force", "start", "dry-run")}, iterable=["host"])
def apply(c: Context, host: list[str], force: bool = False, start: bool = False, dry_run: bool = False) -> None:
    """Take every declared service to its certificate, on all hosts at once."""
    dry_run = dry_run or c.config.run.dry
    with _one_line_errors(), _collector_at_rest():
        settings = Settings.load(c.config)
        if not dry_run:
            _warn_of_exposure(settings)
        from meshfab.cli import apply as command
        from meshfab.cli import target

        is_well = command.run(c.config, settings, target.hosts(c, host), dry_run=dry_run, force=force, start=start)
    if not is_well:
        raise Exit(code=1)


@task(help={"host": _HOSTS, **_helped("format", "output", "executor")}, iterable=["host"])
def check_certs(
    c: Context,
    host: list[str],
    format: str = "table",  # noqa: A002
    output: str = "",
    executor: str = "auto",
) -> None:
    """Check every certificate of the fleet; exit status 0 ok, 1 warning, 2 critical, 3 unknown."""
    with _one_line_errors(code=3):
        from meshfab.cli import check_certs as command
        from meshfab.cli import target

        status = command.run(c.config, target.hosts(c, host), format, output, executor)
    if status:
        raise Exit(code=status)


@task(help={"host": _HOSTS}, iterable=["host"])
def doctor(c: Context, host: list[str]) -> None:
    """Say whether hosts are ready for a service, line by line with what to do; exit status as check-certs."""
    with _one_line_errors(code=3):
        from meshfab.cli import doctor as command
        from meshfab.cli import target

        status = command.run(c.config, target.hosts(c, host))
    if status:
        raise Exit(code=status)


def _run_request(
    c: Context,
    host: str,
    service: Service,
    settings: Settings,
    parts: frozenset[Part],
    *,
    consent: Consent = Consent(),  # noqa: B008  # frozen
    dry_run: bool = False,
) -> None:
    """Build the one request, connect, and hand it on."""
    began = time.monotonic()
    dry_run = dry_run or c.config.run.dry
    password = None
    if "mint" in parts and not dry_run:
        # A run that would need the password ends here, before any connection, when there is none.
        password = read_password(settings.password_file)
        _warn_of_exposure(settings)
    request = ProvisionRequest(
        services=(service,), settings=settings, parts=parts, password=password, consent=consent, dry_run=dry_run
    )

    def work(connection: Connection, printer: StepPrinter) -> Outcome:
        from meshfab.provisioning import api

        return api.run(connection, request, printer.step)

    outcome, printer = _on_host(c, host, settings, work)
    if dry_run:
        printer.dry_run(outcome)
    else:
        printer.outcome(outcome, time.monotonic() - began)


def _renew(c: Context, host: str, service: Service, settings: Settings) -> None:
    began = time.monotonic()

    def work(connection: Connection, printer: StepPrinter) -> Outcome:
        from meshfab.provisioning import forced_renewal

        return forced_renewal.renew_service(connection, service, settings, printer.step)

    outcome, printer = _on_host(c, host, settings, work)
    printer.outcome(outcome, time.monotonic() - began)


def _on_host(
    c: Context, host: str, settings: Settings, work: Callable[[Connection, StepPrinter], Outcome]
) -> tuple[Outcome, StepPrinter]:
    """Do the work over a connection, and once more with sudo's password where a person can give it."""
    from meshfab.cli import target
    from meshfab.ssh.connection import opened

    connection = target.connection(c, host, settings)
    with connection, ThreadPoolExecutor(1) as pool:
        # The handshake waits for the network; the imports that only the work needs fill that time.
        opening = pool.submit(opened, connection)
        from meshfab.cli.step_lines import StepPrinter
        from meshfab.provisioning import api  # noqa: F401

        printer = StepPrinter()
        opening.result()
        try:
            return work(connection, printer), printer
        except SudoAsksError:
            # Nothing had run yet when sudo asked.
            _ask_for_sudo(connection)
            return work(connection, printer), printer


def _warn_of_exposure(settings: Settings) -> None:
    if settings.password_file.is_file() and (warning := exposure(settings.password_file)):
        print(f"warning: {warning}", file=sys.stderr)


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Spare a run of a second the search for cycles, in the modules that it imports and again when Python exits."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _ask_for_sudo(connection: Connection) -> None:
    """Ask once, on a terminal; elsewhere the error stands. Nothing had run yet when sudo asked."""
    if not sys.stdin.isatty():
        raise  # noqa: PLE0704  # within the handler that called us
    asked = f"sudo's password for {connection.user} on {connection.original_host} (not the CA's): "
    connection.config.sudo.password = getpass.getpass(asked)


@contextmanager
def _one_line_errors(code: int = 1) -> Iterator[None]:
    """Turn our errors, Ctrl-C and a polite kill into one line and an exit status. SIGTERM unwinds as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> None:  # signal's signature
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except MeshfabError as error:
        print(getattr(error, "diff", ""), end="")
        # What a clean-up found out comes first, and what had led to it is not lost.
        first = None if error.__suppress_context__ else error.__context__
        raise Exit(f"{error}\n{first}" if isinstance(first, MeshfabError) else str(error), code=code) from None
    except Exception as error:
        if os.environ.get("MESHFAB_DEBUG"):
            raise  # within the handler that called us
        what = f"internal error: {type(error).__name__}: {one_line(str(error))}"
        raise Exit(f"{what} -> MESHFAB_DEBUG=1 shows where; please report it", code=code) from None
    except KeyboardInterrupt:
        raise Exit("interrupted: cleaned up; run it again to complete what is half done", code=code) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


ns = Collection(provision, mint, renew_enable, wire_nginx, apply, renew, check_certs, doctor)
# Single values only: the environment can set just the keys that have a default (INVOKE_MESHFAB_CA_URL), and no lists.
ns.configure(
    {"meshfab": {key: value for key, value in vars(Settings()).items() if isinstance(value, (str, int, type(None)))}}
)
