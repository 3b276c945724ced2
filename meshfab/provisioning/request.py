"""The request of a run on one host: built and checked once, then passed to every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from meshfab.config.password_source import obtain

if TYPE_CHECKING:
    from meshfab.config.password import Password
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.provisioning.operator_signing import OperatorSigner
    from meshfab.provisioning.reissue import Reissue

Part = Literal["mint", "renew-enable", "wire-nginx"]
EVERYTHING: frozenset[Part] = frozenset(("mint", "renew-enable", "wire-nginx"))


@dataclass(frozen=True)
class Consent:
    """What the operator agreed to beforehand.

    Attributes:
        force: overwrite a managed file that was edited by hand, and take an address from other servers.
        start: start an nginx that is stopped.
    """

    force: bool = False
    start: bool = False


@dataclass(frozen=True, kw_only=True)
class ProvisionRequest:
    """Services of one host, and the steps to do for them.

    Attributes:
        services: the services.
        settings: the mesh's conventions.
        parts: the requested steps.
        password: the provisioner's, to mint on the host; None if nothing is minted, or not there.
        signer: signs the host's requests here; None if the host mints.
        consent: what the operator agreed to.
        dry_run: read only.
        covers_all_services: whether the host should have no other services; then a run reports undeclared ones.
        reissue: which pairs are replaced although nothing is wrong with them; None for none.
    """

    services: tuple[Service, ...]
    settings: Settings
    parts: frozenset[Part] = EVERYTHING
    password: Password | None = None
    signer: OperatorSigner | None = None
    consent: Consent = Consent()
    dry_run: bool = False
    covers_all_services: bool = False
    reissue: Reissue | None = None


def make_request(
    service: Service,
    settings: Settings,
    parts: frozenset[Part],
    *,
    consent: Consent = Consent(),
    dry_run: bool = False,
) -> ProvisionRequest:
    """A request for one service; reads the password where the run may need it. Its signer must be closed.

    Raises:
        InputError: there is no password that can be used, or no key for the DNS. Nothing was connected.
    """
    if settings.dns and parts == EVERYTHING:
        from meshfab.dns.opening import require_usable

        require_usable(settings)
    means = minting_means(settings) if "mint" in parts and not dry_run else MintingMeans()
    return ProvisionRequest(
        services=(service,),
        settings=settings,
        parts=parts,
        password=means.password,
        signer=means.signer,
        consent=consent,
        dry_run=dry_run,
    )


@dataclass(frozen=True)
class MintingMeans:
    """What a run mints with: the password for the hosts, a signer that keeps it here, or nothing in a dry run."""

    password: Password | None = None
    signer: OperatorSigner | None = None

    def close(self) -> None:
        """Close the signer's connection to the CA."""
        if self.signer:
            self.signer.close()


def revoking_means(settings: Settings) -> MintingMeans:
    """Who signs revocations here: nobody where the hosts mint, since the provisioner's key is never here then.

    It must be closed. Errors as for `minting_means`.
    """
    return MintingMeans() if settings.signing == "host" else minting_means(settings)


def revoking_root(settings: Settings) -> str:
    """The operator's own root, PEM, where a token for a revocation can be signed here; empty where it cannot.

    Raises:
        InputError: it cannot be read.
    """
    from meshfab.ca.client import read_root

    return "" if settings.signing == "host" else read_root(settings.operator_root_file)


def minting_means(settings: Settings) -> MintingMeans:
    """What the setting `signing` asks for. It must be closed.

    Raises:
        InputError: there is no password, ssh-agent, or root of the operator's own, that can be used.
    """
    if settings.signing == "agent":
        return MintingMeans(signer=_operator_signer(settings, None))
    password = obtain(settings)
    if settings.signing == "host":
        return MintingMeans(password)
    return MintingMeans(signer=_operator_signer(settings, password))


def _operator_signer(settings: Settings, password: Password | None) -> OperatorSigner:
    from meshfab.provisioning.operator_signing import OperatorSigner

    return OperatorSigner(settings, password)
