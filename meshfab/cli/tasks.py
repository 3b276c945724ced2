"""The command line: thin tasks over `meshfab.provisioning.api`, and `ns` for other people's fabfiles.

Settings are read from the key `meshfab` of Invoke's configuration; see `meshfab.config.settings.Settings` for all of them.
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
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import task

import meshfab
from meshfab.config.password import exposure, read_password
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import InputError, MeshfabError, SudoAsksError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fabric import Connection
    from invoke.context import Context


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
    options = {"sans": san or None, "upstream": upstream, "mtls": mtls, "vhost": vhost, "listen": listen or None}
    _run(c, host, "provision", name, options, {"force": force, "start": start}, dry_run=dry_run)
    if rehearse and not dry_run:
        _run(c, host, "renew", name, {})


@task(help=_helped("name", "host", "san", "dry-run"), iterable=["san"])
def mint(c: Context, name: str, san: list[str], host: str = "", dry_run: bool = False) -> None:
    """Make sure that a valid pair lies in its place."""
    _run(c, host, "mint", name, {"sans": san or None}, dry_run=dry_run)


@task(help=_helped("name", "host", "dry-run"))
def renew_enable(c: Context, name: str, host: str = "", dry_run: bool = False) -> None:
    """Make sure that the service's renewal timer is installed and runs."""
    _run(c, host, "renew_enable", name, {}, dry_run=dry_run)


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
    options = {"sans": san or None, "upstream": upstream, "mtls": mtls, "vhost": vhost, "listen": listen or None}
    _run(c, host, "wire_nginx", name, options, {"force": force, "start": start}, dry_run=dry_run)


@task(help=_helped("name", "host"))
def renew(c: Context, name: str, host: str = "") -> None:
    """Renew now, through the installed unit itself, and prove that the new certificate is served."""
    _run(c, host, "renew", name, {})


@task(help={"host": _HOSTS, **_helped("force", "start", "dry-run")}, iterable=["host"])
def apply(c: Context, host: list[str], force: bool = False, start: bool = False, dry_run: bool = False) -> None:
    """Take every declared service to its certificate, on all hosts at once."""
    dry_run = dry_run or c.config.run.dry
    with _one_line_errors(), _collector_at_rest():
        settings = Settings.load(c.config)
        _require_password(settings, dry_run=dry_run)
        from meshfab.cli import apply, target

        is_well = apply.run(c.config, settings, target.hosts(c, host), dry_run=dry_run, force=force, start=start)
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
    """Tell the truth about every certificate of the fleet; exit status 0 ok, 1 warning, 2 critical, 3 unknown."""
    with _one_line_errors(code=3):
        from meshfab.cli import check_certs, target

        status = check_certs.run(c.config, target.hosts(c, host), format, output, executor)
    if status:
        raise Exit(code=status)


@task(help={"host": _HOSTS}, iterable=["host"])
def doctor(c: Context, host: list[str]) -> None:
    """Say whether hosts are ready for a service, line by line with what to do; exit status as check-certs."""
    with _one_line_errors(code=3):
        from meshfab.cli import target
        from meshfab.fleet import doctor

        status = doctor.run(c.config, target.hosts(c, host))
    if status:
        raise Exit(code=status)


def _run(
    c: Context,
    host: str,
    step: str,
    name: str,
    options: dict[str, Any],
    consent: dict[str, bool] | None = None,
    *,
    dry_run: bool = False,
) -> None:
    """Check the words, connect, and call the step of that name."""
    began = time.monotonic()
    dry_run = dry_run or c.config.run.dry
    with _one_line_errors(), _collector_at_rest():
        settings = Settings.load(c.config)
        Service.of(name, settings, **options)
        if step == "renew" and dry_run:
            raise InputError("a renewal is for real: there is no dry run of it", remedy="use provision --dry-run")
        if step in ("provision", "mint"):
            _require_password(settings, dry_run=dry_run)
        from meshfab.cli import target
        from meshfab.ssh.connection import opened

        connection = target.connection(c, host, settings)
        with connection, ThreadPoolExecutor(1) as pool:
            # The handshake waits for the network; the imports that only the work needs fill that time.
            opening = pool.submit(opened, connection)
            from meshfab.cli.step_lines import StepPrinter

            do, lines = getattr(meshfab, step), StepPrinter()
            opening.result()
            options |= consent or {}
            options |= {"settings": settings, "say": lines.step} | ({"dry_run": True} if dry_run else {})
            try:
                outcome = do(connection, name, **options)
            except SudoAsksError:
                _ask_for_sudo(connection)
                outcome = do(connection, name, **options)
        if dry_run:
            lines.dry_run(outcome)
        else:
            lines.outcome(outcome, time.monotonic() - began)


def _require_password(settings: Settings, *, dry_run: bool) -> None:
    """A run that would need the password ends here, before any connection, when there is none."""
    if dry_run:
        return
    read_password(settings.password_file)
    if warning := exposure(settings.password_file):
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
