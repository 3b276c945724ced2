"""What the operator may set, under the key `meshfab` of Invoke's configuration.

The defaults are here and not in the collection of tasks, because Invoke's merge of collections is shallow: a parent
collection that sets one key under `meshfab` drops all other keys (pyinvoke/invoke#782).
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshfab.config import (
    dns_options,
    environment,
    host_pair,
    lists,
    project,
    service_options,
    simple_checks,
    validation,
)
from meshfab.errors import InputError

if TYPE_CHECKING:
    from meshfab.config.dns_options import DnsOptions

KEY = "meshfab"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The mesh's conventions. Every value is checked when the object is made.

    >>> Settings(domain="mesh.example").ca_url
    'https://ca.internal'

    Attributes:
        ca_url: the CA's https URL, as the hosts reach it.
        root: absolute path of the mesh's root certificate (PEM) on every host.
        provisioner: name of the JWK provisioner, up to 128 characters as `step` takes them.
        provisioner_password: path of the file on the operator's machine with the provisioner's password, one line; `~`
            is expanded.
        provisioner_password_command: a program and its arguments, run here without a shell; the first line that it
            prints is the password. It goes before the file.
        ask_password: True prompts for the password in each run, and asks neither the command nor the file.
        provisioner_key: path of a file on the operator's machine with the provisioner's encrypted key, for signing
            there where the CA does not publish it: a JWE, in compact form or as JSON. None asks the CA.
        domain: the DNS domain of the services; a service is `<name>.<domain>`.
        cert_dir: absolute path of the folder of the certificates on a host.
        key_dir: absolute path of the folder of the keys on a host.
        nginx_user: the user of nginx's workers; None reads it from the host's nginx configuration.
        conf_dir: absolute path of the folder for vhosts; None detects the layout of the host.
        listen: addresses that our vhosts listen on, or networks (10.87.0.0/16: the host's addresses in it are meant);
            empty for all.
        hsts_max_age: for how many seconds browsers insist on https for the services' names (Strict-Transport-Security),
            up to 63072000, two years; 0 does not send the header.
        snippets: a folder on the operator's machine whose templates replace those in nginx-snippets/.
        hosts: hosts that `check-certs` checks in addition to those of the services, each `[user@]host[:port]`.
        services: the declared services: name -> options, which are `host` or `hosts`, and the options of `Service.of`.
        parallel: how many hosts are handled at the same time, from 1.
        public_resolvers: addresses of resolvers outside the mesh, which must not know any service's name.
        ssh_config: an SSH configuration file instead of `~/.ssh/config`, for connections that meshfab makes.
        ca_mtls: False renews with a signed token, for a CA behind a proxy that terminates TLS.
        host_keys: "strict" refuses a host whose key is not in known_hosts; "accept-new" adds the key of an unknown
            host (as StrictHostKeyChecking in ssh_config(5)).
        root_fingerprint: SHA-256 of the mesh's root certificate, 64 hex digits, with or without colons. A host whose
            `root` file does not hold exactly this certificate is refused. None takes `fingerprint` from the
            configuration of `step` on this machine, if its `ca-url` is ours.
        signing: "host" mints on the host, where the password lies for a moment. "operator" signs here, where the
            password opens the provisioner's key, and the host sees neither. "agent" signs with the provisioner's key
            in ssh-agent, and needs no password.
        agent_key: fingerprint (`SHA256:…`) or comment of the provisioner's key in ssh-agent, for a CA that does not
            list its provisioners; None finds it by the public key that the CA lists.
        operator_root: path of the mesh's root certificate on the operator's machine, for signing there; None takes
            `~/.step/certs/root_ca.crt` or, if there is none, the path of `root`.
        rekey_after: the age at which the renewal replaces a key, such as "12h", "30d" or "4w"; None keeps keys. A
            declared service may have its own, also "never".
        host_certificate: where hosts have a pair of their own, which `check-certs` checks: a mapping of `cert` and
            `key` to paths with `{hostname}` in them; "off" if they have none; None for the runbook's paths,
            `/etc/pki/tls/misc/{hostname}.pem` and `/etc/pki/tls/private/{hostname}.pem`.
        notify: what a host tells when the renewals of a service begin to fail, and when they are well again: an http or
            https URL, or the absolute path of a program on the host. A service may have its own, also "off".
        ping_url: an http or https URL that each tick pings as healthchecks.io has it: `/start`, then its exit status;
            `{name}` in it becomes the service's name. A service may have its own, also "off".
        textfile_dir: the folder of node_exporter's textfile collector on the hosts, for the metrics of each tick; None
            takes the first of `/var/lib/prometheus/node-exporter` and `/var/lib/node_exporter/textfile_collector` that
            exists on the host; "off" writes none.
        mesh_network: the network of the mesh (10.87.0.0/16), or a list of them: the addresses that published names may
            lead to. It is never a public one.
        dns: how `publish-dns`, `provision`, `apply`, `move` and `retire` write the services' names: a mapping with
            `kind` (`rfc2136`, `hosts-file`, `unbound` or `command`) and its keys, which docs/how-to/dns.md lists; None
            leaves the names to the operator.
        trusted_projects: folders, as absolute paths, whose settings file may belong to others and may set everything.

    Raises:
        InputError: a value is not usable; the message names the key.
    """

    ca_url: str = "https://ca.internal"
    root: str = "/etc/pki/ca-trust/source/anchors/root-internal.pem"
    provisioner: str = "lair"
    provisioner_password: str = "~/.step/secrets/provisioner"  # noqa: S105  # a path
    provisioner_password_command: tuple[str, ...] = ()
    ask_password: bool = False
    provisioner_key: str | None = None
    domain: str = "internal"
    cert_dir: str = "/etc/nginx/tls/cert"
    key_dir: str = "/etc/nginx/tls/key"
    nginx_user: str | None = None
    conf_dir: str | None = None
    listen: tuple[str, ...] = ()
    hsts_max_age: int = 0
    snippets: str | None = None
    hosts: tuple[str, ...] = ()
    services: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    parallel: int = 16
    public_resolvers: tuple[str, ...] = ()
    ssh_config: str | None = None
    host_keys: str = "strict"
    ca_mtls: bool = True
    root_fingerprint: str | None = None
    signing: str = "host"
    agent_key: str | None = None
    operator_root: str | None = None
    rekey_after: str | None = None
    host_certificate: Mapping[str, str] | str | None = None
    notify: str | None = None
    ping_url: str | None = None
    textfile_dir: str | None = None
    mesh_network: tuple[str, ...] = ()
    dns: Mapping[str, Any] | None = None
    trusted_projects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check every value, and turn lists into tuples, so that they cannot be changed."""
        validation.url(self.ca_url, "meshfab.ca_url", schemes=("https",))
        validation.dns_name(self.domain, "meshfab.domain")
        validation.provisioner(self.provisioner, "meshfab.provisioner")
        for key in ("root", "cert_dir", "key_dir", "conf_dir"):
            if getattr(self, key) is not None:
                validation.path(getattr(self, key), f"meshfab.{key}")
        object.__setattr__(self, "textfile_dir", validation.optional_folder(self.textfile_dir, "meshfab.textfile_dir"))
        if self.nginx_user is not None:
            validation.user(self.nginx_user, "meshfab.nginx_user")
        if self.root_fingerprint is not None:
            fingerprint = validation.fingerprint(self.root_fingerprint, "meshfab.root_fingerprint")
            object.__setattr__(self, "root_fingerprint", fingerprint)
        object.__setattr__(self, "provisioner_password_command", lists.words(self.provisioner_password_command))
        object.__setattr__(self, "trusted_projects", lists.folders(self.trusted_projects))
        object.__setattr__(self, "hosts", lists.hosts(self.hosts))
        object.__setattr__(self, "public_resolvers", lists.addresses(self.public_resolvers))
        for key, (is_valid, remedy) in simple_checks.CHECKS.items():
            if not is_valid(getattr(self, key)):
                raise InputError(f"meshfab.{key} is {getattr(self, key)!r}", remedy=remedy)
        self._check_nginx()
        host_pair.patterns(self.host_certificate)
        service_options.check(self)
        object.__setattr__(self, "mesh_network", dns_options.networks(self.mesh_network))
        if self.dns_options and not self.mesh_network:
            what = "meshfab.dns is set, and meshfab.mesh_network is not: where may names lead?"
            raise InputError(what, remedy="set the mesh's network: meshfab.mesh_network: 10.87.0.0/16")

    def _check_nginx(self) -> None:
        # A single address, written without a list in YAML.
        listen: Any = self.listen
        listen = [listen] if isinstance(listen, str) else listen
        if not isinstance(listen, (list, tuple)):
            raise InputError("meshfab.listen is not a list of addresses")
        object.__setattr__(self, "listen", tuple(validation.listen(value, "meshfab.listen") for value in listen))
        if self.snippets is not None and not (isinstance(self.snippets, str) and self.snippets_folder):
            raise InputError(
                f"meshfab.snippets: {self.snippets!r} is not a folder on this machine", remedy="set the path of one"
            )

    @classmethod
    def load(cls, config: Mapping[str, Any] | Any) -> Settings:
        """Read the `meshfab` block of an Invoke or Fabric configuration (or of a plain mapping).

        A key that is not set has its default, even if a collection of tasks sets other keys.

        >>> Settings.load({"meshfab": {"domain": "mesh.example"}}) == Settings(domain="mesh.example")
        True

        Args:
            config: a task's `c.config`, or a mapping such as `{"meshfab": {…}}`.

        Raises:
            InputError: a key is unknown, a value is not usable, or the project's file may not decide it.
        """
        block = _plain(config.get(KEY) or {})
        if not isinstance(block, dict):
            raise InputError(f"the setting '{KEY}' is not a mapping")
        project.require_trusted(config, block.get("trusted_projects"))
        known = {f.name for f in dataclasses.fields(cls)}
        block = {**environment.read(config, KEY, vars(cls())), **block}
        for key in block:
            if key not in known:
                similar = difflib.get_close_matches(str(key), known, n=1)
                raise InputError(
                    f"unknown setting {KEY}.{key}",
                    remedy=f"did you mean {KEY}.{similar[0]}?" if similar else f"use one of {', '.join(sorted(known))}",
                )
        if block.get("root_fingerprint") is None:
            block["root_fingerprint"] = environment.root_fingerprint(config, block.get("ca_url", cls.ca_url))
        return cls(**block)

    @property
    def snippets_folder(self) -> Path | None:
        """The folder of `snippets`, with `~` expanded; None if it is not set or is not a folder."""
        folder = Path(self.snippets).expanduser() if self.snippets else None
        return folder if folder and folder.is_dir() else None

    @property
    def operator_root_file(self) -> Path:
        """The path of `operator_root`, with `~` expanded, or the first of its defaults that exists."""
        if self.operator_root:
            return Path(self.operator_root).expanduser()
        own = Path("~/.step/certs/root_ca.crt").expanduser()
        return own if own.is_file() else Path(self.root)

    @property
    def dns_options(self) -> DnsOptions | None:
        """The setting `dns`, checked; None where names are published by hand."""
        return dns_options.parse(self.dns, self.domain)

    @property
    def password_file(self) -> Path:
        """The path of `provisioner_password`, with `~` expanded."""
        return Path(self.provisioner_password).expanduser()


def _plain(value: Any) -> Any:
    """Convert Invoke's DataProxy objects to plain dictionaries."""
    if isinstance(value, Mapping) or _is_proxy(value):
        return {key: _plain(value[key]) for key in value}
    return value


def _is_proxy(value: Any) -> bool:
    keys: Callable[[], object] | None = getattr(value, "keys", None)
    return keys is not None and not isinstance(value, type)
