"""End a service on a host: it is not served any more, its certificates are revoked, and no file of it is left."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from meshfab.checks.endpoint_probe import EndpointProbe
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.dns import opening
from meshfab.provisioning import naming
from meshfab.provisioning.outcome import Retirement
from meshfab.provisioning.remains import RetirementRequest
from meshfab.provisioning.request import MintingMeans, revoking_means, revoking_root
from meshfab.provisioning.retirement_run import RetirementRun
from meshfab.ssh.root_shell import RootShell

if TYPE_CHECKING:
    from collections.abc import Callable

    from fabric import Connection

    from meshfab.provisioning.operator_signing import OperatorSigner

    OnStep = Callable[[str, str], None]

__all__ = ["Retirement", "retire"]


def retire(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    revoke: bool = True,
    force: bool = False,
    last: bool = False,
    dry_run: bool = False,
    on_step: OnStep | None = None,
) -> Retirement:
    """End a service on a host: it is not served any more, its certificates are revoked, and no file of it is left.

    Nothing is changed while something that meshfab did not write names the pair in nginx's configuration. The present
    pair revokes itself, over mTLS; others that have not expired are revoked with a token of the provisioner, where
    `settings.signing` puts its key on this side.

    Args:
        c: a Fabric connection, open or not; made strict before anything is sent.
        name: the service's short name.
        settings: the mesh's conventions; None reads them from `c.config`.
        revoke: False revokes no certificate.
        force: also remove files of ours that were edited by hand.
        last: remove the units that all services share, too; refused while another service of the host uses them.
        dry_run: read only, and return the steps and files.
        on_step: called with each step's verb and a sentence when it is done.

    Raises:
        InputError: an argument or a setting cannot be used; nothing was connected.
        ConnectError: the host cannot be reached, (HostKeyError) its key is not on record, or (LostError) the
            connection was lost; run it again to complete what is half done.
        NotReadyError: `last` is given and another service is there, or the timer cannot be stopped.
        LockedError: another run or the renewal works on the service.
        NginxError: nginx refuses its configuration, or it still names the pair; (EditedError) a file of ours was
            edited by hand.
        ServedError: clients still get the certificate; the vhost is back in place.
        RevokeError: the CA did not revoke a certificate; what is needed to revoke it is still there.
        DnsError: the service has ended, and its name still leads to the host.
    """
    settings = settings or Settings.load(c.config)
    service = Service.of(name, settings)
    opening.require_usable(settings)
    with closing(revoking_means(settings) if revoke and not dry_run else MintingMeans()) as means:
        request = RetirementRequest(service, settings, revoke, revoking_root(settings), force=force, last=last)
        return retire_service(c, request, means.signer, dry_run=dry_run, on_step=on_step)


def retire_service(
    c: Connection,
    request: RetirementRequest,
    signer: OperatorSigner | None,
    *,
    dry_run: bool = False,
    on_step: OnStep | None = None,
) -> Retirement:
    """The same for a request that was checked already. Errors as for `retire`."""
    shell = RootShell(c)
    run = RetirementRun(shell, EndpointProbe(shell, [request.service.fqdn]), request, signer, on_step or _silent)
    with shell:
        retired = run.converge(dry_run=dry_run)
    return naming.withdraw(c, retired, request.settings, dry_run=dry_run, on_step=on_step)


def _silent(_verb: str, _text: str) -> None:
    """Ignore the step: a library call returns its result."""
