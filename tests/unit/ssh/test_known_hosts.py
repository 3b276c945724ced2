"""known_hosts, read as OpenSSH reads it."""

from __future__ import annotations

import base64
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfab.ssh import known_hosts
from meshfab.ssh.known_hosts import HostKeyRecords

if TYPE_CHECKING:
    from pathlib import Path


def key(text: str, kind: str = "ssh-ed25519") -> tuple[str, bytes]:
    """A key as the wire carries it: its kind, then something that differs from the others'."""
    name = kind.encode()
    return kind, len(name).to_bytes(4, "big") + name + len(text).to_bytes(4, "big") + text.encode()


def line(names: str, of: tuple[str, bytes], marker: str = "") -> str:
    return f"{marker} {names} {of[0]} {base64.b64encode(of[1]).decode()} a comment\n".lstrip()


OURS, OTHER, THIRD = key("o" * 32), key("x" * 32), key("r" * 64, "ssh-rsa")


def verdict(text: str, host: str = "h2", port: int = 22, shown: tuple[str, bytes] = OURS, alias: str = "") -> str:
    known = known_hosts.lookup(known_hosts.parse([("/kh", text)]), host, port, alias)
    return known.verdict(*shown)[0]


VERDICTS = {
    "nothing on record": ("", "unknown"),
    "the key": (line("h2", OURS), "known"),
    "another key": (line("h2", OTHER), "changed"),
    "another kind of key only": (line("h2", THIRD), "changed"),
    "one of several": (line("h2", OTHER) + line("h2", THIRD) + line("h2", OURS), "known"),
    "one of several names": (line("h1,h2,10.87.0.12", OURS), "known"),
    "somebody else's": (line("h1", OURS), "unknown"),
    "capitals in the file": (line("H2", OURS), "known"),
    "any": (line("*", OURS), "known"),
    "one character": (line("h?", OURS), "known"),
    "one character too many": (line("h??", OURS), "unknown"),
    "negated": (line("*,!h2", OURS), "unknown"),
    "negated first": (line("!h2,*", OURS), "unknown"),
    "negated for another": (line("!h1,h*", OURS), "known"),
    "negated alone": (line("!h1", OURS), "unknown"),
    "brackets are no set of characters": (line("[gh]2", OURS), "unknown"),
    "revoked": (line("h2", OURS, "@revoked"), "revoked"),
    "revoked though on record": (line("h2", OURS) + line("*", OURS, "@revoked"), "revoked"),
    "another one revoked": (line("h2", OURS) + line("*", OTHER, "@revoked"), "known"),
    "revoked for another host": (line("h1", OURS, "@revoked") + line("h2", OURS), "known"),
    "an authority alone": (line("*", OTHER, "@cert-authority"), "authority"),
    "an authority beside the key": (line("*", OTHER, "@cert-authority") + line("h2", OURS), "known"),
    "an authority is no host key": (line("h2", OURS, "@cert-authority"), "authority"),
    "an unknown marker": (line("h2", OURS, "@whatever"), "unknown"),
    "comment": (f"# {line('h2', OURS)}", "unknown"),
    "blanks before it": (f"   {line('h2', OURS)}", "known"),
    "junk around it": ("\n\0junk\nh2\nh2 ssh-ed25519\nh2 ssh-ed25519 !!!\n" + line("h2", OURS) + "|1|x", "known"),
    "a hash that is none": (line("|1|abc", OURS) + line("|1||", OURS) + line("|1|a|b|c", OURS), "unknown"),
}


@pytest.mark.parametrize(("text", "expected"), VERDICTS.values(), ids=VERDICTS)
def test_a_key_is_judged_as_openssh_judges_it(text: str, expected: str) -> None:
    assert verdict(text) == expected


PORTS = {
    "its own entry": (line("[h2]:2222", OURS), "known"),
    "the bare name": (line("h2", OURS), "known"),
    "its own entry counts more": (line("[h2]:2222", OTHER) + line("h2", OURS), "changed"),
    "another port": (line("[h2]:2223", OURS), "unknown"),
    "pattern": (line("[h*]:2222", OURS), "known"),
    "any": (line("*", OURS), "known"),
    "revoked by its bare name": (line("[h2]:2222", OURS) + line("h2", OURS, "@revoked"), "revoked"),
}


