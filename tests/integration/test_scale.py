"""A crowd of hosts: each has its row, and a sweep keeps no memory and no thread for each of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.scale import cost, sweep
from lab.faults import address_aliases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

FEW, MANY = 20, 60


@pytest.fixture(scope="module")
def names() -> Iterator[list[str]]:
    yield address_aliases.add(MANY, ["h1", "h2"])
    address_aliases.remove()


def test_a_thousand_addresses_are_as_many_hosts(names: list[str], inv: Inv) -> None:
    _, *words = sweep(names[:FEW])
    said = json.loads(inv(*words).stdout)["hosts"]
    assert [host["host"] for host in said] == names[:FEW]
    assert {host["status"] for host in said} == {"ok"}
    # Two machines stand for them, in turn.
    assert [host["certificates"][0]["name"] for host in said[:4]] == ["h1", "h2", "h1", "h2"]


def test_neither_memory_nor_threads_grow_with_the_hosts(names: list[str]) -> None:
    few, many = (cost(sweep(names[:count], "--executor", "threads")) for count in (FEW, MANY))
    assert (few.status, many.status) == (0, 0)
    # Sixteen at once: each has a worker, paramiko's reader and its watch, and a pool for what it serves.
    assert many.threads <= 16 * 4 + 4
    assert (many.megabytes - few.megabytes) / (MANY - FEW) < 0.15
    assert (many.cpu - few.cpu) / (MANY - FEW) < 0.05


def test_processes_know_the_crowd_as_well(names: list[str], inv: Inv) -> None:
    _, *words = sweep(names[:FEW], "--executor", "processes")
    assert {host["status"] for host in json.loads(inv(*words).stdout)["hosts"]} == {"ok"}


def test_the_crowd_goes_as_it_came(mesh: Mesh) -> None:
    address_aliases.add(3, ["h1"])
    address_aliases.remove()
    assert "n000" not in (mesh.lab.home / ".ssh" / "known_hosts").read_text()
    assert mesh.hosts.run("h1", "ls /etc/ssh/sshd_config.d; ip route show table local root 10.87.128.0/17").stdout == ""
