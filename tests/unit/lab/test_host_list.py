"""What a lab says of its hosts after it was brought up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.layout import Lab
from lab.machine import host_list, platforms

if TYPE_CHECKING:
    from pathlib import Path


def test_a_host_without_ipv4_is_known_by_its_ipv6_address(tmp_path: Path) -> None:
    lab = Lab("mesh", tmp_path)
    lab.state.mkdir(parents=True)
    platforms_of = platforms.assign(["h1", "h2"], ["h2=trixie+ipv6-only"])
    host_list.write(lab, platforms_of)
    assert host_list.read(lab) == platforms_of
    assert host_list.needs_ipv6(lab)
    assert [host_list.address(lab, host) for host in ("h1", "h2", "h3")] == ["10.87.0.11", "fd87::c", "10.87.0.13"]
