"""Verified hosts only: known_hosts as OpenSSH reads it, for the host and for every jump host."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meshfab.errors import HostKeyError
from meshfab.ssh.connection import connect, ensure_open, make_strict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

HOST = "h3"


@pytest.fixture(scope="module", autouse=True)
def no_penalties(mesh: Mesh) -> Iterator[None]:
    """OpenSSH 9.8 and newer refuses an address for a while after many logins that were broken off."""
    config = "/etc/ssh/sshd_config.d/penalties.conf"
    is_known = "sshd -T | grep -qi '^persourcepenalties '"
    mesh.hosts.run(HOST, f"! {is_known} || {{ echo 'PerSourcePenalties no' >{config} && systemctl reload ssh; }}")
    yield
    mesh.hosts.run(HOST, f"rm -f {config}; systemctl reload ssh")


@pytest.fixture
def key() -> str:
    """The host's own key, as the operator's known_hosts has it: type and base64."""
    lines = Path("~/.ssh/known_hosts").expanduser().read_text().splitlines()
    return next(line.split(" ", 1)[1] for line in lines if line.startswith(f"{HOST}.internal"))


@pytest.fixture
def other_key() -> str:
    lines = Path("~/.ssh/known_hosts").expanduser().read_text().splitlines()
    return next(line.split(" ", 1)[1] for line in lines if line.startswith("h1.internal"))


@pytest.fixture
def ssh_config(tmp_path: Path) -> Path:
    config = tmp_path / "config"
    identity = Path("~/.ssh/id_ed25519").expanduser()
    config.write_text(
        f"Host aliased\n HostName {HOST}.internal\n HostKeyAlias the-third\n"
        f"Host jumped\n HostName {HOST}.internal\n ProxyJump h1\n"
        "Host h?\n HostName %h.internal\n"
        f"Host *\n User ops\n IdentityFile {identity}\n IdentitiesOnly yes\n"
        f" UserKnownHostsFile {tmp_path}/known {tmp_path}/more\n GlobalKnownHostsFile none\n"
    )
    return config


def is_accepted(host: str, config: Path) -> bool:
    with connect(host, ssh_config=str(config)) as c:
        try:
            ensure_open(c)
        except HostKeyError:
            return False
        return True


def test_refused_connections_are_closed_and_do_not_keep_the_next_login_out(ssh_config: Path, key: str) -> None:
    (ssh_config.parent / "known").write_text("")
    # sshd drops logins at random from the tenth that is unauthenticated, and all at a hundred (MaxStartups 10:30:100).
    assert not any(is_accepted(HOST, ssh_config) for _ in range(30))
    (ssh_config.parent / "known").write_text(f"{HOST}.internal {key}\n")
    assert is_accepted(HOST, ssh_config)


def test_a_host_is_accepted_by_any_file_that_ssh_would_read(ssh_config: Path, key: str) -> None:
    (ssh_config.parent / "more").write_text(f"# a comment\n\n{HOST}.internal {key}\n")
    assert is_accepted(HOST, ssh_config)


@pytest.mark.parametrize("line", ["*.internal,!h1.internal", "h3.internal,10.0.0.1", "H3.INTERNAL", "h?.internal"])
def test_patterns_match_as_in_openssh(ssh_config: Path, key: str, line: str) -> None:
    (ssh_config.parent / "known").write_text(f"{line} {key}\n")
    assert is_accepted(HOST, ssh_config)


def test_a_hashed_name_is_found(ssh_config: Path, key: str, mesh: Mesh) -> None:
    known = ssh_config.parent / "known"
    known.write_text(f"{HOST}.internal {key}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    assert f"{HOST}.internal" not in known.read_text()
    assert is_accepted(HOST, ssh_config)
    assert mesh.hosts.names()


def test_an_alias_stands_for_the_name(ssh_config: Path, key: str) -> None:
    (ssh_config.parent / "known").write_text(f"{HOST}.internal {key}\n")
    assert not is_accepted("aliased", ssh_config)
    (ssh_config.parent / "known").write_text(f"the-third {key}\n")
    assert is_accepted("aliased", ssh_config)


def test_an_unknown_key_is_refused_with_the_lines_to_run(ssh_config: Path) -> None:
    with connect(HOST, ssh_config=str(ssh_config)) as c, pytest.raises(HostKeyError) as refused:
        ensure_open(c)
    assert f"ssh-keyscan {HOST}.internal" in refused.value.remedy
    assert "console" in refused.value.remedy
    assert "nothing was sent" in refused.value.what


def test_a_changed_key_is_refused_though_one_line_of_another_host_has_it(
    ssh_config: Path, key: str, other_key: str
) -> None:
    (ssh_config.parent / "known").write_text(f"{HOST}.internal {other_key}\nh9.internal {key}\n")
    with connect(HOST, ssh_config=str(ssh_config)) as c, pytest.raises(HostKeyError) as refused:
        ensure_open(c)
    assert "NOT the one" in refused.value.what
    assert f"ssh-keygen -R '{HOST}.internal'" in refused.value.remedy


def test_a_revoked_key_is_refused_though_it_is_on_record(ssh_config: Path, key: str) -> None:
    (ssh_config.parent / "known").write_text(f"{HOST}.internal {key}\n@revoked * {key}\n")
    with connect(HOST, ssh_config=str(ssh_config)) as c, pytest.raises(HostKeyError, match="revoked"):
        ensure_open(c)


class TestRevokedHostKeys:
    """meshfab and `ssh` decide alike about a key that known_hosts lists."""

    @pytest.fixture
    def revoked(self, ssh_config: Path, key: str, mesh: Mesh) -> Path:
        assert HOST in mesh.hosts.names()
        file = ssh_config.parent / "revoked"
        (ssh_config.parent / "known").write_text(f"{HOST}.internal {key}\n")
        ssh_config.write_text(f"RevokedHostKeys {file}\n{ssh_config.read_text()}")
        return file

    def decisions(self, config: Path) -> tuple[bool, bool]:
        """Whether we connect, and whether `ssh` does."""
        argv = ["ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", HOST, "true"]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode in (0, 255), done.stderr
        return is_accepted(HOST, config), done.returncode == 0

    def test_a_list_that_has_another_key_only(self, ssh_config: Path, revoked: Path, other_key: str) -> None:
        revoked.write_text(f"# lost\n\n{other_key} a comment\n")
        assert self.decisions(ssh_config) == (True, True)

    def test_a_list_that_has_the_key(self, ssh_config: Path, revoked: Path, key: str, other_key: str) -> None:
        revoked.write_text(f"# lost\n  {other_key}\n{key} a comment\n")
        assert self.decisions(ssh_config) == (False, False)

    @pytest.mark.parametrize("is_revoked", [True, False])
    def test_a_krl(self, ssh_config: Path, revoked: Path, key: str, other_key: str, is_revoked: bool) -> None:
        public = revoked.with_name("lost.pub")
        public.write_text(f"{key if is_revoked else other_key}\n")
        subprocess.run(["ssh-keygen", "-q", "-k", "-f", revoked, public], check=True, capture_output=True)
        assert self.decisions(ssh_config) == (not is_revoked, not is_revoked)

    @pytest.mark.parametrize(
        "content", [None, "nonsense\n", "ssh-ed25519\n", "ssh-ed25519 AAAA\n", "SSHKRL\n\0cut"], ids=ascii
    )
    def test_a_file_that_cannot_be_read(self, ssh_config: Path, revoked: Path, content: str | None) -> None:
        if content is not None:
            revoked.write_text(content)
        assert self.decisions(ssh_config) == (False, False)


def test_a_ca_line_neither_breaks_the_file_nor_lets_a_plain_key_in(ssh_config: Path, key: str, other_key: str) -> None:
    known = ssh_config.parent / "known"
    known.write_text(f"@cert-authority *.internal {other_key}\n")
    with connect(HOST, ssh_config=str(ssh_config)) as c, pytest.raises(HostKeyError, match="certificate of the CA"):
        ensure_open(c)
    known.write_text(f"@cert-authority *.internal {other_key}\n{HOST}.internal {key}\n")
    assert is_accepted(HOST, ssh_config)


def test_every_jump_host_is_held_to_the_same_rules(ssh_config: Path, key: str, other_key: str) -> None:
    known = ssh_config.parent / "known"
    known.write_text(f"{HOST}.internal {key}\n")
    assert not is_accepted("jumped", ssh_config)
    known.write_text(f"{HOST}.internal {key}\nh1.internal {other_key}\n")
    assert is_accepted("jumped", ssh_config)
    known.write_text(f"h1.internal {other_key}\n")
    assert not is_accepted("jumped", ssh_config)


def test_accept_new_puts_an_unknown_key_on_record_and_still_refuses_a_changed_one(
    ssh_config: Path, other_key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    known = ssh_config.parent / "known"
    with connect(HOST, ssh_config=str(ssh_config), accept_new=True) as c:
        ensure_open(c)
    assert known.read_text().startswith(f"{HOST}.internal ssh-ed25519 ")
    assert "was added to" in capsys.readouterr().err
    assert is_accepted(HOST, ssh_config)
    known.write_text(f"{HOST}.internal {other_key}\n")
    with connect(HOST, ssh_config=str(ssh_config), accept_new=True) as c, pytest.raises(HostKeyError):
        ensure_open(c)


def test_a_connection_that_was_open_under_fabrics_own_rules_is_judged_before_use(tmp_path: Path) -> None:
    from fabric import Config, Connection

    config = tmp_path / "config"
    identity = Path("~/.ssh/id_ed25519").expanduser()
    config.write_text(f"Host *\n User ops\n IdentityFile {identity}\n UserKnownHostsFile {tmp_path}/none\n")
    with Connection(f"{HOST}.internal", config=Config(runtime_ssh_path=str(config))) as c:
        c.open()
        with pytest.raises(HostKeyError):
            make_strict(c)


def test_the_setting_reaches_the_command_line(inv: Inv, ssh_config: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"meshfab: {{ssh_config: {ssh_config}, host_keys: accept-new}}\n")
    done = inv("-f", str(settings), "provision", "--name", "anything", "--host", HOST, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "was added to" in done.stderr
