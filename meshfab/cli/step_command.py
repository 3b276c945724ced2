"""Commands for one service on one host: build the request, connect, hand it on, print the outcome."""

from __future__ import annotations

import getpass
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from meshfab.cli.interpreter import quick_thread_switches
from meshfab.config.password_source import source_exposure
from meshfab.errors import SudoAsksError
from meshfab.provisioning.request import Consent, make_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from fabric import Connection
    from invoke.context import Context

    from meshfab.cli.step_lines import StepPrinter
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.provisioning.outcome import Outcome
    from meshfab.provisioning.request import Part

T = TypeVar("T")


def run_request(
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
    request = make_request(service, settings, parts, consent=consent, dry_run=dry_run)
    if request.password or request.signer:
        warn_of_exposure(settings)

    def work(connection: Connection, printer: StepPrinter) -> Outcome:
        from meshfab.provisioning import api

        return api.run(connection, request, printer.step)

    outcome, printer = on_host(c, host, settings, work)
    if dry_run:
        printer.dry_run(outcome)
    else:
        printer.outcome(outcome, time.monotonic() - began)


def renew(c: Context, host: str, service: Service, settings: Settings) -> None:
    """Force a renewal and print the outcome."""
    began = time.monotonic()

    def work(connection: Connection, printer: StepPrinter) -> Outcome:
        from meshfab.provisioning import forced_renewal

        return forced_renewal.renew_service(connection, service, settings, printer.step)

    outcome, printer = on_host(c, host, settings, work)
    printer.outcome(outcome, time.monotonic() - began)


def rekey(c: Context, host: str, service: Service, settings: Settings, *, dry_run: bool) -> None:
    """Replace the key and print the outcome, or print what would be done."""
    began = time.monotonic()

    def work(connection: Connection, printer: StepPrinter) -> Outcome:
        from meshfab.provisioning import forced_renewal

        return forced_renewal.rekey_service(connection, service, settings, printer.step, dry_run=dry_run)

    outcome, printer = on_host(c, host, settings, work)
    if dry_run:
        printer.dry_run(outcome)
    else:
        printer.outcome(outcome, time.monotonic() - began)


def on_host(
    c: Context, host: str, settings: Settings, work: Callable[[Connection, StepPrinter], T]
) -> tuple[T, StepPrinter]:
    """Do the work over a connection, and once more with sudo's password if a person can give it."""
    from meshfab.cli import target
    from meshfab.ssh.connection import ensure_open

    connection = target.connection(c, host, settings)
    with connection, quick_thread_switches(), ThreadPoolExecutor(1) as pool:
        # The handshake waits for the network; meanwhile the modules that only the work needs are imported.
        opening = pool.submit(ensure_open, connection)
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


def warn_of_exposure(settings: Settings) -> None:
    """Warn when other users can read the password's file."""
    if warning := source_exposure(settings):
        print(f"warning: {warning}", file=sys.stderr)


def _ask_for_sudo(connection: Connection) -> None:
    """Prompt once, on a terminal; otherwise raise the error. Nothing had run yet when sudo prompted."""
    if not sys.stdin.isatty():
        raise  # noqa: PLE0704  # within the handler that called us
    prompt = f"sudo's password for {connection.user} on {connection.original_host} (not the CA's): "
    connection.config.sudo.password = getpass.getpass(prompt)
