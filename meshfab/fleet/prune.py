"""The second half of `apply --prune`: retire what is ours on a host and not declared for it."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from meshfab.config import inventory
from meshfab.config.service import Service
from meshfab.errors import ConnectError, InputError, MeshfabError, NotReadyError, one_line
from meshfab.host import tls_client
from meshfab.provisioning.outcome import Retirement
from meshfab.provisioning.remains import RetirementRequest
from meshfab.provisioning.request import revoking_root
from meshfab.provisioning.retirement import retire_service
from meshfab.ssh.connection import connect_by_settings
from meshfab.ssh.jump_hosts import JumpHostPool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fabric import Connection

    from meshfab.config.settings import Settings
    from meshfab.fleet.host_outcome import HostOutcome
    from meshfab.provisioning.operator_signing import OperatorSigner
    from meshfab.provisioning.request import MintingMeans


def require_declared(hosts: Sequence[str], settings: Settings) -> None:
    """Require that the declarations name every host as it is named here: on any other, all would count as undeclared.

    Raises:
        InputError: they do not.
    """
    unknown = [host for host in hosts if host not in inventory.hosts(settings)]
    if unknown:
        what = f"{', '.join(unknown)} is not named so in the declarations, and all of its services would be retired"
        raise InputError(what, remedy="name the host as meshfab.services or meshfab.hosts does")


def prune(
    outcomes: Sequence[HostOutcome],
    settings: Settings,
    means: MintingMeans,
    config: Any = None,
    *,
    dry_run: bool = False,
    force: bool = False,
) -> tuple[HostOutcome, ...]:
    """Retire the services that the outcomes call prunable, on all hosts at once.

    A service's error is in its retirement. A host whose own run failed as a whole is left alone.

    Args:
        outcomes: those of `apply`.
        settings: the mesh's conventions and `services`.
        means: its signer, if any, signs the revocations.
        config: an Invoke or Fabric configuration to carry on.
        dry_run: read only, and return the plans.
        force: also remove files of ours that were edited by hand.

    Returns:
        The outcomes with their retirements.

    Raises:
        InputError: the operator's own root cannot be read, although `settings.signing` says that this side signs.
    """
    hosts = [outcome for outcome in outcomes if outcome.prunable and outcome.error is None]
    if not hosts:
        return tuple(outcomes)
    root = revoking_root(settings)
    with JumpHostPool() as jumps, ThreadPoolExecutor(min(settings.parallel, len(hosts))) as pool:
        calls = {
            outcome.host: pool.submit(_prune_host, outcome, settings, config, means.signer, root, jumps, dry_run, force)
            for outcome in hosts
        }
        try:
            retired = {host: call.result() for host, call in calls.items()}
        except BaseException:
            # Ctrl-C: what has begun is completed, and nothing more begins.
            pool.shutdown(cancel_futures=True)
            raise
    return tuple(dataclasses.replace(outcome, retired=retired.get(outcome.host, ())) for outcome in outcomes)


def _prune_host(
    outcome: HostOutcome,
    settings: Settings,
    config: Any,
    signer: OperatorSigner | None,
    root: str,
    jumps: JumpHostPool,
    dry_run: bool,
    force: bool,
) -> tuple[Retirement, ...]:
    def connection(host: str) -> Connection:
        return connect_by_settings(host, settings, config, jumps)

    retired: list[Retirement] = []
    lost: MeshfabError | None = None
    for name in outcome.prunable:
        service = Service.of(name, settings)
        request = RetirementRequest(service, settings, root=root, force=force)
        try:
            if lost:
                raise lost
            c = connection(outcome.host)
            _require_another_machine(name, c, [connection(host) for host in _hosts_of(name, settings)])
            with c:
                retired.append(retire_service(c, request, signer, dry_run=dry_run))
        except MeshfabError as error:
            lost = error if isinstance(error, ConnectError) else None
            retired.append(Retirement(outcome.host, service, error=error))
        except Exception as error:  # a host may answer anything; its answer must not stop the other hosts
            what = f"its answer cannot be handled: {type(error).__name__}: {one_line(str(error))[:200]}"
            retired.append(Retirement(outcome.host, service, error=MeshfabError(what, host=outcome.host)))
    return tuple(retired)


def _hosts_of(name: str, settings: Settings) -> list[str]:
    """The hosts for which a service is declared."""
    declarations = inventory.declarations_by_host(settings)
    return [host for host, services in declarations.items() if name in services]


def _require_another_machine(name: str, c: Connection, declared: Sequence[Connection]) -> None:
    """Require that no host for which the service is declared is this one under another name.

    Raises:
        NotReadyError: one is.
    """
    for other in declared:
        same_name = (other.host, other.port) == (c.host, c.port)
        if same_name or set(tls_client.resolve(str(other.host))) & set(tls_client.resolve(str(c.host))):
            what = f"{name} is declared for {other.original_host}, which is this host under another name"
            raise NotReadyError(what, host=str(c.original_host), remedy="name the host in one way everywhere")
