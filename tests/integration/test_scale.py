"""check-certs on many hosts: each has its row, and memory and threads do not grow with the number of hosts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.scale import check_certs, measure
from lab.faults import address_aliases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

FEW, MANY = 20, 60


@pytest.fixture(scope="module")
def names() -> Iterator[list[str]]:
    yield address_aliases.add(MANY, ["h1", "h2"])
    address_aliases.remove()


def test_each_address_is_checked_as_a_host(names: list[str], inv: Inv) -> None:
    _, *args = check_certs(names[:FEW])
    reports = json.loads(inv(*args).stdout)["hosts"]
    assert [report["host"] for report in reports] == names[:FEW]
    assert {report["status"] for report in reports} == {"ok"}
    # The addresses belong to two hosts, in turn; each shows its own pair, whatever services other tests have left.
    shown = [each["name"] for report in reports[:4] for each in report["certificates"] if each["kind"] == "host"]
    assert shown == ["h1", "h2", "h1", "h2"]


@pytest.mark.slow
def test_neither_memory_nor_threads_grow_with_the_hosts(names: list[str]) -> None:
    few, many = (measure(check_certs(names[:count], "--executor", "threads")) for count in (FEW, MANY))
    assert (few.status, many.status) == (0, 0)
    # 16 hosts at a time. Each has a worker, paramiko's reader, a deadline thread and a thread for its service;
    # on a busy machine, the reader of the host before it may not have ended.
    assert many.threads <= 16 * 5 + 4
    assert (many.megabytes - few.megabytes) / (MANY - FEW) < 0.15
    assert (many.cpu - few.cpu) / (MANY - FEW) < 0.05


def test_worker_processes_check_the_same_hosts(names: list[str], inv: Inv) -> None:
    _, *args = check_certs(names[:FEW], "--executor", "processes")
    assert {report["status"] for report in json.loads(inv(*args).stdout)["hosts"]} == {"ok"}


def test_the_addresses_are_removed_without_a_trace(mesh: Mesh) -> None:
    address_aliases.add(3, ["h1"])
    address_aliases.remove()
    assert "n000" not in (mesh.lab.home / ".ssh" / "known_hosts").read_text()
    assert mesh.hosts.run("h1", "ls /etc/ssh/sshd_config.d; ip route show table local root 10.87.128.0/17").stdout == ""
