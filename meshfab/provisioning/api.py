"""The public step functions: each takes a Fabric connection first and runs in any fabfile.

Each builds one request, checked before anything is connected, and `run` passes it to `host_run`. The
command line builds the same requests (`meshfab.cli.tasks`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.provisioning.host_run import HostRun
from meshfab.provisioning.request import EVERYTHING, Consent, make_request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fabric import Connection

    from meshfab.provisioning.outcome import Outcome
    from meshfab.provisioning.request import Part, ProvisionRequest

    # Called with a step's verb and a sentence when it is done.
    OnStep = Callable[[str, str], None]


def provision(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    sans: Sequence[str] | None = None,
    upstream: str | None = None,
    mtls: bool = False,
    verify_upstream: bool = True,
    keep_host: bool = False,
    vhost: bool = True,
    listen: Sequence[str] | None = None,
    force: bool = False,
    start: bool = False,
    dry_run: bool = False,
    on_step: OnStep | None = None,
) -> Outcome:
    """Take a name and a host to a certificate that is served, trusted and renews itself.

    Args:
        c: a Fabric connection, open or not; made strict before anything is sent.
        name: the short name, one DNS label of lower case (RFC 1123, 2.1).
        settings: the mesh's conventions; None reads them from `c.config`.
        sans: DNS names beside `<name>.<domain>`; None keeps those that the certificate has.
        upstream: the http or https URL to proxy to; None keeps the value of an earlier run.
        mtls: show the pair to the upstream as a client certificate.
        verify_upstream: False accepts any certificate of an https upstream.
        keep_host: send the client's `Host` to an https upstream, instead of the upstream's own name.
        vhost: False leaves the vhost to the operator, and writes a file to include.
        listen: addresses for the vhost to listen on, or networks (the host's addresses in them are meant), or "all";
            None keeps the value of an earlier run.
        force: overwrite a managed file that was edited by hand, and take an address from other servers.
        start: start an nginx that is stopped.
        dry_run: read only, and return the steps with a diff of each file.
        on_step: called with each step's verb and a sentence when it is done.

    Raises:
        InputError: an argument or a setting cannot be used, or there is no password file; nothing was connected.
        ConnectError: the host cannot be reached, (HostKeyError) its key is not on record, or (LostError) the
            connection was lost; run it again to complete what is half done.
        NotReadyError: the host lacks a program, a right or a file.
        LockedError: another run or the renewal works on the service.
        MintError: the CA issued no usable pair; the old one is in place.
        NginxError: nginx refuses its configuration; the old files are in place.
        ServedError: clients do not get the certificate that is on disk.
        DnsError: it is served, and with the setting `dns` its name is not published, or does not lead to the host for
            everybody who was asked.
        SecretLeftError: the removal of the password could not be verified; the message has the command to run.
    """
    settings = settings or Settings.load(c.config)
    service = Service.of(
        name,
        settings,
        sans=sans,
        upstream=upstream,
        mtls=mtls,
        verify_upstream=verify_upstream,
        keep_host=keep_host,
        vhost=vhost,
        listen=listen,
    )
    request = make_request(service, settings, EVERYTHING, consent=Consent(force, start), dry_run=dry_run)
    return run(c, request, on_step)


def mint(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    sans: Sequence[str] | None = None,
    dry_run: bool = False,
    on_step: OnStep | None = None,
) -> Outcome:
    """Make sure that a valid pair is in place. Parameters and errors as for `provision`."""
    settings = settings or Settings.load(c.config)
    service = Service.of(name, settings, sans=sans)
    return run(c, make_request(service, settings, frozenset({"mint"}), dry_run=dry_run), on_step)


def renew_enable(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    dry_run: bool = False,
    on_step: OnStep | None = None,
) -> Outcome:
    """Make sure that the service's timer is installed and runs. Parameters and errors as for `provision`."""
    settings = settings or Settings.load(c.config)
    request = make_request(Service.of(name, settings), settings, frozenset({"renew-enable"}), dry_run=dry_run)
    return run(c, request, on_step)


def wire_nginx(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    sans: Sequence[str] | None = None,
    upstream: str | None = None,
    mtls: bool = False,
    verify_upstream: bool = True,
    keep_host: bool = False,
    vhost: bool = True,
    listen: Sequence[str] | None = None,
    force: bool = False,
    start: bool = False,
    dry_run: bool = False,
    on_step: OnStep | None = None,
) -> Outcome:
    """Make sure that nginx serves the pair that is in place. Parameters and errors as for `provision`."""
    settings = settings or Settings.load(c.config)
    service = Service.of(
        name,
        settings,
        sans=sans,
        upstream=upstream,
        mtls=mtls,
        verify_upstream=verify_upstream,
        keep_host=keep_host,
        vhost=vhost,
        listen=listen,
    )
    parts: frozenset[Part] = frozenset({"wire-nginx"})
    return run(c, make_request(service, settings, parts, consent=Consent(force, start), dry_run=dry_run), on_step)


def run(c: Connection, request: ProvisionRequest, on_step: OnStep | None = None) -> Outcome:
    """Carry out a request for one service, or raise why it failed. Errors as for `provision`."""
    on_service_step = (lambda _service, verb, text: on_step(verb, text)) if on_step else None
    try:
        outcome = HostRun(c, request, on_service_step).converge()[0]
    finally:
        if request.signer:
            request.signer.close()
    if outcome.error:
        raise outcome.error
    if request.settings.dns is None or request.parts != EVERYTHING:
        return outcome
    from meshfab.provisioning import naming

    service = request.services[0]
    return naming.publish(c, outcome, service, request.settings, dry_run=request.dry_run, on_step=on_step)
