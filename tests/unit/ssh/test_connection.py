"""The strict connection: nothing is sent to a host whose key is not in known_hosts."""

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

KEY, OTHER_KEY = ECDSAKey.generate(), ECDSAKey.generate()


def add_known_host(ssh: Path, name: str, key: PKey, marker: str = "") -> None:
    with (ssh / "known_hosts").open("a") as file:
        file.write(f"{marker} {name} {key.get_name()} {key.get_base64()}\n".lstrip())


def policies(c: Connection) -> list[Any]:
    """The host key policies of a connection and of its jump hosts, the target first."""
    result = []
    connection: Any = c
    while connection:
        result.append(connection.client._policy)
        connection = connection.gateway
    return result


def present(c: Connection, key: PKey) -> None:
    """The target presents its key: call its policy as paramiko does."""
    policies(c)[0].missing_host_key(c.client, str(c.host), key)


def test_a_host_in_known_hosts_is_trusted(ssh: Path) -> None:
    add_known_host(ssh, "h2", KEY)
    present(connect("h2"), KEY)


def test_an_unknown_host_is_refused_and_not_added_to_known_hosts(ssh: Path) -> None:
    with pytest.raises(HostKeyError, match="unknown") as caught:
        present(connect("h2"), KEY)
    assert "ssh-keyscan h2" in str(caught.value)
    assert KEY.fingerprint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (ssh / "known_hosts").exists()


def test_a_changed_key_is_refused_with_the_location_of_the_known_key(ssh: Path) -> None:
    add_known_host(ssh, "h2", OTHER_KEY)
    with pytest.raises(HostKeyError, match="NOT") as caught:
        present(connect("h2"), KEY)
    assert f"{ssh}/known_hosts:1" in str(caught.value)
    assert "ssh-keygen -R 'h2'" in str(caught.value)


@pytest.mark.parametrize("marker", ["@revoked", "@cert-authority"])
def test_a_line_with_a_marker_does_not_make_a_key_known(ssh: Path, marker: str) -> None:
    add_known_host(ssh, "*", KEY, marker)
    with pytest.raises(HostKeyError):
        present(connect("h2"), KEY)


def test_a_port_other_than_22_is_looked_up_and_named(ssh: Path) -> None:
    add_known_host(ssh, "[h2]:2222", KEY)
    present(connect("h2:2222"), KEY)
    with pytest.raises(HostKeyError, match="-p 2223"):
        present(connect("h2:2223"), KEY)


@pytest.mark.parametrize("host", ["[fd00::12]", "[fd00::12]:2222", "ops@[fd00::12]:2222"])
def test_an_ipv6_address_is_split_into_address_and_port(ssh: Path, host: str) -> None:  # noqa: ARG001
    c = connect(host)
    assert c.host == "fd00::12"
    assert c.port == (2222 if "2222" in host else 22)


def test_jump_hosts_are_verified_too(ssh: Path) -> None:
    (ssh / "config").write_text("Host h2\n  ProxyJump bastion\nHost bastion\n  HostName 10.0.0.1\n")
    add_known_host(ssh, "h2", KEY)
    c = connect("h2")
    target, jump = policies(c)
    target.missing_host_key(c.client, "h2", KEY)
    with pytest.raises(HostKeyError) as caught:
        jump.missing_host_key(c.gateway.client, "10.0.0.1", KEY)
    assert "bastion" in str(caught.value)


def test_the_known_hosts_options_of_the_ssh_configuration_are_used(ssh: Path) -> None:
    (ssh / "config").write_text(
        "Host a\n  UserKnownHostsFile ~/.ssh/other\nHost b\n  HostKeyAlias fleet\n"
        "Host c\n  UserKnownHostsFile none\nHost d\n  HostName real.example\n"
    )
    (ssh / "other").write_text(f"a {KEY.get_name()} {KEY.get_base64()}\n")
    for name in ("fleet", "c", "real.example"):
        add_known_host(ssh, name, KEY)
    for host in ("a", "b", "d"):
        present(connect(host), KEY)
    with pytest.raises(HostKeyError, match="unknown"):
        present(connect("c"), KEY)


