"""A service: its names, its paths on the host, and its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from meshfab.config import service_options, validation
from meshfab.errors import InputError

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
        verify_upstream: whether nginx verifies the name and the chain of an https upstream.
        keep_host: whether nginx sends the client's `Host` to an https upstream, instead of the upstream's own name.
        rekey_seconds: the age at which the renewal replaces the key (the setting `rekey_after`); None keeps it.
        notify: who is told when its renewals fail: a URL or a program on the host (the setting `notify`).
        ping_url: what its ticks ping (the setting `ping_url`).
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
    verify_upstream: bool = True
    keep_host: bool = False
    rekey_seconds: int | None = None
    notify: str | None = None
    ping_url: str | None = None

    def __post_init__(self) -> None:
        """Refuse options of an https upstream for another one, and to verify what nginx cannot verify."""
        options = {"mtls": self.mtls, "no-verify-upstream": not self.verify_upstream, "keep-host": self.keep_host}
        given = [option for option, is_given in options.items() if is_given]
        if given and not self.has_https_upstream:
            raise InputError(f"{given[0]} needs an https upstream", remedy="add --upstream https://HOST:PORT")
        host = urlsplit(self.upstream or "").hostname or ""
        if self.has_https_upstream and self.verify_upstream and validation.is_address(host):
            # nginx verifies the upstream with OpenSSL's X509_check_host, which compares names only.
            raise InputError(
                f"nginx verifies an upstream by its name, and {self.upstream} has an address",
                remedy="use --upstream https://NAME:PORT, or add --no-verify-upstream",
            )

    @classmethod
    def of(
        cls,
        name: str,
        settings: Settings,
        *,
        sans: Sequence[str] | None = None,
        upstream: str | None = None,
        mtls: bool = False,
        verify_upstream: bool = True,
        keep_host: bool = False,
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
            mtls: present the pair to the upstream as a client certificate; the upstream must be https.
            verify_upstream: False accepts any certificate of an https upstream; else it must be for the upstream's
                name and chain to `Settings.root`.
            keep_host: send the client's `Host` to an https upstream, instead of the upstream's own name.
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
        return cls(
            name=name,
            fqdn=fqdn,
            sans=extra,
            upstream=upstream,
            mtls=mtls,
            verify_upstream=verify_upstream,
            keep_host=keep_host,
            vhost=vhost,
            cert=f"{settings.cert_dir}/{fqdn}.pem",
            key=f"{settings.key_dir}/{fqdn}.pem",
            listen=None if not listen else tuple(validation.listen(value) for value in listen),
            rekey_seconds=service_options.rekey_seconds(settings, name),
            notify=service_options.notify(settings, name),
            ping_url=service_options.ping_url(settings, name),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The DNS names that the certificate must have: `fqdn`, then the SANs."""
        return (self.fqdn, *(self.sans or ()))

    @property
    def has_https_upstream(self) -> bool:
        """Whether nginx talks TLS to the upstream."""
        return self.upstream is not None and self.upstream.startswith("https://")

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
