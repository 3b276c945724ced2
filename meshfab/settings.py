"""What the operator may set, under the key `meshfab` of Invoke's configuration, and what a service is.

Defaults live here and the configuration is read as sparse, because Invoke merges collections shallowly: a parent
collection that sets one key under `meshfab` drops every other default of ours (pyinvoke/invoke#782).
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from meshfab import environment, validation
from meshfab.errors import InputError

KEY = "meshfab"
# Settings that are no word of their own grammar: what they must be, in code and in words.
_SHAPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "provisioner_password": (lambda value: isinstance(value, str), "set the path of a file"),
    "ssh_config": (lambda value: value is None or isinstance(value, str), "set the path of a file"),
    "services": (lambda value: isinstance(value, Mapping), "set a mapping of names to hosts"),
    "parallel": (lambda value: type(value) is int and value >= 1, "set a whole number from 1"),
    "host_keys": (lambda value: value in ("strict", "accept-new"), "set strict or accept-new"),
    "ca_mtls": (lambda value: isinstance(value, bool), "set true or false"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The mesh's conventions; every value is checked when the object is made.

    >>> Settings(domain="mesh.example").ca_url
    'https://ca.internal'

    Attributes:
        ca_url: the CA's https URL, as the hosts reach it.
        root: absolute path of the mesh's root certificate (PEM) on every host.
        provisioner: name of the JWK provisioner, up to 128 characters as `step` takes them.
        provisioner_password: file on the operator's machine that holds the provisioner's password, one line; `~` is
            the home.
        domain: the zone, a DNS name; a service is `<name>.<domain>`.
        cert_dir: absolute path of the folder of the certificates on a host.
        key_dir: absolute path of the folder of the keys on a host.
        nginx_user: the user of nginx's workers; None reads it from the host's nginx configuration.
        conf_dir: absolute path of the folder for vhosts; None finds the host's own layout.
        listen: addresses that our vhosts listen on, or networks (10.87.0.0/16) of which a host's own are meant; empty
            for all.
        snippets: a folder on the operator's machine whose templates take the place of those in nginx-snippets/.
        hosts: the hosts that `check-certs` asks beside those of the services, each `[user@]host[:port]`.
        services: declared services, by name: a mapping of `host` or `hosts`, and as in `Service.of`.
        parallel: how many hosts are worked on at once, from 1.
        public_resolvers: addresses of resolvers outside the mesh, which must not know any service's name.
        ssh_config: an SSH configuration file instead of `~/.ssh/config`, for the connections that are made here.
        ca_mtls: False renews by a signed token, for a CA behind a proxy that ends TLS.
        host_keys: "strict" refuses a host whose key is not on record; "accept-new" puts it on record (both as
            StrictHostKeyChecking in ssh_config(5)).

    Raises:
        InputError: a value is not usable; the message names the key.
    """

    ca_url: str = "https://ca.internal"
    root: str = "/etc/pki/ca-trust/source/anchors/root-internal.pem"
    provisioner: str = "lair"
    provisioner_password: str = "~/.step/secrets/provisioner"  # a path  # noqa: S105  # a path
    domain: str = "internal"
    cert_dir: str = "/etc/nginx/tls/cert"
    key_dir: str = "/etc/nginx/tls/key"
    nginx_user: str | None = None
    conf_dir: str | None = None
    listen: tuple[str, ...] = ()
    snippets: str | None = None
    hosts: tuple[str, ...] = ()
    services: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    parallel: int = 16
    public_resolvers: tuple[str, ...] = ()
    ssh_config: str | None = None
    host_keys: str = "strict"
    ca_mtls: bool = True

    def __post_init__(self) -> None:
        """Check every value; sequences become tuples so that the object stays frozen."""
        validation.url(self.ca_url, "meshfab.ca_url", schemes=("https",))
        validation.dns_name(self.domain, "meshfab.domain")
        validation.provisioner(self.provisioner, "meshfab.provisioner")
        for key in ("root", "cert_dir", "key_dir", "conf_dir"):
            if getattr(self, key) is not None:
                validation.path(getattr(self, key), f"meshfab.{key}")
        if self.nginx_user is not None:
            validation.user(self.nginx_user, "meshfab.nginx_user")
        object.__setattr__(self, "hosts", _hosts(self.hosts))
        object.__setattr__(self, "public_resolvers", _addresses(self.public_resolvers))
        for key, (fits, todo) in _SHAPES.items():
            if not fits(getattr(self, key)):
                raise InputError(f"meshfab.{key} is {getattr(self, key)!r}", todo=todo)
        self._check_nginx()

    def _check_nginx(self) -> None:
        # One address, as YAML has it without a list.
        listen: Any = self.listen
        listen = [listen] if isinstance(listen, str) else listen
        if not isinstance(listen, (list, tuple)):
            raise InputError("meshfab.listen is not a list of addresses")
        object.__setattr__(self, "listen", tuple(validation.listen(word, "meshfab.listen") for word in listen))
        if self.snippets is not None and not (isinstance(self.snippets, str) and self.snippets_folder):
            raise InputError(f"meshfab.snippets: {self.snippets!r} is no folder here", todo="name one on this machine")

    @classmethod
    def load(cls, config: Mapping[str, Any] | Any) -> Settings:
        """Read the `meshfab` block of an Invoke or Fabric configuration (or of a plain mapping).

        A key that nothing sets has its default, whatever else a collection of tasks has set.

        >>> Settings.load({"meshfab": {"domain": "mesh.example"}}) == Settings(domain="mesh.example")
        True

        Args:
            config: a task's `c.config`, or `{"meshfab": {…}}`.

        Raises:
            InputError: a key is unknown, or a value is not usable.
        """
        block = _plain(config.get(KEY) or {})
        if not isinstance(block, dict):
            raise InputError(f"the setting '{KEY}' is not a mapping")
        known = {f.name for f in dataclasses.fields(cls)}
        block = {**environment.read(config, KEY, vars(cls())), **block}
        for key in block:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                raise InputError(
                    f"unknown setting {KEY}.{key}",
                    todo=f"did you mean {KEY}.{near[0]}?" if near else f"known are {', '.join(sorted(known))}",
                )
        return cls(**block)

    @property
    def snippets_folder(self) -> Path | None:
        """The operator's own folder of templates, with `~` expanded; None where there is none."""
        folder = Path(self.snippets).expanduser() if self.snippets else None
        return folder if folder and folder.is_dir() else None

    @property
    def password_file(self) -> Path:
        """The provisioner's password file, with `~` expanded."""
        return Path(self.provisioner_password).expanduser()


