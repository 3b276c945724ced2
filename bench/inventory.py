"""Which service is on which host, and the inventory file of each contender."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.schedule import JOBS_OF_ONE_MORE, SERVICES
from lab import layout

if TYPE_CHECKING:
    from bench.schedule import Scenario

BENCH_FOLDER = Path(__file__).parent
_ONE_HOST = "h2"


@dataclass(frozen=True)
class Site:
    """One service on one host: w7 on h7, so that every name has one address; and w7-2, w7-3 … where it has more."""

    host: str
    number: int = 1

    @property
    def name(self) -> str:
        """The short name of the service."""
        return f"w{layout.number(self.host)}" + (f"-{self.number}" if self.number > 1 else "")

    @property
    def fqdn(self) -> str:
        """The name that clients connect to."""
        return f"{self.name}.{layout.DOMAIN}"

    @property
    def nginx_user(self) -> str:
        """The user that the key's ACL is for. Ansible and pyinfra read it from their inventory."""
        return "www-data" if layout.flavour(self.host) == "debian" else "nginx"


@dataclass(frozen=True)
class Inventory:
    """A folder with an inventory of the same sites for every contender.

    Attributes:
        folder: where the inventory files are.
        sites: the services that are declared.
        more: a service that is provisioned after them, on a host with many; None where that is not measured.
    """

    folder: Path
    sites: tuple[Site, ...]
    more: Site | None = None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of the sites."""
        return tuple(dict.fromkeys(site.host for site in self.sites))

    def sites_of(self, job: str) -> tuple[Site, ...]:
        """The sites that a job provisions."""
        return (self.more,) if self.more and job in JOBS_OF_ONE_MORE else self.sites

    @property
    def only_site(self) -> Site | None:
        """The site, where there is just one to provision."""
        return self.sites[0] if len(self.sites) == 1 and self.more is None else None

    @property
    def host_list(self) -> Path:
        """One host on each line, for xargs."""
        return self.folder / "hosts"

    @property
    def site_list(self) -> Path:
        """One host and its service on each line, for xargs."""
        return self.folder / "sites"

    @property
    def invoke(self) -> Path:
        """The configuration file for `inv -f`."""
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
    def control_sockets(self) -> Path:
        """The folder of shared SSH connections. A socket path has at most 108 bytes, so this path must be short."""
        return self.folder / "s"

    def write(self) -> None:
        """Write every inventory file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        variables = {site.host: {"service": site.name, "nginx_user": site.nginx_user} for site in self.sites}
        self.host_list.write_text("".join(f"{host}\n" for host in self.hosts))
        self.site_list.write_text("".join(f"{site.host} {site.name}\n" for site in self.sites))
        # JSON is valid YAML, so no YAML library is needed here.
        services = {site.name: {"host": site.host} for site in self.sites}
        self.invoke.write_text(json.dumps({"meshfab": {"services": services}}))
        self.ansible.write_text(json.dumps({"all": {"hosts": variables}}))
        self.pyinfra.write_text(f"mesh = {list(variables.items())!r}\n")


def sites(count: int) -> tuple[Site, ...]:
    """The first `count` sites. A single site is on h2, because a host with one service uses the Fedora layout."""
    return (Site(_ONE_HOST),) if count == 1 else tuple(Site(host) for host in layout.host_names(count))


def inventory_of(scenario: Scenario, folder: Path) -> Inventory:
    """The inventory of a scenario, in a folder of its own."""
    folder = folder / f"{scenario.hosts}-{scenario.services}"
    if scenario.series != SERVICES:
        return Inventory(folder, sites(scenario.hosts))
    one_host = tuple(Site(_ONE_HOST, number) for number in range(1, scenario.services + 2))
    return Inventory(folder, one_host[:-1], more=one_host[-1])