def test_accept_new_adds_an_unknown_key_once(ssh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    present(connect("h2", accept_new=True), KEY)
    assert "warning" in capsys.readouterr().err
    present(connect("h2"), KEY)
    assert (ssh / "known_hosts").stat().st_mode & 0o777 == 0o600
    with pytest.raises(HostKeyError, match="NOT"):
        present(connect("h2", accept_new=True), OTHER_KEY)


def test_accept_new_starts_a_new_line(ssh: Path) -> None:
    (ssh / "known_hosts").write_text(f"h1 {OTHER_KEY.get_name()} {OTHER_KEY.get_base64()}")
    present(connect("h2", accept_new=True), KEY)
    present(connect("h2"), KEY)
    present(connect("h1"), OTHER_KEY)


def test_a_connection_of_the_caller_is_made_strict(ssh: Path) -> None:  # noqa: ARG001
    c = make_strict(Connection("h2", config=Config()))
    with pytest.raises(HostKeyError):
        present(c, KEY)


def test_an_open_connection_to_an_unknown_host_is_refused(ssh: Path, mocker: MockerFixture) -> None:
    c = Connection("h2", config=Config())
    c.transport = mocker.Mock(active=True)
    c.transport.get_remote_server_key.return_value = KEY
    mocker.patch.object(Connection, "is_connected", True)
    with pytest.raises(HostKeyError, match="unknown"):
        make_strict(c)
    add_known_host(ssh, "h2", KEY)
    assert make_strict(c) is c


def test_every_step_of_connecting_has_a_timeout(ssh: Path) -> None:  # noqa: ARG001
    c = connect("h2")
    assert c.connect_timeout == 10
    for key in ("banner_timeout", "auth_timeout", "channel_timeout"):
        assert 0 < c.connect_kwargs[key] <= 60


def test_options_of_the_operator_are_kept(ssh: Path) -> None:
    (ssh / "config").write_text("Host h2\n  ConnectTimeout 3\n  User ops\n  Port 2022\n  HostName 10.87.0.12\n")
    config = Config(overrides={"connect_kwargs": {"banner_timeout": 1}})
    c = connect("h2", config)
    assert (c.user, c.host, c.port, c.connect_timeout) == ("ops", "10.87.0.12", 2022, 3)
    assert c.connect_kwargs["banner_timeout"] == 1
    assert config.connect_kwargs == {"banner_timeout": 1}


def test_another_ssh_configuration_file_can_be_used(ssh: Path, tmp_path: Path) -> None:  # noqa: ARG001
    (tmp_path / "mesh.conf").write_text("Host h2\n  HostName 10.0.0.9\n")
    assert connect("h2", ssh_config=str(tmp_path / "mesh.conf")).host == "10.0.0.9"


def test_a_missing_ssh_configuration_file_is_named(ssh: Path) -> None:  # noqa: ARG001
    with pytest.raises(InputError, match="/nonexistent"):
        connect("h2", ssh_config="/nonexistent")


def test_an_ssh_configuration_that_cannot_be_read_is_an_input_error(ssh: Path) -> None:
    (ssh / "config").write_text("Host h2\n  nonsense\n")
    with pytest.raises(InputError, match="nonsense"):
        connect("h2")


def test_identities_only_does_not_offer_the_default_keys(ssh: Path) -> None:
    (ssh / "config").write_text("Host h2\n  IdentitiesOnly yes\n")
    assert connect("h2").connect_kwargs["look_for_keys"] is False
    assert "look_for_keys" not in connect("h1").connect_kwargs


def test_the_key_types_in_known_hosts_are_preferred(ssh: Path, mocker: MockerFixture) -> None:
    add_known_host(ssh, "h2", KEY)
    options = mocker.Mock(key_types=["ssh-ed25519", "rsa-sha2-512", "ecdsa-sha2-nistp256"])
    transport = mocker.Mock()
    transport.return_value.get_security_options.return_value = options
    mocker.patch("meshfab.ssh.negotiation.NegotiatingTransport", transport)
    connect("h2").connect_kwargs["transport_factory"](mocker.Mock())
    assert options.key_types == ["ecdsa-sha2-nistp256", "ssh-ed25519", "rsa-sha2-512"]


FAILURES = {
    "no such name": (socket.gaierror(-2, "Name or service not known"), "known name"),
    "no answer": (TimeoutError(), "does not answer within"),
    "refused": (NoValidConnectionsError({("10.0.0.1", 22): ConnectionRefusedError()}), "no SSH connection"),
    "no route": (OSError(113, "No route to host"), "No route"),
    "key refused": (AuthenticationException("Authentication failed."), "refused"),
    "no SSH server": (SSHException("Error reading SSH protocol banner"), "banner"),
    "connection closed": (EOFError(), "no SSH connection"),
    "a port that does not exist": (OverflowError("getsockaddrarg: port must be 0-65535."), "port"),
}


@pytest.mark.parametrize(("error", "message"), FAILURES.values(), ids=FAILURES)
def test_an_unreachable_host_is_an_error_of_one_line_with_a_remedy(
    ssh: Path,  # noqa: ARG001
    mocker: MockerFixture,
    error: Exception,
    message: str,
) -> None:
    mocker.patch.object(Connection, "open", autospec=True, side_effect=error)
    with pytest.raises(ConnectError, match=message) as caught:
        ensure_open(connect("h2"))
    assert str(caught.value).startswith("h2: ")
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    assert ("PerSourcePenalties" in caught.value.remedy) == (message == "banner")


def test_an_invoke_context_is_refused() -> None:
    with pytest.raises(InputError, match="Context"):
        ensure_open(Context())


def test_the_host_is_validated_first() -> None:
    with pytest.raises(InputError):
        connect("-oProxyCommand=reboot")


def test_an_ed25519_key_beside_another_key_is_known(ssh: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    private = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    (ssh / "id").write_bytes(private)
    key = Ed25519Key(filename=str(ssh / "id"))
    add_known_host(ssh, "h2", KEY)
    add_known_host(ssh, "h2", key)
    present(connect("h2"), key)


def test_a_user_without_a_name_is_refused_with_a_remedy(ssh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_uid: int) -> None:
        raise KeyError("uid not found")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(InputError, match="has no name -> set USER"):
        connect("h2")
    monkeypatch.setenv("USER", "runner")
    assert connect("ops@h2").user == "ops"
    assert ssh
