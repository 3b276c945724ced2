"""The strict connection: nothing is sent to a host whose key is not on record."""

from __future__ import annotations

import pwd
import socket
from typing import TYPE_CHECKING, Any

import pytest
from fabric import Config, Connection
from invoke.context import Context
from paramiko import ECDSAKey, Ed25519Key, PKey
from paramiko.ssh_exception import AuthenticationException, NoValidConnectionsError, SSHException

from meshfab.errors import ConnectError, HostKeyError, InputError
from meshfab.ssh.connection import connect, ensure_open, make_strict

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mock import MockerFixture

OURS, OTHER = ECDSAKey.generate(), ECDSAKey.generate()


def on_record(ssh: Path, name: str, key: PKey, marker: str = "") -> None:
    with (ssh / "known_hosts").open("a") as file:
        file.write(f"{marker} {name} {key.get_name()} {key.get_base64()}\n".lstrip())


def policies(c: Connection) -> list[Any]:
    """What paramiko asks about a host's key, for every hop."""
    found = []
    hop: Any = c
    while hop:
        found.append(hop.client._policy)
        hop = hop.gateway
    return found


def show(c: Connection, key: PKey) -> None:
    """The host of the last hop shows its key, as paramiko tells its policy."""
    policies(c)[0].missing_host_key(c.client, str(c.host), key)


def test_a_host_on_record_is_trusted(ssh: Path) -> None:
    on_record(ssh, "h2", OURS)
    show(connect("h2"), OURS)


def test_an_unknown_host_is_refused_and_nothing_put_on_record(ssh: Path) -> None:
    with pytest.raises(HostKeyError, match="unknown") as caught:
        show(connect("h2"), OURS)
    assert "ssh-keyscan h2" in str(caught.value)
    assert OURS.fingerprint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (ssh / "known_hosts").exists()


def test_a_changed_key_is_refused_with_the_line_that_it_contradicts(ssh: Path) -> None:
    on_record(ssh, "h2", OTHER)
    with pytest.raises(HostKeyError, match="NOT") as caught:
        show(connect("h2"), OURS)
    assert f"{ssh}/known_hosts:1" in str(caught.value)
    assert "ssh-keygen -R 'h2'" in str(caught.value)


@pytest.mark.parametrize("marker", ["@revoked", "@cert-authority"])
def test_a_marked_line_is_no_licence(ssh: Path, marker: str) -> None:
    on_record(ssh, "*", OURS, marker)
    with pytest.raises(HostKeyError):
        show(connect("h2"), OURS)


def test_a_port_of_its_own_is_looked_up_and_named(ssh: Path) -> None:
    on_record(ssh, "[h2]:2222", OURS)
    show(connect("h2:2222"), OURS)
    with pytest.raises(HostKeyError, match="-p 2223"):
        show(connect("h2:2223"), OURS)


@pytest.mark.parametrize("word", ["[fd00::12]", "[fd00::12]:2222", "ops@[fd00::12]:2222"])
def test_an_ipv6_address_is_an_address_and_a_port(ssh: Path, word: str) -> None:  # noqa: ARG001
    c = connect(word)
    assert c.host == "fd00::12"
    assert c.port == (2222 if "2222" in word else 22)


def test_jump_hosts_are_verified_too(ssh: Path) -> None:
    (ssh / "config").write_text("Host h2\n  ProxyJump bastion\nHost bastion\n  HostName 10.0.0.1\n")
    on_record(ssh, "h2", OURS)
    c = connect("h2")
    target, jump = policies(c)
    target.missing_host_key(c.client, "h2", OURS)
    with pytest.raises(HostKeyError) as caught:
        jump.missing_host_key(c.gateway.client, "10.0.0.1", OURS)
    assert "bastion" in str(caught.value)


def test_the_ssh_configurations_words_on_known_hosts_are_heeded(ssh: Path) -> None:
    (ssh / "config").write_text(
        "Host a\n  UserKnownHostsFile ~/.ssh/other\nHost b\n  HostKeyAlias fleet\n"
        "Host c\n  UserKnownHostsFile none\nHost d\n  HostName real.example\n"
    )
    (ssh / "other").write_text(f"a {OURS.get_name()} {OURS.get_base64()}\n")
    for name in ("fleet", "c", "real.example"):
        on_record(ssh, name, OURS)
    for host in ("a", "b", "d"):
        show(connect(host), OURS)
    with pytest.raises(HostKeyError, match="unknown"):
        show(connect("c"), OURS)