@dataclass(frozen=True, kw_only=True)
class Service:
    """One `<name>.<domain>` on one host: its names and paths. Make it with `Service.of`.

    Attributes:
        name: the short name, one DNS label.
        fqdn: `<name>.<domain>`.
        sans: the names beside the first, sorted; None when nothing was asked, so that a pair with more names is kept.
        upstream: the URL that nginx proxies to; None answers 200 with a line that names the service.
        mtls: whether nginx shows the pair to the upstream as a client certificate.
        vhost: whether the vhost is ours to write.
        listen: what was asked for in the place of `Settings.listen`; None when nothing was.
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
        sans: tuple[str, ...] | list[str] | None = None,
        upstream: str | None = None,
        mtls: bool = False,
        vhost: bool = True,
        listen: tuple[str, ...] | list[str] | None = None,
    ) -> Service:
        """Check the words and work out the paths.

        >>> wiki = Service.of("wiki", Settings(), sans=["docs.internal"])
        >>> wiki.cert, wiki.names
        ('/etc/nginx/tls/cert/wiki.internal.pem', ('wiki.internal', 'docs.internal'))

        Args:
            name: one DNS label of lower case (RFC 1123, 2.1), without dots.
            settings: the mesh's conventions.
            sans: DNS names beside the first; None leaves them open.
            upstream: the http or https URL that nginx proxies to; None leaves it open.
            mtls: show the pair to the upstream, which then must be https with a name.
            vhost: False leaves the vhost to the operator.
            listen: addresses, networks, or "all", in the place of `Settings.listen`; None leaves it open.

        Raises:
            InputError: a word cannot be used, with the rule it breaks.
        """
        fqdn = f"{validation.label(name)}.{settings.domain}"
        validation.dns_name(fqdn)
        extra = None if sans is None else tuple(sorted({validation.dns_name(san, "the SAN") for san in sans} - {fqdn}))
        if upstream is not None:
            validation.url(upstream, "the upstream")
        if mtls and (upstream is None or not upstream.startswith("https://")):
            raise InputError("mtls needs an upstream that speaks TLS", todo="add --upstream https://HOST:PORT")
        if mtls and upstream and validation.is_address(urlsplit(upstream).hostname or ""):
            # OpenSSL's X509_check_host, which nginx calls, compares names only.
            raise InputError(
                "mtls verifies the upstream by its name, and that is an address", todo="give https://NAME:PORT"
            )
        return cls(
            name=name,
            fqdn=fqdn,
            sans=extra,
            upstream=upstream,
            mtls=mtls,
            vhost=vhost,
            cert=f"{settings.cert_dir}/{fqdn}.pem",
            key=f"{settings.key_dir}/{fqdn}.pem",
            listen=None if not listen else tuple(validation.listen(word) for word in listen),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names that a certificate of this service must carry, the first one first."""
        return (self.fqdn, *(self.sans or ()))

    @property
    def timer(self) -> str:
        """The systemd timer that renews it."""
        return f"step@{self.name}.timer"

    @property
    def env_file(self) -> str:
        """What the renewal tick of this service is told (unit-files/step@.service reads it)."""
        return f"/etc/meshfab/{self.name}.env"

    @property
    def drop_in(self) -> str:
        """What opens another folder for certificates to the renewal unit of this service."""
        return f"/etc/systemd/system/step@{self.name}.service.d/meshfab.conf"

    @property
    def files(self) -> tuple[str, ...]:
        """The files on the host that are this service's alone, beside the pair and the vhost."""
        return (self.env_file, self.drop_in)

    @property
    def secret(self) -> str:
        """Where the provisioner's password lies on the host while it mints."""
        return f"/tmp/{self.name}-provisioner"  # the runbook's path; see meshfab.secret  # noqa: S108  # the runbook's path; see meshfab.secret


def _hosts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise InputError("meshfab.hosts is not a list of hosts")
    return tuple(validation.host(host) for host in value)


def _addresses(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise InputError("meshfab.public_resolvers is not a list of addresses")
    return tuple(validation.address(address, "meshfab.public_resolvers") for address in value)


def _plain(value: Any) -> Any:
    """Invoke's DataProxy objects as plain dicts and lists."""
    if isinstance(value, Mapping) or _is_proxy(value):
        return {key: _plain(value[key]) for key in value}
    return value


def _is_proxy(value: Any) -> bool:
    keys: Callable[[], object] | None = getattr(value, "keys", None)
    return keys is not None and not isinstance(value, type)
