"""The command line: thin tasks over the public functions, and `ns` for other people's fabfiles.

Settings are read from the key `meshfab` of Invoke's configuration; `meshfab.Settings` has all of them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import task

from meshfab.cli import step_command
from meshfab.cli.ca_tasks import ca_template, provisioner_key
from meshfab.cli.error_lines import one_line_errors
from meshfab.cli.step_command import garbage_collector_paused, run_request, warn_of_exposure
from meshfab.config import debug_log
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import InputError
from meshfab.provisioning.request import EVERYTHING, Consent

if TYPE_CHECKING:
    from invoke.context import Context

    from meshfab.provisioning.request import Part


_HELP = {
    "name": "short name of the service; it becomes NAME.<domain>",
    "host": "where it runs: a name from ~/.ssh/config, or [user@]host[:port] (default: that of `fab -H`)",
    "san": "one more DNS name in the certificate; repeat for more (default: those that it has)",
    "upstream": "URL that nginx proxies to (default: unchanged)",
    "mtls": "show the pair to the upstream as a client certificate",
    "verify-upstream": "--no-verify-upstream: accept any certificate of an https upstream",
    "keep-host": "send the client's Host to an https upstream, and not the upstream's own name",
    "vhost": "--no-vhost: you write the vhost; meshfab keeps the pair and its renewal",
    "listen": "address for the vhost to listen on, or a network that contains it; repeat for more",
    "force": "overwrite a managed file that you edited; take an address from other servers of the host",
    "start": "start nginx if it is stopped",
    "revoke": "--no-revoke: leave its certificates to expire",
    "last": "also remove the units that all services share; refused while another service is on the host",
    "prune": "retire what meshfab set up on a host and is not declared for it any more, after you confirmed the plan",
    "yes": "with --prune: do not ask",
    "serial": "serial number of the certificate, in decimal as step prints it, or in hex",
    "signing": "host: mint there, with the password; operator: sign here; agent: by ssh-agent (default: the setting)",
    "ask-password": "prompt for the provisioner's password, instead of reading it from its file or command",
    "rehearse": "also renew once through the installed unit, to test the renewal now",
    "dry-run": "read only: the plan and a diff of every file",
    "format": "table, json, prometheus or html",
    "output": "a file to replace atomically, instead of stdout",
    "executor": "where the checks run: threads, processes or dask://HOST:PORT (default: by hosts and processors)",
}
_HOSTS = "a host; repeat for more (default: the hosts of the settings and of the declared services)"


def _helped(*names: str) -> dict[str, str]:
    return {name: _HELP[name] for name in names}


def _settings(c: Context, signing: str, ask_password: bool) -> Settings:
    """The settings, with what `--signing` and `--ask-password` say instead."""
    settings = Settings.load(c.config)
    return dataclasses.replace(
        settings, signing=signing or settings.signing, ask_password=ask_password or settings.ask_password
    )


_WIRING = ("upstream", "mtls", "verify-upstream", "keep-host", "vhost", "listen", "force", "start")
_MINTING = ("signing", "ask-password")


@task(help=_helped("name", "host", "san", *_WIRING, *_MINTING, "rehearse", "dry-run"), iterable=["san", "listen"])
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
        settings = _settings(c, signing, ask_password)
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


@task(help=_helped("name", "host", "san", *_MINTING, "dry-run"), iterable=["san"])
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
        settings = _settings(c, signing, ask_password)
        service = Service.of(name, settings, sans=san or None)
        run_request(c, host, service, settings, frozenset({"mint"}), dry_run=dry_run)


@task(help=_helped("name", "host", "dry-run"))
def renew_enable(c: Context, name: str, host: str = "", dry_run: bool = False) -> None:
    """Make sure that the service's renewal timer is installed and runs."""
    with one_line_errors(), garbage_collector_paused():
        settings = Settings.load(c.config)
        run_request(c, host, Service.of(name, settings), settings, frozenset({"renew-enable"}), dry_run=dry_run)


