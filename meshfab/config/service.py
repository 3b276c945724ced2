"""A service: its names, its paths on the host, and its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.config import validation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service `<name>.<domain>` on one host. Make it with `Service.of`, which checks the arguments.

    Attributes:
        name: the short name, one DNS label.
        fqdn: `<name>.<domain>`.
        sans: the other DNS names of the certificate, sorted; None keeps the names of the pair on the host.
        upstream: the URL that nginx proxies to; None: nginx answers 200 with a line that names the service.
        mtls: whether nginx presents the pair to the upstream as a client certificate.
        vhost: whether meshfab writes the vhost.
        listen: the value that replaces `Settings.listen`; None when not given.
        cert: path of the certificate with its chain.
        key: path of the private key.
    """

    name: str
    fqdn: str
    sans: tuple[str, ...] | None
    upstream: str | None
    mtls: bool
    vhost: bool
    cert: str
    key: str
    listen: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        name: str,
        settings: Settings,
        *,
        sans: Sequence[str] | None = None,
        upstream: str | None = None,
        mtls: bool = False,
        vhost: bool = True,
        listen: Sequence[str] | None = None,
    ) -> Service:
        """Check the arguments and build the paths.

        >>> from meshfab.config.settings import Settings
        >>> wiki = Service.of("wiki", Settings(), sans=["docs.internal"])
        >>> wiki.cert, wiki.names
        ('/etc/nginx/tls/cert/wiki.internal.pem', ('wiki.internal', 'docs.internal'))

        Args:
            name: one lower-case DNS label (RFC 1123, 2.1), without dots.
            settings: the mesh's conventions.
            sans: other DNS names of the certificate; None keeps those of an earlier run.
            upstream: the http or https URL that nginx proxies to; None keeps the value of an earlier run.
            mtls: present the pair to the upstream as a client certificate; the upstream must be https://NAME.
            vhost: False leaves the vhost to the operator.
            listen: addresses, networks, or "all", instead of `Settings.listen`; None keeps the earlier value.

        Raises:
            InputError: an argument cannot be used, with the rule that it breaks.
        """
        fqdn = f"{validation.label(name)}.{settings.domain}"
        validation.dns_name(fqdn)
        extra = None if sans is None else tuple(sorted({validation.dns_name(san, "the SAN") for san in sans} - {fqdn}))
        if upstream is not None:
            upstream = validation.url(upstream, "the upstream")
        if mtls:
            validation.mtls_upstream(upstream)
        return cls(
            name=name,
            fqdn=fqdn,
            sans=extra,
            upstream=upstream,
            mtls=mtls,
            vhost=vhost,
            cert=f"{settings.cert_dir}/{fqdn}.pem",
            key=f"{settings.key_dir}/{fqdn}.pem",
            listen=None if not listen else tuple(validation.listen(value) for value in listen),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The DNS names that the certificate must have: `fqdn`, then the SANs."""
        return (self.fqdn, *(self.sans or ()))

    @property
    def timer(self) -> str:
        """The systemd timer of its renewal."""
        return f"step@{self.name}.timer"

    @property
    def env_file(self) -> str:
        """The settings of this service's renewal tick (unit-files/step@.service reads it)."""
        return f"/etc/meshfab/{self.name}.env"

    @property
    def drop_in(self) -> str:
        """The systemd drop-in that lets the renewal unit write to a `cert_dir` other than the default."""
        return f"/etc/systemd/system/step@{self.name}.service.d/meshfab.conf"

    @property
    def files(self) -> tuple[str, ...]:
        """The files on the host that belong to this service only, except the pair and the vhost."""
        return (self.env_file, self.drop_in)

    @property
    def secret(self) -> str:
        """The path of the provisioner's password on the host while it mints."""
        return f"/tmp/{self.name}-provisioner"  # noqa: S108  # the runbook's path; see meshfab.provisioning.password_transfer
