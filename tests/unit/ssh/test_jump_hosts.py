"""The pool of jump hosts: chains from the SSH configuration, shared connections and a shared configuration."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from fabric import Config

from meshfab.errors import ConnectError, HostKeyError, LostError
from meshfab.ssh import connection as module
from meshfab.ssh.connection import connect, ensure_jump_host_open
from meshfab.ssh.fabric_connection import JumpHost
from meshfab.ssh.jump_hosts import JumpHostPool

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mock import MockerFixture


@pytest.fixture
def ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path / ".ssh" / "config"


def chain(host: str, jumps: JumpHostPool | None = None, config: Any = None) -> list[str]:
    """The names of the jump hosts in order, and of the host."""
    c = connect(host, config, jumps=jumps)
    names = []
    while c:
        names.append(c.original_host)
        c = c.gateway
    return names[::-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["h2"]),
        ("Host h2\n ProxyJump none\n", ["h2"]),
        ("Host h2\n ProxyJump a\n", ["a", "h2"]),
        ("Host h2\n ProxyJump a,ops@b:2222\n", ["a", "b", "h2"]),
        ("Host h2\n ProxyJump b\nHost b\n ProxyJump a\n", ["a", "b", "h2"]),
        # In a chain of several, only the first jump host has its own ProxyJump.
        ("Host h2\n ProxyJump b,c\nHost b\n ProxyJump a\nHost c\n ProxyJump x\n", ["a", "b", "c", "h2"]),
        ("Host *\n ProxyJump a\n", ["a", "h2"]),
        ("Host *\n ProxyJump a\nHost a\n HostName 10.0.0.1\n", ["a", "h2"]),
    ],
)
def test_the_chain_is_that_of_the_ssh_configuration(ssh: Path, text: str, expected: list[str]) -> None:
    ssh.write_text(text)
    assert chain("h2") == expected


def test_a_proxy_command_and_a_gateway_of_the_configuration_are_kept(ssh: Path) -> None:
    ssh.write_text("Host h2\n ProxyCommand nc %h %p\n")
    config = Config(overrides={"gateway": "nc -X connect %h %p"})
    assert connect("h2", config).gateway == "nc h2 22"
    assert connect("h1", config).gateway == "nc -X connect %h %p"


def test_connections_of_a_pool_share_a_jump_host_and_others_do_not(ssh: Path) -> None:
    ssh.write_text("Host h?\n ProxyJump a,b\nHost i?\n ProxyJump a\n")
    with JumpHostPool() as jumps:
        h1, h2, i1 = (connect(host, jumps=jumps) for host in ("h1", "h2", "i1"))
    assert h1.gateway is h2.gateway
    assert h1.gateway.gateway is i1.gateway
    assert connect("h1").gateway is not connect("h1").gateway


def test_the_shared_configuration_is_read_once_and_not_changed_by_a_host(ssh: Path) -> None:
    ssh.write_text("Host h1\n IdentityFile ~/one\nHost h2\n IdentityFile ~/two\n")
    config = Config(overrides={"connect_kwargs": {"key_filename": ["/three"], "banner_timeout": 3}})
    with JumpHostPool() as jumps:
        h1, h2 = (connect(host, config, jumps=jumps) for host in ("h1", "h2"))
    assert h1.config is h2.config
    assert [[name.rpartition("/")[2] for name in c.connect_kwargs["key_filename"]] for c in (h1, h2)] == [
        ["three", "one"],
        ["three", "two"],
    ]
    assert dict(h1.config.connect_kwargs) == {"key_filename": ["/three"], "banner_timeout": 3}


def test_making_a_connection_does_not_merge_the_shared_configuration(ssh: Path, mocker: MockerFixture) -> None:
    ssh.write_text("Host h2\n ProxyJump a\n ForwardAgent yes\n")
    with JumpHostPool() as jumps:
        connect("h1", jumps=jumps)
        merge = mocker.spy(Config, "merge")
        connect("h2", jumps=jumps)
    # During a merge it is empty for a moment, and other threads would read that.
    merge.assert_not_called()


def test_a_jump_host_is_opened_once_by_many_threads(ssh: Path, mocker: MockerFixture) -> None:
    ssh.write_text("Host h*\n ProxyJump a\n")
    is_connected, barrier = JumpHost.is_connected, Barrier(8)
    mocker.patch.object(
        JumpHost, "is_connected", property(lambda jump: bool(jump.transport) or is_connected.fget(jump))
    )

    def open_it(jump: Any) -> Any:
        jump.transport = mocker.Mock()
        return jump

    ensure_open = mocker.patch.object(module, "ensure_open", side_effect=open_it)
    with JumpHostPool() as jumps:
        targets = [connect(f"h{number}", jumps=jumps) for number in range(8)]

        def work(c: Any) -> None:
            barrier.wait()
            ensure_jump_host_open(c, 5)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, targets))
    ensure_open.assert_called_once()


def test_a_failed_jump_host_is_tried_once_and_named_in_the_error_of_each_host(ssh: Path, mocker: MockerFixture) -> None:
    ssh.write_text("Host h*\n ProxyJump a\n")
    error = HostKeyError("the host key is unknown", host="a", remedy="look")
    ensure_open = mocker.patch.object(module, "ensure_open", side_effect=error)
    with JumpHostPool() as jumps:
        for name in ("h1", "h2"):
            with pytest.raises(HostKeyError) as caught:
                ensure_jump_host_open(connect(name, jumps=jumps), 5)
            assert str(caught.value) == f"{name}: jump host a: the host key is unknown -> look"
    ensure_open.assert_called_once()


def test_waiting_for_another_thread_that_opens_it_has_a_time_limit(ssh: Path) -> None:
    ssh.write_text("Host h*\n ProxyJump a\n")
    c = connect("h1")
    with c.gateway.open_lock, pytest.raises(LostError, match="h1: jump host a: no answer within 0 s"):
        ensure_jump_host_open(c, 0.01)


def test_a_gateway_of_the_caller_is_named_in_the_error_too(ssh: Path, mocker: MockerFixture) -> None:  # noqa: ARG001
    from fabric import Connection

    mocker.patch.object(module, "ensure_open", side_effect=ConnectError("refused", host="a"))
    with pytest.raises(ConnectError, match="h1: jump host a: refused"):
        ensure_jump_host_open(Connection("h1", gateway=Connection("a")))
