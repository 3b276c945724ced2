"""The lab's checks before it changes anything, and the guard that keeps unit tests away from networks."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from lab import layout
from lab.errors import LabError
from lab.machine import packages


def test_a_lab_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match=r"needs root .* sudo"):
        packages.require_machine()


def test_a_lab_needs_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(LabError, match="needs Linux"):
        packages.require_machine()


@pytest.mark.parametrize("name", ["Mesh", "../up", "a b", "-n", "x" * 32])
def test_the_name_of_a_lab_is_a_lower_case_word(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHFAB_LAB_NAME", name)
    with pytest.raises(LabError, match="MESHFAB_LAB_NAME"):
        layout.current()


@pytest.mark.parametrize("host", ["h0", "h01", "x1", "h1.internal", "h4001", "h2;id"])
def test_hosts_are_numbered_from_one(host: str) -> None:
    with pytest.raises(LabError, match="are called h1"):
        layout.number(host)


def test_each_of_4000_hosts_has_its_own_address() -> None:
    assert len({layout.address(host) for host in layout.host_names(4000)}) == 4000
    assert len(layout.port("h4000")) <= 15


def test_a_test_outside_the_lab_cannot_connect() -> None:
    with pytest.raises(pytest.fail.Exception, match="outside the lab"):
        socket.create_connection(("127.0.0.1", 9))
    for port in (socket.socket(), socket.socket(type=socket.SOCK_DGRAM)):
        with port, pytest.raises(pytest.fail.Exception, match="outside the lab"):
            port.connect(("127.0.0.1", 9))


def test_a_test_outside_the_lab_cannot_resolve_names() -> None:
    with pytest.raises(pytest.fail.Exception, match="outside the lab"):
        socket.getaddrinfo("h2.internal", 22)


def test_a_test_outside_the_lab_has_an_empty_home() -> None:
    assert list(Path.home().iterdir()) == []
    assert Path("~/.ssh").expanduser().parent == Path.home()
