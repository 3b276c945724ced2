"""What connections share: jump hosts by the words of the SSH configuration, and the configuration itself."""

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


def way(host: str, jumps: JumpHostPool | None = None, config: Any = None) -> list[str]:
    """The names from the first jump host to the host itself."""
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
        # The words of a chain count, and what its first one has before it.
        ("Host h2\n ProxyJump b,c\nHost b\n ProxyJump a\nHost c\n ProxyJump x\n", ["a", "b", "c", "h2"]),
        ("Host *\n ProxyJump a\n", ["a", "h2"]),
        ("Host *\n ProxyJump a\nHost a\n HostName 10.0.0.1\n", ["a", "h2"]),
    ],
)
def test_the_way_is_that_of_the_ssh_configuration(ssh: Path, text: str, expected: list[str]) -> None:
    ssh.write_text(text)
    assert way("h2") == expected


def test_a_proxy_command_and_a_gateway_of_the_configuration_are_kept(ssh: Path) -> None:
    ssh.write_text("Host h2\n ProxyCommand nc %h %p\n")
    config = Config(overrides={"gateway": "nc -X connect %h %p"})
    assert connect("h2", config).gateway == "nc h2 22"
    assert connect("h1", config).gateway == "nc -X connect %h %p"


def test_those_who_share_have_one_jump_host_and_those_who_do_not_have_their_own(ssh: Path) -> None:
    ssh.write_text("Host h?\n ProxyJump a,b\nHost i?\n ProxyJump a\n")
    with JumpHostPool() as jumps:
        one, two, three = (connect(host, jumps=jumps) for host in ("h1", "h2", "i1"))
    assert one.gateway is two.gateway
    assert one.gateway.gateway is three.gateway
    assert connect("h1").gateway is not connect("h1").gateway


def test_the_configuration_is_read_once_and_nothing_of_one_host_gets_into_it(ssh: Path) -> None:
    ssh.write_text("Host h1\n IdentityFile ~/one\nHost h2\n IdentityFile ~/two\n")
    config = Config(overrides={"connect_kwargs": {"key_filename": ["/three"], "banner_timeout": 3}})
    with JumpHostPool() as jumps:
        one, two = (connect(host, config, jumps=jumps) for host in ("h1", "h2"))
    assert one.config is two.config
    assert [[name.rpartition("/")[2] for name in c.connect_kwargs["key_filename"]] for c in (one, two)] == [
        ["three", "one"],
        ["three", "two"],
    ]
    assert dict(one.config.connect_kwargs) == {"key_filename": ["/three"], "banner_timeout": 3}


def test_a_connection_that_is_made_leaves_the_configuration_of_the_others_alone(
    ssh: Path, mocker: MockerFixture
) -> None:
    ssh.write_text("Host h2\n ProxyJump a\n ForwardAgent yes\n")
    with JumpHostPool() as jumps:
        connect("h1", jumps=jumps)
        merge = mocker.spy(Config, "merge")
        connect("h2", jumps=jumps)
    # Put together anew, it is empty for a moment, in which other threads would read it.
    merge.assert_not_called()


def test_many_at_once_open_it_once(ssh: Path, mocker: MockerFixture) -> None:
    ssh.write_text("Host h*\n ProxyJump a\n")
    real, together = JumpHost.is_connected, Barrier(8)
    mocker.patch.object(JumpHost, "is_connected", property(lambda jump: bool(jump.transport) or real.fget(jump)))

    def open_it(jump: Any) -> Any:
        jump.transport = mocker.Mock()
        return jump

    opened = mocker.patch.object(module, "ensure_open", side_effect=open_it)
    with JumpHostPool() as jumps:
        targets = [connect(f"h{number}", jumps=jumps) for number in range(8)]

        def work(c: Any) -> None:
            together.wait()
            ensure_jump_host_open(c, 5)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, targets))
    opened.assert_called_once()


def test_a_fault_is_found_once_and_said_of_each_by_name(ssh: Path, mocker: MockerFixture) -> None:
    ssh.write_text("Host h*\n ProxyJump a\n")
    fault = HostKeyError("the host key is unknown", host="a", remedy="look")
    opened = mocker.patch.object(module, "ensure_open", side_effect=fault)
    with JumpHostPool() as jumps:
        for name in ("h1", "h2"):
            with pytest.raises(HostKeyError) as caught:
                ensure_jump_host_open(connect(name, jumps=jumps), 5)
            assert str(caught.value) == f"{name}: jump host a: the host key is unknown -> look"
    opened.assert_called_once()


def test_who_waits_for_somebody_elses_opening_waits_no_longer_than_told(ssh: Path) -> None:
    ssh.write_text("Host h*\n ProxyJump a\n")
    c = connect("h1")
    with c.gateway.open_lock, pytest.raises(LostError, match="h1: jump host a: no answer within 0 s"):
        ensure_jump_host_open(c, 0.01)


def test_a_gateway_of_somebody_elses_is_blamed_by_name_too(ssh: Path, mocker: MockerFixture) -> None:  # noqa: ARG001
    from fabric import Connection

    mocker.patch.object(module, "ensure_open", side_effect=ConnectError("refused", host="a"))
    with pytest.raises(ConnectError, match="h1: jump host a: refused"):
        ensure_jump_host_open(Connection("h1", gateway=Connection("a")))
