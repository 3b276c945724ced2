"""RevokedHostKeys, as OpenSSH reads it: a revoked key is refused, and every key if the file is unreadable."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from paramiko import ECDSAKey, PKey, RSAKey

from meshfab.errors import HostKeyError
from meshfab.ssh.connection import connect, make_strict

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mock import MockerFixture

KEY, OTHER_KEY, RSA = ECDSAKey.generate(), ECDSAKey.generate(), RSAKey.generate(2048)
needs_ssh_keygen = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen reads KRLs")


def line(key: PKey) -> str:
    return f"{key.get_name()} {key.get_base64()} a comment\n"


@pytest.fixture(autouse=True)
def known(ssh: Path) -> None:
    """Every key is on record for the host, and `revoked` is where the SSH configuration says."""
    (ssh / "config").write_text("Host *\n  RevokedHostKeys ~/.ssh/revoked\n")
    (ssh / "known_hosts").write_text("".join(f"h2 {line(key)}" for key in (KEY, OTHER_KEY, RSA)))


def present(key: PKey, host: str = "h2", *, accept_new: bool = False) -> None:
    """The host presents its key: call the policy as paramiko does."""
    c = connect(host, accept_new=accept_new)
    c.client._policy.missing_host_key(c.client, str(c.host), key)


def krl(ssh: Path, *keys: PKey) -> None:
    files = []
    for number, key in enumerate(keys):
        files.append(ssh / f"{number}.pub")
        files[-1].write_text(line(key))
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", ssh / "revoked", *files], check=True, capture_output=True)


def test_a_key_in_the_list_is_refused_and_another_is_not(ssh: Path) -> None:
    (ssh / "revoked").write_text(f"# lost\n\n \t{line(RSA)}{line(KEY)}")
    present(OTHER_KEY)
    for key in (KEY, RSA):
        with pytest.raises(HostKeyError, match=r"is revoked by .*/\.ssh/revoked \(RevokedHostKeys\)") as caught:
            present(key)
        assert "\n" not in str(caught.value)


@needs_ssh_keygen
def test_a_key_in_a_krl_is_refused_and_another_is_not(ssh: Path) -> None:
    krl(ssh, KEY, RSA)
    present(OTHER_KEY)
    for key in (KEY, RSA):
        with pytest.raises(HostKeyError, match="is revoked by"):
            present(key)


def test_a_revoked_key_of_a_new_host_is_not_accepted_either(ssh: Path) -> None:
    (ssh / "revoked").write_text(line(KEY))
    with pytest.raises(HostKeyError, match="is revoked by"):
        present(KEY, "h3", accept_new=True)
    names = [line.split()[0] for line in (ssh / "known_hosts").read_text().splitlines()]
    assert "h3" not in names


@pytest.mark.parametrize("is_open", [False, True])
def test_a_jump_host_and_an_open_connection_are_held_to_it(ssh: Path, mocker: MockerFixture, is_open: bool) -> None:
    (ssh / "revoked").write_text(line(KEY))
    with (ssh / "config").open("a") as config:
        config.write("Host h9\n  ProxyJump h2\n")
    if not is_open:
        gateway: Any = connect("h9").gateway
        with pytest.raises(HostKeyError, match="is revoked by"):
            gateway.client._policy.missing_host_key(gateway.client, "h2", KEY)
        return
    from fabric import Connection

    c = Connection("h2")
    mocker.patch.object(Connection, "is_connected", True)
    c.transport = mocker.Mock()
    c.transport.get_remote_server_key.return_value = KEY
    with pytest.raises(HostKeyError, match="is revoked by"):
        make_strict(c)


@pytest.mark.parametrize(
    "content",
    [None, "a folder", "nonsense\n", "ssh-ed25519\n", "ssh-ed25519 AAAA\n", "ssh-ed25519 !\n", b"SSHKRL\n\0cut"],
    ids=ascii,
)
def test_a_file_that_cannot_be_read_refuses_every_host(ssh: Path, content: str | bytes | None) -> None:
    revoked = ssh / "revoked"
    if content == "a folder":
        revoked.mkdir()
    elif content is not None:
        revoked.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(HostKeyError, match=r"RevokedHostKeys .*/\.ssh/revoked cannot be read") as caught:
        present(OTHER_KEY)
    assert "\n" not in str(caught.value)


def test_a_krl_without_ssh_keygen_refuses_every_host(ssh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (ssh / "revoked").write_bytes(b"SSHKRL\n\0")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(HostKeyError, match="a KRL needs the program ssh-keygen"):
        present(OTHER_KEY)


def test_an_ssh_keygen_that_hangs_refuses_the_host(ssh: Path, mocker: MockerFixture) -> None:
    (ssh / "revoked").write_bytes(b"SSHKRL\n\0")
    mocker.patch("meshfab.ssh.revoked_keys.subprocess.run", side_effect=subprocess.TimeoutExpired("ssh-keygen", 10))
    with pytest.raises(HostKeyError, match="ssh-keygen does not end"):
        present(OTHER_KEY)


@pytest.mark.parametrize(
    ("option", "names"),
    [("none", ()), ('"~/.ssh/with a blank"', ("with a blank",)), ("~/.ssh/one ~/.ssh/two", ("one", "two"))],
)
def test_the_option_names_no_file_or_one_or_several(ssh: Path, option: str, names: tuple[str, ...]) -> None:
    (ssh / "config").write_text(f"Host *\n  RevokedHostKeys {option}\n")
    for name in names:
        (ssh / name).write_text("")
    present(KEY)
    for name in names:
        (ssh / name).write_text(line(KEY))
        with pytest.raises(HostKeyError, match=f"is revoked by .*/{name}"):
            present(KEY)
        (ssh / name).write_text("")


def test_a_quote_without_its_end_refuses_every_host(ssh: Path) -> None:
    (ssh / "config").write_text("Host *\n  RevokedHostKeys ~/.ssh/it's\n")
    with pytest.raises(HostKeyError, match="cannot be read"):
        present(KEY)
