"""Names, addresses and folders of a lab. Nothing here touches the machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lab.errors import LabError

DEFAULT_NAME = "meshlab"
DOMAIN = "internal"
PREFIX_LENGTH = 16
OPERATOR_ADDRESS = "10.87.0.1"
CA_ADDRESS = "10.87.0.2"
CA_URL = f"https://ca.{DOMAIN}"
PROVISIONER = "lair"
BRIDGE = "mesh"
LOGIN = "ops"
ROOT_ON_HOST = Path("/etc/pki/ca-trust/source/anchors/root-internal.pem")

# Where a crowd's addresses are (lab/faults/address_aliases.py): a block of them for each host that stands for many.
CROWD_BLOCK_LENGTH = 22
CROWD = "10.87.128.0/17"
_FIRST_HOST = IPv4Address("10.87.0.10")
_MOST_HOSTS = 4000
# Interface names end at 15 characters and the lab's name is part of none, but it is
# part of a namespace, a folder and a cgroup: one short word keeps all of them plain.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_HOST = re.compile(r"h([1-9][0-9]{0,3})")


@dataclass(frozen=True)
class Lab:
    """One lab: its name is its network namespace, its folder holds all of its state."""

    name: str
    checkout: Path

    @property
    def state(self) -> Path:
        return self.checkout / ".lab" / self.name

    @property
    def lock(self) -> Path:
        return self.checkout / ".lab" / f"{self.name}.lock"

    @property
    def namespace(self) -> Path:
        return Path("/run/netns") / self.name

    @property
    def resolver(self) -> Path:
        """Where `ip netns exec` looks for the namespace's resolver."""
        return Path("/etc/netns") / self.name / "resolv.conf"

    @property
    def home(self) -> Path:
        return self.state / "operator"

    @property
    def ca(self) -> Path:
        return self.state / "ca"

    @property
    def root(self) -> Path:
        return self.ca / "certs" / "root_ca.crt"

    @property
    def password(self) -> Path:
        return self.home / ".step" / "secrets" / "provisioner"

    @property
    def hosts(self) -> Path:
        """A tmpfs in the lab's own mount namespace: seen only from inside."""
        return self.state / "hosts"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def pids(self) -> Path:
        return self.state / "pids"


def current() -> Lab:
    """The lab that MESHFAB_LAB_NAME names, else the default one, of this checkout."""
    name = os.environ.get("MESHFAB_LAB_NAME") or DEFAULT_NAME
    if not _NAME.fullmatch(name):
        raise LabError(f"MESHFAB_LAB_NAME={name!r}: use a lower-case word such as {DEFAULT_NAME}")
    return Lab(name, Path(__file__).resolve().parent.parent)


def number(host: str) -> int:
    """The number of a host: 2 for h2."""
    match = _HOST.fullmatch(host)
    if match is None or int(match[1]) > _MOST_HOSTS:
        raise LabError(f"host {host!r}: the lab's hosts are called h1, h2, … h{_MOST_HOSTS}")
    return int(match[1])


def names(count: int) -> list[str]:
    """The names of the first so many hosts."""
    if not 0 <= count <= _MOST_HOSTS:
        raise LabError(f"--hosts {count}: give a number from 0 to {_MOST_HOSTS}")
    return [f"h{index}" for index in range(1, count + 1)]


def address(host: str) -> str:
    """The mesh address of a host."""
    return str(_FIRST_HOST + number(host))


def fqdn(host: str) -> str:
    """What `hostname -f` says on a host."""
    return f"{host}.{DOMAIN}"


def port(host: str) -> str:
    """The bridge's port that leads to a host, as systemd-nspawn calls it."""
    return f"vb-h{number(host)}"


def delayed_port(host: str) -> str:
    """The bridge's port that leads to a host over a long line."""
    return f"dl-h{number(host)}"


def flavour(host: str) -> str:
    """Odd hosts are laid out as Debian does it, even hosts as Fedora does."""
    return "debian" if number(host) % 2 else "fedora"


def crowd_block(index: int) -> IPv4Network:
    """The addresses that the host of this index, from 0, answers to for a crowd."""
    size = 1 << (32 - CROWD_BLOCK_LENGTH)
    return IPv4Network((IPv4Network(CROWD)[index * size], CROWD_BLOCK_LENGTH))