@pytest.mark.parametrize(("text", "expected"), PORTS.values(), ids=PORTS)
def test_a_host_on_another_port_has_entries_of_its_own(text: str, expected: str) -> None:
    assert verdict(text, port=2222) == expected


def test_an_entry_for_another_port_is_not_for_22() -> None:
    assert verdict(line("[h2]:2222", OURS)) == "unknown"


def test_an_alias_stands_for_name_and_port() -> None:
    text = line("bastion", OURS) + line("h2", OTHER)
    assert verdict(text, alias="bastion") == "known"
    assert verdict(text, port=2222, alias="Bastion") == "known"
    assert verdict(line("h2", OURS), alias="bastion") == "unknown"


def test_capitals_in_the_hosts_name_do_not_matter() -> None:
    assert verdict(line("h2.internal", OURS), host="H2.Internal") == "known"


def test_the_line_that_decided_is_told() -> None:
    text = line("h1", OURS) + line("h2", THIRD) + line("h2", OTHER)
    known = known_hosts.lookup(known_hosts.parse([("/a", "# nothing\n"), ("/b", text)]), "h2")
    assert known.verdict(*OTHER) == ("known", "/b:3")
    # A changed key is told by the line of its own kind.
    assert known.verdict(*OURS) == ("changed", "/b:3")


def test_the_kinds_on_record_come_once_in_their_order() -> None:
    text = line("h2", THIRD) + line("h2", OURS) + line("h2", OTHER) + line("h2", key("z", "ecdsa"), "@revoked")
    assert known_hosts.lookup(known_hosts.parse([("/kh", text)]), "h2").key_types == ("ssh-rsa", "ssh-ed25519")
    assert HostKeyRecords(()).key_types == ()


@given(st.text(max_size=200))
def test_any_file_is_read_and_proves_nothing_by_itself(text: str) -> None:
    assert verdict(text) != "known"


@given(st.text(max_size=100).map(lambda text: text.replace("\r", "")))
def test_junk_before_an_entry_does_not_hide_it(text: str) -> None:
    assert verdict(f"{text}\n{line('h2', OURS)}") == "known"


NAMES = [("h2", 22), ("h2", 2222), ("10.87.0.12", 22), ("fd00::12", 22), ("fd00::12", 2222)]


@pytest.mark.parametrize(("host", "port"), NAMES)
def test_a_name_that_we_hash_is_found_again(host: str, port: int) -> None:
    text = line(known_hosts.hash_name(known_hosts.host_name(host, port)), OURS)
    assert verdict(text, host, port) == "known"
    assert verdict(text, "h3", port) == "unknown"


needs_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH's ssh-keygen")


@pytest.fixture
def real_key(tmp_path: Path) -> tuple[str, bytes]:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    kind, text = (tmp_path / "key.pub").read_text().split()[:2]
    return kind, base64.b64decode(text)


@needs_keygen
def test_what_ssh_keygen_hashes_is_found_by_us(tmp_path: Path, real_key: tuple[str, bytes]) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("".join(line(known_hosts.host_name(host, port), real_key) for host, port in NAMES))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert all(hashed.startswith("|1|") for hashed in file.read_text().splitlines())
    for host, port in NAMES:
        assert verdict(file.read_text(), host, port, real_key) == "known"
    assert verdict(file.read_text(), "h3", 22, real_key) == "unknown"


@needs_keygen
@pytest.mark.parametrize("pattern", ["h2", "h?", "h*", "*", "!h2,*", "h1,h2", "[gh]2", "H2", "h3", "*.internal"])
def test_ssh_keygen_and_we_find_the_same(tmp_path: Path, real_key: tuple[str, bytes], pattern: str) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(line(pattern, real_key))
    found = subprocess.run(["ssh-keygen", "-F", "h2", "-f", str(file)], check=False, capture_output=True)
    assert (verdict(file.read_text(), "h2", 22, real_key) == "known") is (found.returncode == 0)


@needs_keygen
def test_ssh_keygen_finds_what_we_hashed(tmp_path: Path, real_key: tuple[str, bytes]) -> None:
    file = tmp_path / "known_hosts"
    for host, port in NAMES:
        name = known_hosts.host_name(host, port)
        file.write_text(line(known_hosts.hash_name(name), real_key))
        found = subprocess.run(["ssh-keygen", "-F", name, "-f", str(file)], check=False, capture_output=True)
        assert found.returncode == 0