def test_accept_new_puts_an_unknown_key_on_record_once(ssh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(connect("h2", accept_new=True), OURS)
    assert "warning" in capsys.readouterr().err
    show(connect("h2"), OURS)
    assert (ssh / "known_hosts").stat().st_mode & 0o777 == 0o600
    with pytest.raises(HostKeyError, match="NOT"):
        show(connect("h2", accept_new=True), OTHER)


def test_accept_new_begins_a_line_of_its_own(ssh: Path) -> None:
    (ssh / "known_hosts").write_text(f"h1 {OTHER.get_name()} {OTHER.get_base64()}")
    show(connect("h2", accept_new=True), OURS)
    show(connect("h2"), OURS)
    show(connect("h1"), OTHER)


def test_a_connection_of_somebody_elses_is_made_strict(ssh: Path) -> None:  # noqa: ARG001
    c = make_strict(Connection("h2", config=Config()))
    with pytest.raises(HostKeyError):
        show(c, OURS)


def test_one_that_is_open_to_a_host_that_is_not_on_record_is_refused(ssh: Path, mocker: MockerFixture) -> None:
    c = Connection("h2", config=Config())
    c.transport = mocker.Mock(active=True)
    c.transport.get_remote_server_key.return_value = OURS
    mocker.patch.object(Connection, "is_connected", True)
    with pytest.raises(HostKeyError, match="unknown"):
        make_strict(c)
    on_record(ssh, "h2", OURS)
    assert make_strict(c) is c


def test_a_silent_host_cannot_hold_us_for_an_hour(ssh: Path) -> None:  # noqa: ARG001
    c = connect("h2")
    assert c.connect_timeout == 10
    for key in ("banner_timeout", "auth_timeout", "channel_timeout"):
        assert 0 < c.connect_kwargs[key] <= 60


def test_what_the_operator_has_set_is_kept(ssh: Path) -> None:
    (ssh / "config").write_text("Host h2\n  ConnectTimeout 3\n  User ops\n  Port 2022\n  HostName 10.87.0.12\n")
    config = Config(overrides={"connect_kwargs": {"banner_timeout": 1}})
    c = connect("h2", config)
    assert (c.user, c.host, c.port, c.connect_timeout) == ("ops", "10.87.0.12", 2022, 3)
    assert c.connect_kwargs["banner_timeout"] == 1
    assert config.connect_kwargs == {"banner_timeout": 1}


def test_another_ssh_configuration_can_be_named(ssh: Path, tmp_path: Path) -> None:  # noqa: ARG001
    (tmp_path / "mesh.conf").write_text("Host h2\n  HostName 10.0.0.9\n")
    assert connect("h2", ssh_config=str(tmp_path / "mesh.conf")).host == "10.0.0.9"


def test_an_ssh_configuration_that_is_not_there_is_named(ssh: Path) -> None:  # noqa: ARG001
    with pytest.raises(InputError, match="/nonexistent"):
        connect("h2", ssh_config="/nonexistent")


def test_an_ssh_configuration_that_cannot_be_read_is_an_input_error(ssh: Path) -> None:
    (ssh / "config").write_text("Host h2\n  nonsense\n")
    with pytest.raises(InputError, match="nonsense"):
        connect("h2")


def test_identities_only_forbids_the_keys_of_the_home(ssh: Path) -> None:
    (ssh / "config").write_text("Host h2\n  IdentitiesOnly yes\n")
    assert connect("h2").connect_kwargs["look_for_keys"] is False
    assert "look_for_keys" not in connect("h1").connect_kwargs


def test_the_kinds_of_key_on_record_are_asked_for_first(ssh: Path, mocker: MockerFixture) -> None:
    on_record(ssh, "h2", OURS)
    options = mocker.Mock(key_types=["ssh-ed25519", "rsa-sha2-512", "ecdsa-sha2-nistp256"])
    transport = mocker.Mock()
    transport.return_value.get_security_options.return_value = options
    mocker.patch("paramiko.Transport", transport)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connect("h2").connect_kwargs["transport_factory"](mocker.Mock())
    assert options.key_types == ["ecdsa-sha2-nistp256", "ssh-ed25519", "rsa-sha2-512"]


FAILURES = {
    "no such name": (socket.gaierror(-2, "Name or service not known"), "known name"),
    "silence": (TimeoutError(), "does not answer within"),
    "refused": (NoValidConnectionsError({("10.0.0.1", 22): ConnectionRefusedError()}), "no SSH connection"),
    "no route": (OSError(113, "No route to host"), "No route"),
    "key refused": (AuthenticationException("Authentication failed."), "refused"),
    "no SSH server": (SSHException("Error reading SSH protocol banner"), "banner"),
    "hung up": (EOFError(), "no SSH connection"),
    "a port that does not exist": (OverflowError("getsockaddrarg: port must be 0-65535."), "port"),
}


@pytest.mark.parametrize(("error", "word"), FAILURES.values(), ids=FAILURES)
def test_a_host_that_cannot_be_reached_is_one_line_that_says_what_to_do(
    ssh: Path,  # noqa: ARG001
    mocker: MockerFixture,
    error: Exception,
    word: str,
) -> None:
    mocker.patch.object(Connection, "open", autospec=True, side_effect=error)
    with pytest.raises(ConnectError, match=word) as caught:
        ensure_open(connect("h2"))
    assert str(caught.value).startswith("h2: ")
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_context_is_no_connection_and_told_so() -> None:
    with pytest.raises(InputError, match="Context"):
        ensure_open(Context())


def test_the_word_for_a_host_is_checked_first() -> None:
    with pytest.raises(InputError):
        connect("-oProxyCommand=reboot")


def test_a_key_of_a_kind_that_paramiko_knows_can_be_judged(ssh: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    private = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    (ssh / "id").write_bytes(private)
    key = Ed25519Key(filename=str(ssh / "id"))
    on_record(ssh, "h2", OURS)
    on_record(ssh, "h2", key)
    show(connect("h2"), key)


def test_a_user_without_a_name_is_told_what_to_set(ssh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_number: int) -> None:
        raise KeyError("uid not found")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(InputError, match="has no name -> set USER"):
        connect("h2")
    monkeypatch.setenv("USER", "runner")
    assert connect("ops@h2").user == "ops"
    assert ssh