@task(help=_helped("name", "host", "san", *_WIRING, "dry-run"), iterable=["san", "listen"])
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


@task(help=_helped("name", "host"))
def renew(c: Context, name: str, host: str = "") -> None:
    """Renew now, through the installed unit itself, and prove that the new certificate is served."""
    with one_line_errors(), garbage_collector_paused():
        settings = Settings.load(c.config)
        service = Service.of(name, settings)
        if c.config.run.dry:
            raise InputError("a renewal has no dry run", remedy="use provision --dry-run")
        step_command.renew(c, host, service, settings)


@task(help=_helped("name", "host", "dry-run"))
def rekey(c: Context, name: str, host: str = "", dry_run: bool = False) -> None:
    """Replace the key of a service without a password, and have the CA revoke the old key's certificates."""
    with one_line_errors(), garbage_collector_paused():
        settings = Settings.load(c.config)
        service = Service.of(name, settings)
        step_command.rekey(c, host, service, settings, dry_run=dry_run or c.config.run.dry)


@task(help={**_helped("name", "host", "revoke", "last", *_MINTING, "dry-run"), "force": "also what you edited by hand"})
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

        settings = _settings(c, signing, ask_password)
        can_sign = settings.signing != "host"
        request = RetirementRequest(Service.of(name, settings), settings, revoke, can_sign, force, last)
        retirement.retire(c, host, request, dry_run=dry_run or c.config.run.dry)


@task(help={**_helped("serial", *_MINTING), "host": "the host that has the pair with that serial"})
def revoke(c: Context, serial: str, host: str = "", signing: str = "", ask_password: bool = False) -> None:
    """Revoke one certificate: the CA renews it no more. One that is revoked already counts as done."""
    with one_line_errors(), garbage_collector_paused():
        settings = _settings(c, signing, ask_password)
        if c.config.run.dry:
            raise InputError("a revocation has no dry run", remedy="leave --dry out")
        from meshfab.cli import retirement

        retirement.revoke(c, host, serial, settings)


@task(help={"host": _HOSTS, **_helped("force", "start", "prune", "yes", *_MINTING, "dry-run")}, iterable=["host"])
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
        settings = _settings(c, signing, ask_password)
        if not dry_run:
            warn_of_exposure(settings)
        from meshfab.cli import apply as command
        from meshfab.cli import target

        consent = {"force": force, "start": start, "prune": prune, "yes": yes}
        status = command.run(c.config, settings, target.hosts(c, host), dry_run=dry_run, **consent)
    if status:
        raise Exit(code=status)


@task(help={"host": _HOSTS, **_helped("format", "output", "executor")}, iterable=["host"])
def check_certs(
    c: Context,
    host: list[str],
    format: str = "table",  # noqa: A002
    output: str = "",
    executor: str = "auto",
) -> None:
    """Check every certificate of the fleet; exit status 0 ok, 1 warning, 2 critical, 3 unknown."""
    with one_line_errors(code=3):
        from meshfab.cli import check_certs as command
        from meshfab.cli import target

        status = command.run(c.config, target.hosts(c, host), format, output, executor)
    if status:
        raise Exit(code=status)


@task(help={"host": _HOSTS}, iterable=["host"])
def doctor(c: Context, host: list[str]) -> None:
    """Say whether hosts are ready for a service, line by line with what to do; exit status as check-certs."""
    with one_line_errors(code=3):
        from meshfab.cli import doctor as command
        from meshfab.cli import target

        status = command.run(c.config, target.hosts(c, host))
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
    retire,
    revoke,
    check_certs,
    doctor,
    provisioner_key,
    ca_template,
)
# Single values only: the environment can set just the keys that have a default (INVOKE_MESHFAB_CA_URL), and no lists.
ns.configure(
    {"meshfab": {key: value for key, value in vars(Settings()).items() if isinstance(value, (str, int, type(None)))}}
)
