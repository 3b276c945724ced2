"""The hosts of a lab: what each of them runs, and its mesh address, which follows from that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import layout
from lab.machine import platforms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lab.layout import Lab
    from lab.machine.platforms import Platform


def write(lab: Lab, platforms_of: Mapping[str, Platform]) -> None:
    """Write down which hosts the lab has."""
    _path(lab).write_text("".join(f"{name} {platform}\n" for name, platform in platforms_of.items()))


def read(lab: Lab) -> dict[str, Platform]:
    """The platform of each host of the lab, up or down."""
    rows = (line.split() for line in _path(lab).read_text().splitlines())
    return {name: platforms.parse(platform) for name, platform in rows}


def address(lab: Lab, host: str) -> str:
    """The address to which the host's names lead."""
    platform = read(lab).get(host)
    return layout.ipv6(host) if platform and platform.is_ipv6_only else layout.address(host)


def needs_ipv6(lab: Lab) -> bool:
    """Whether a host reaches the CA by IPv6 only; the others reach it by IPv4, for which its faults are made."""
    return any(platform.is_ipv6_only for platform in read(lab).values())


def _path(lab: Lab) -> Path:
    return lab.state / "hosts.txt"
