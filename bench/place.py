"""Where the benchmark works: which service lies on which host, and the files that tell each contender so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lab import layout

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Site:
    """One service on one host: w7 on h7, so that every name has one address."""

    host: str

    @property
    def name(self) -> str:
        """The service's short name."""
        return f"w{layout.number(self.host)}"

    @property
    def fqdn(self) -> str:
        """What clients call it."""
        return f"{self.name}.{layout.DOMAIN}"

    @property
    def nginx_user(self) -> str:
        """Whom the key's ACL is for; the rivals are told, and need not look."""
        return "www-data" if layout.flavour(self.host) == "debian" else "nginx"


@dataclass(frozen=True)
class Place:
    """A folder with an inventory of the same sites for every contender."""

    folder: Path
    sites: tuple[Site, ...]

    @property
    def hosts(self) -> Path:
        """A host a line, for xargs."""
        return self.folder / "hosts"

    @property
    def pairs(self) -> Path:
        """Host and service a line, for xargs."""
        return self.folder / "pairs"

    @property
    def settings(self) -> Path:
        """For `inv -f`."""
        return self.folder / "invoke.yaml"

    @property
    def ansible(self) -> Path:
        """Ansible's inventory."""
        return self.folder / "ansible.yaml"

    @property
    def pyinfra(self) -> Path:
        """pyinfra's inventory."""
        return self.folder / "pyinfra.py"

    @property
    def sockets(self) -> Path:
        """For shared SSH connections. A socket's path has 108 bytes, so the folder is not to lie deep."""
        return self.folder / "s"

    def write(self) -> None:
        """Write every inventory."""
        self.folder.mkdir(parents=True, exist_ok=True)
        told = {site.host: {"service": site.name, "nginx_user": site.nginx_user} for site in self.sites}
        self.hosts.write_text("".join(f"{site.host}\n" for site in self.sites))
        self.pairs.write_text("".join(f"{site.host} {site.name}\n" for site in self.sites))
        # JSON is YAML too, and a library for YAML is none of ours.
        services = {site.name: {"host": site.host} for site in self.sites}
        self.settings.write_text(json.dumps({"meshfab": {"services": services}}))
        self.ansible.write_text(json.dumps({"all": {"hosts": told}}))
        self.pyinfra.write_text(f"mesh = {list(told.items())!r}\n")


def sites(count: int) -> tuple[Site, ...]:
    """So many sites. One alone is on h2: the host of one service is laid out as Fedora does it."""
    return (Site("h2"),) if count == 1 else tuple(Site(host) for host in layout.host_names(count))
