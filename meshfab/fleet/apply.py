"""`apply`: every declared service on every host at once, each host by one run of its own."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from meshfab.config import inventory
from meshfab.config.password import hide_sudo_password
from meshfab.config.settings import Settings
from meshfab.dns import opening
from meshfab.fleet import check_certs, host_runs, publish
from meshfab.fleet import prune as pruning
from meshfab.provisioning.request import Consent, MintingMeans, ProvisionRequest, minting_means
from meshfab.ssh.interruptions import one_interruption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.fleet.host_outcome import HostOutcome, OnResult


@one_interruption()
def apply(
    hosts: Sequence[str] | None = None,
    *,
    settings: Settings | None = None,
    config: Any = None,
    dry_run: bool = False,
    force: bool = False,
    start: bool = False,
    prune: bool = False,
    on_result: OnResult | None = None,
) -> tuple[HostOutcome, ...]:
    """Take every declared service to a certificate that is served, trusted and renews itself, on all hosts at once.

    A host's error is not raised: it is in its outcome, and no host waits for another. Services that are on a host and
    not declared are named there and left unchanged, unless `prune` is given. Ctrl-C stops the active runs, which clean
    up, and starts no more.

    Args:
        hosts: the hosts; None takes the hosts of the settings and those of the declared services.
        settings: the mesh's conventions and `services`; None reads them from `config`.
        config: an Invoke or Fabric configuration to carry on.
        dry_run: read only, and return the steps with a diff of each file.
        force: overwrite files of ours that were edited by hand, and take addresses from a host's other servers.
        start: start nginx where it is stopped.
        prune: retire what meshfab set up on a host and is not declared for it any more, as `retire` does it, without a
            question. What it would retire is in the outcomes of a dry run.
        on_result: called with each host's outcome when it arrives, and the number of hosts that are still missing.

    Raises:
        InputError: a declaration, a host or the password file is not usable. Nothing was connected yet.
    """
    settings = settings or Settings.load(config if config is not None else {})
    hide_sudo_password(config)
    names = check_certs.requested_hosts(hosts, settings)
    if prune:
        pruning.require_declared(names, settings)
    opening.require_usable(settings)
    with closing(MintingMeans() if dry_run else minting_means(settings)) as means:
        consent = Consent(force, start)
        outcomes = provision_all(names, settings, means, config, consent=consent, dry_run=dry_run, on_result=on_result)
        if settings.dns:
            outcomes = publish.publish_outcomes(outcomes, settings, config, dry_run=dry_run)
        return pruning.prune(outcomes, settings, means, config, dry_run=dry_run, force=force) if prune else outcomes


@one_interruption()
def provision_all(
    hosts: Sequence[str],
    settings: Settings,
    means: MintingMeans,
    config: Any = None,
    *,
    consent: Consent,
    dry_run: bool = False,
    on_result: OnResult | None = None,
) -> tuple[HostOutcome, ...]:
    """The first half of `apply`, for who asks a person between the two: provision what is declared.

    Args:
        hosts: the hosts.
        settings: the mesh's conventions and `services`.
        means: what is minted with.
        config: an Invoke or Fabric configuration to carry on.
        consent: what the operator agreed to.
        dry_run: read only.
        on_result: called with each host's outcome when it arrives, and the number of hosts that are still missing.
    """

    def request_for(host: str) -> ProvisionRequest:
        return ProvisionRequest(
            services=inventory.services(host, settings),
            settings=settings,
            password=means.password,
            signer=means.signer,
            consent=consent,
            dry_run=dry_run,
            covers_all_services=True,
        )

    return host_runs.run_all(hosts, request_for, settings, config, on_result)
