"""The public step functions: each takes a Fabric connection first and runs in any fabfile.

`meshfab.cli.tasks` only adds the command line; `meshfab.provisioning.host_run` has the flow itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.config.password import read_password
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.provisioning import plan
from meshfab.provisioning.host_run import HostRun, Say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fabric import Connection

    from meshfab.provisioning.outcome import Outcome
    from meshfab.provisioning.plan import Part


def provision(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    sans: Sequence[str] | None = None,
    upstream: str | None = None,
    mtls: bool = False,
    vhost: bool = True,
    listen: Sequence[str] | None = None,
    force: bool = False,
    start: bool = False,
    dry_run: bool = False,
    say: Say | None = None,
) -> Outcome:
    """Take a name and a host to a certificate that is served, trusted and renews itself.

    Args:
        c: a Fabric connection, open or not; made strict before anything is sent.
        name: the short name, one DNS label of lower case (RFC 1123, 2.1).
        settings: the mesh's conventions; None reads them from `c.config`.
        sans: DNS names beside `<name>.<domain>`; None keeps those that the certificate has.
        upstream: the http or https URL to proxy to; None keeps what an earlier run was asked for.
        mtls: show the pair to the upstream as a client certificate.
        vhost: False leaves the vhost to the operator, and gives them a file to include.
        listen: addresses for the vhost to listen on, or networks of which the host's own are meant, or "all"; None
            keeps what an earlier run was asked for.
        force: overwrite a file of ours that was edited by hand, and take an address from other servers.
        start: start an nginx that is stopped.
        dry_run: read only, and return the steps with a diff of each file.
        say: called with each step's verb and a sentence, as it is done.

    Raises:
        InputError: a word or a setting cannot be used, or there is no password file; nothing was connected.
        ConnectError: the host cannot be reached, (HostKeyError) its key is not on record, or (LostError) the line
            dropped; run it again to complete what is half done.
        NotReadyError: the host lacks a program, a right or a file.
        LockedError: somebody else works on the service.
        MintError: the CA gave no usable pair; the old one is in place.
        NginxError: nginx refuses its configuration; what was there before is in place.
        ServedError: clients do not get the certificate that is on disk.
        SecretLeftError: the password could not be proved gone; the message has the command to run.
    """
    settings = settings or Settings.load(c.config)
    service = Service.of(
        name,
        settings,
        sans=None if sans is None else tuple(sans),
        upstream=upstream,
        mtls=mtls,
        vhost=vhost,
        listen=None if listen is None else tuple(listen),
    )
    return _run(c, service, settings, plan.EVERYTHING, dry_run=dry_run, say=say, force=force, start=start)


def mint(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    sans: Sequence[str] | None = None,
    dry_run: bool = False,
    say: Say | None = None,
) -> Outcome:
    """Make sure that a valid pair lies in its place. Parameters and errors as for `provision`."""
    settings = settings or Settings.load(c.config)
    service = Service.of(name, settings, sans=None if sans is None else tuple(sans))
    return _run(c, service, settings, frozenset({"mint"}), dry_run=dry_run, say=say)


def renew_enable(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    dry_run: bool = False,
    say: Say | None = None,
) -> Outcome:
    """Make sure that the service's timer is installed and runs. Parameters and errors as for `provision`."""
    settings = settings or Settings.load(c.config)
    return _run(c, Service.of(name, settings), settings, frozenset({"renew-enable"}), dry_run=dry_run, say=say)


def wire_nginx(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    sans: Sequence[str] | None = None,
    upstream: str | None = None,
    mtls: bool = False,
    vhost: bool = True,
    listen: Sequence[str] | None = None,
    force: bool = False,
    start: bool = False,
    dry_run: bool = False,
    say: Say | None = None,
) -> Outcome:
    """Make sure that nginx serves the pair that lies there. Parameters and errors as for `provision`."""
    settings = settings or Settings.load(c.config)
    service = Service.of(
        name,
        settings,
        sans=None if sans is None else tuple(sans),
        upstream=upstream,
        mtls=mtls,
        vhost=vhost,
        listen=None if listen is None else tuple(listen),
    )
    return _run(c, service, settings, frozenset({"wire-nginx"}), dry_run=dry_run, say=say, force=force, start=start)


def _run(
    c: Connection,
    service: Service,
    settings: Settings,
    parts: frozenset[Part],
    *,
    dry_run: bool,
    say: Say | None,
    force: bool = False,
    start: bool = False,
) -> Outcome:
    # Before any connection: a run that would need the password ends here when there is none.
    password = read_password(settings.password_file) if "mint" in parts and not dry_run else None
    tell = (lambda _service, verb, text: say(verb, text)) if say else None
    outcome = HostRun(c, (service,), settings, parts, password, dry_run, tell, force, start).converge()[0]
    if outcome.error:
        raise outcome.error
    return outcome
