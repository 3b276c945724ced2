"""Names, addresses and paths of a lab. This module changes nothing on the machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

from lab.errors import LabError

DEFAULT_NAME = "meshlab"
DOMAIN = "internal"
PREFIX_LENGTH = 16
OPERATOR_ADDRESS = "10.87.0.1"
CA_ADDRESS = "10.87.0.2"
# Beside IPv4, every machine of the mesh has an address of this network.
IPV6_PREFIX_LENGTH = 64
OPERATOR_IPV6 = "fd87::1"
CA_IPV6 = "fd87::2"
CA_URL = f"https://ca.{DOMAIN}"
PROVISIONER = "lair"
BRIDGE = "mesh"
LOGIN = "ops"
# The layouts of nginx, each made by a recipe on top of the one before.
FLAVOURS = ("debian", "fedora")
ROOT_ON_HOST = Path("/etc/pki/ca-trust/source/anchors/root-internal.pem")

# The addresses of lab/faults/address_aliases.py: one block for each host that gets aliases.
ALIAS_BLOCK_LENGTH = 22
ALIAS_NETWORK = "10.87.128.0/17"
_FIRST_HOST = IPv4Address("10.87.0.10")
_FIRST_IPV6 = IPv6Address("fd87::a")
_MAX_HOSTS = 4000
# The lab's name becomes the name of a network namespace, a folder and a control group; all of them accept a short
# lower-case word. It is not a part of any interface name, which Linux limits to 15 characters.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_HOST = re.compile(r"h([1-9][0-9]{0,3})")


@dataclass(frozen=True)
class Lab:
    """One lab. Its name is the name of its network namespace; its state is in one folder of the checkout."""

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
        """The file that `ip netns exec` mounts over /etc/resolv.conf."""
        return Path("/etc/netns") / self.name / "resolv.conf"

    @property
    def home(self) -> Path:
        return self.state / "operator"

    @property
    def ca(self) -> Path:
        return self.state / "ca"

    @property
    def root(self) -> Path:
        """The CA's root certificate."""
        return self.ca / "certs" / "root_ca.crt"

    @property
    def password(self) -> Path:
        """The file with the provisioner's password."""
        return self.home / ".step" / "secrets" / "provisioner"

    @property
    def hosts(self) -> Path:
        """A tmpfs in the lab's mount namespace; outside the lab this folder is empty."""
        return self.state / "hosts"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def pids(self) -> Path:
        return self.state / "pids"


def current() -> Lab:
    """The lab of this checkout that MESHFAB_LAB_NAME names, or the default one."""
    name = os.environ.get("MESHFAB_LAB_NAME") or DEFAULT_NAME
    if not _NAME.fullmatch(name):
        raise LabError(f"MESHFAB_LAB_NAME={name!r}: use a lower-case word such as {DEFAULT_NAME}")
    return Lab(name, Path(__file__).resolve().parent.parent)


def number(host: str) -> int:
    """The number of a host: 2 for h2."""
    match = _HOST.fullmatch(host)
    if match is None or int(match[1]) > _MAX_HOSTS:
        raise LabError(f"host {host!r}: the lab's hosts are called h1, h2, … h{_MAX_HOSTS}")
    return int(match[1])


def host_names(count: int) -> list[str]:
    """The names of the first `count` hosts."""
    if not 0 <= count <= _MAX_HOSTS:
        raise LabError(f"--hosts {count}: use a number from 0 to {_MAX_HOSTS}")
    return [f"h{index}" for index in range(1, count + 1)]


def address(host: str) -> str:
    """The mesh address of a host."""
    return str(_FIRST_HOST + number(host))


def ipv6(host: str) -> str:
    """The IPv6 address of a host; it is the only one of a host of the variant `ipv6-only`."""
    return str(_FIRST_IPV6 + number(host))


def fqdn(host: str) -> str:
    """The output of `hostname -f` on a host."""
    return f"{host}.{DOMAIN}"


def port(host: str) -> str:
    """The bridge port of a host, as systemd-nspawn names it."""
    return f"vb-h{number(host)}"


def delayed_port(host: str) -> str:
    """The bridge port of a host while its packets are delayed."""
    return f"dl-h{number(host)}"


def flavour(host: str) -> str:
    """The nginx layout of a host: Debian's on odd numbers, Fedora's on even numbers."""
    return FLAVOURS[0] if number(host) % 2 else FLAVOURS[1]


def alias_block(index: int) -> IPv4Network:
    """The block of alias addresses with this index, from 0."""
    size = 1 << (32 - ALIAS_BLOCK_LENGTH)
    return IPv4Network((IPv4Network(ALIAS_NETWORK)[index * size], ALIAS_BLOCK_LENGTH))
