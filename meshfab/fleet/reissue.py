"""`reissue`: new keys and certificates for services that have valid ones, on all hosts at once."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from meshfab.config import inventory, validation
from meshfab.config.password import hide_sudo_password
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import InputError
from meshfab.fleet import check_certs, host_runs
from meshfab.provisioning.reissue import Reissue
from meshfab.provisioning.request import MintingMeans, ProvisionRequest, minting_means
from meshfab.ssh.interruptions import one_interruption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.fleet.host_outcome import HostOutcome, OnResult


@one_interruption()
def reissue(
    hosts: Sequence[str] | None = None,
    *,
    names: Sequence[str] | None = None,
    provisioner: str | None = None,
    before: datetime | None = None,
    settings: Settings | None = None,
    config: Any = None,
    dry_run: bool = False,
    on_result: OnResult | None = None,
) -> tuple[HostOutcome, ...]:
    """Replace the keys and certificates of services, though they are valid: a key leaked, or a provisioner's key.

    Each new pair is checked, put in place, loaded and proved as `mint` does it. A second call with the same
    `provisioner` or `before` does what is left.

    Args:
        hosts: the hosts; None takes the hosts of the settings and those of the declared services.
        names: the services' short names; None takes all that are declared for the hosts. A service that is not declared
            needs `hosts`.
        provisioner: the provisioner that mints from now on, instead of the one in the settings: every pair that comes
            from another one is replaced, and no other.
        before: with a time zone; only keys that were made before this moment are replaced. step-ca dates back, so one
            that is less than 90 s older counts as new. None replaces all.
        settings: the mesh's conventions and `services`; None reads them from `config`.
        config: an Invoke or Fabric configuration to carry on.
        dry_run: read only, and return what would be replaced.
        on_result: called with each host's outcome when it arrives, and the number of hosts that are still missing.

    Raises:
        InputError: an argument, a declaration or the password is not usable. Nothing was connected yet.
    """
    settings = settings or Settings.load(config if config is not None else {})
    if provisioner:
        settings = dataclasses.replace(settings, provisioner=provisioner)
    hide_sudo_password(config)
    chosen = choose(hosts, names, settings)
    rule = Reissue(before and _moment(before), settings.provisioner if provisioner else "")
    with closing(MintingMeans() if dry_run else minting_means(settings)) as means:

        def request_for(host: str) -> ProvisionRequest:
            return ProvisionRequest(
                services=chosen[host],
                settings=settings,
                parts=frozenset({"mint"}),
                password=means.password,
                signer=means.signer,
                dry_run=dry_run,
                covers_all_services=names is None,
                reissue=rule,
            )

        return host_runs.run_all(tuple(chosen), request_for, settings, config, on_result)


def choose(
    hosts: Sequence[str] | None, names: Sequence[str] | None, settings: Settings
) -> dict[str, tuple[Service, ...]]:
    """The services of each host that are named.

    Raises:
        InputError: a declaration, a name or a host is not valid; or a name is not declared, and no host is given.
    """
    listed = check_certs.requested_hosts(hosts, settings)
    declared = {host: inventory.services(host, settings) for host in listed}
    if names is None:
        return {host: services for host, services in declared.items() if services or hosts}
    chosen: dict[str, tuple[Service, ...]] = {}
    for host, services in declared.items():
        known = {service.name: service for service in services}
        undeclared = () if not hosts else tuple(Service.of(name, settings) for name in names if name not in known)
        chosen[host] = (*(service for service in services if service.name in names), *undeclared)
    found = {service.name for services in chosen.values() for service in services}
    for name in map(validation.label, names):
        if name not in found:
            raise InputError(f"{name} is not declared in meshfab.services", remedy="give its host with --host")
    return {host: services for host, services in chosen.items() if services}


def _moment(before: datetime) -> datetime:
    if before.tzinfo is None:
        raise InputError("the moment for reissue has no time zone", remedy="give one: 2026-11-26T09:30+00:00")
    if before > datetime.now(timezone.utc):
        raise InputError("the moment for reissue is in the future", remedy="give one that has passed")
    return before.astimezone(timezone.utc)
