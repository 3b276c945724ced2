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


def key(text: str, key_type: str = "ssh-ed25519") -> tuple[str, bytes]:
    """A key type and a key in wire format: the type, then bytes that are unique to the key."""
    name = key_type.encode()
    return key_type, len(name).to_bytes(4, "big") + name + len(text).to_bytes(4, "big") + text.encode()


def line(names: str, host_key: tuple[str, bytes], marker: str = "") -> str:
    return f"{marker} {names} {host_key[0]} {base64.b64encode(host_key[1]).decode()} a comment\n".lstrip()


KEY, OTHER_KEY, RSA_KEY = key("o" * 32), key("x" * 32), key("r" * 64, "ssh-rsa")


def verdict(text: str, host: str = "h2", port: int = 22, observed: tuple[str, bytes] = KEY, alias: str = "") -> str:
    records = known_hosts.lookup(known_hosts.parse([("/kh", text)]), host, port, alias)
    return records.verdict(*observed)[0]


VERDICTS = {
    "an empty file": ("", "unknown"),
    "the key": (line("h2", KEY), "known"),
    "another key": (line("h2", OTHER_KEY), "changed"),
    "a key of another type only": (line("h2", RSA_KEY), "changed"),
    "one of several keys": (line("h2", OTHER_KEY) + line("h2", RSA_KEY) + line("h2", KEY), "known"),
    "one of several names": (line("h1,h2,10.87.0.12", KEY), "known"),
    "the key of another host": (line("h1", KEY), "unknown"),
    "upper case in the file": (line("H2", KEY), "known"),
    "every host": (line("*", KEY), "known"),
    "one character": (line("h?", KEY), "known"),
    "one character too many": (line("h??", KEY), "unknown"),
    "negated": (line("*,!h2", KEY), "unknown"),
    "negated first": (line("!h2,*", KEY), "unknown"),
    "negated for another": (line("!h1,h*", KEY), "known"),
    "only a negated name": (line("!h1", KEY), "unknown"),
    "brackets are not a set of characters": (line("[gh]2", KEY), "unknown"),
    "revoked": (line("h2", KEY, "@revoked"), "revoked"),
    "revoked and listed as a host key too": (line("h2", KEY) + line("*", KEY, "@revoked"), "revoked"),
    "another one revoked": (line("h2", KEY) + line("*", OTHER_KEY, "@revoked"), "known"),
    "revoked for another host": (line("h1", KEY, "@revoked") + line("h2", KEY), "known"),
    "only an authority": (line("*", OTHER_KEY, "@cert-authority"), "authority"),
    "an authority and the host key": (line("*", OTHER_KEY, "@cert-authority") + line("h2", KEY), "known"),
    "an authority is not a host key": (line("h2", KEY, "@cert-authority"), "authority"),
    "an unknown marker": (line("h2", KEY, "@whatever"), "unknown"),
    "comment": (f"# {line('h2', KEY)}", "unknown"),
    "spaces before it": (f"   {line('h2', KEY)}", "known"),
    "invalid lines around it": (
        "\n\0junk\nh2\nh2 ssh-ed25519\nh2 ssh-ed25519 !!!\n" + line("h2", KEY) + "|1|x",
        "known",
    ),
    "invalid hashes": (line("|1|abc", KEY) + line("|1||", KEY) + line("|1|a|b|c", KEY), "unknown"),
}


@pytest.mark.parametrize(("text", "expected"), VERDICTS.values(), ids=VERDICTS)
def test_the_verdict_is_that_of_openssh(text: str, expected: str) -> None:
    assert verdict(text) == expected


PORTS = {
    "an entry with the port": (line("[h2]:2222", KEY), "known"),
    "an entry without a port": (line("h2", KEY), "known"),
    "an entry with the port is preferred": (line("[h2]:2222", OTHER_KEY) + line("h2", KEY), "changed"),
    "another port": (line("[h2]:2223", KEY), "unknown"),
    "pattern": (line("[h*]:2222", KEY), "known"),
    "every host": (line("*", KEY), "known"),
    "revoked without a port": (line("[h2]:2222", KEY) + line("h2", KEY, "@revoked"), "revoked"),
}


@pytest.mark.parametrize(("text", "expected"), PORTS.values(), ids=PORTS)
def test_a_host_on_another_port_is_looked_up_with_its_port_first(text: str, expected: str) -> None:
    assert verdict(text, port=2222) == expected


def test_an_entry_for_another_port_does_not_match_port_22() -> None:
    assert verdict(line("[h2]:2222", KEY)) == "unknown"


def test_an_alias_replaces_name_and_port() -> None:
    text = line("bastion", KEY) + line("h2", OTHER_KEY)
    assert verdict(text, alias="bastion") == "known"
    assert verdict(text, port=2222, alias="Bastion") == "known"
    assert verdict(line("h2", KEY), alias="bastion") == "unknown"


def test_host_names_are_compared_without_case() -> None:
    assert verdict(line("h2.internal", KEY), host="H2.Internal") == "known"


def test_the_verdict_has_the_location_of_the_entry_that_decides() -> None:
    text = line("h1", KEY) + line("h2", RSA_KEY) + line("h2", OTHER_KEY)
    records = known_hosts.lookup(known_hosts.parse([("/a", "# nothing\n"), ("/b", text)]), "h2")
    assert records.verdict(*OTHER_KEY) == ("known", "/b:3")
    # For a changed key it is the entry of the same key type.
    assert records.verdict(*KEY) == ("changed", "/b:3")


def test_key_types_are_listed_once_in_the_order_of_the_file() -> None:
    text = line("h2", RSA_KEY) + line("h2", KEY) + line("h2", OTHER_KEY) + line("h2", key("z", "ecdsa"), "@revoked")
    assert known_hosts.lookup(known_hosts.parse([("/kh", text)]), "h2").key_types == ("ssh-rsa", "ssh-ed25519")
    assert HostKeyRecords(()).key_types == ()


@given(st.text(max_size=200))
def test_a_file_of_random_text_makes_no_key_known(text: str) -> None:
    assert verdict(text) != "known"


@given(st.text(max_size=100).map(lambda text: text.replace("\r", "")))
def test_random_text_before_an_entry_does_not_hide_it(text: str) -> None:
    assert verdict(f"{text}\n{line('h2', KEY)}") == "known"


NAMES = [("h2", 22), ("h2", 2222), ("10.87.0.12", 22), ("fd00::12", 22), ("fd00::12", 2222)]


@pytest.mark.parametrize(("host", "port"), NAMES)
def test_a_hashed_name_is_found(host: str, port: int) -> None:
    text = line(known_hosts.hash_name(known_hosts.host_name(host, port)), KEY)
    assert verdict(text, host, port) == "known"
    assert verdict(text, "h3", port) == "unknown"


needs_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH's ssh-keygen")


@pytest.fixture
def real_key(tmp_path: Path) -> tuple[str, bytes]:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    key_type, text = (tmp_path / "key.pub").read_text().split()[:2]
    return key_type, base64.b64decode(text)


@needs_keygen
def test_names_that_ssh_keygen_hashed_are_found(tmp_path: Path, real_key: tuple[str, bytes]) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("".join(line(known_hosts.host_name(host, port), real_key) for host, port in NAMES))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert all(hashed.startswith("|1|") for hashed in file.read_text().splitlines())
    for host, port in NAMES:
        assert verdict(file.read_text(), host, port, real_key) == "known"
    assert verdict(file.read_text(), "h3", 22, real_key) == "unknown"


@needs_keygen
@pytest.mark.parametrize("pattern", ["h2", "h?", "h*", "*", "!h2,*", "h1,h2", "[gh]2", "H2", "h3", "*.internal"])
def test_ssh_keygen_finds_the_same_patterns(tmp_path: Path, real_key: tuple[str, bytes], pattern: str) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(line(pattern, real_key))
    result = subprocess.run(["ssh-keygen", "-F", "h2", "-f", str(file)], check=False, capture_output=True)
    assert (verdict(file.read_text(), "h2", 22, real_key) == "known") is (result.returncode == 0)


@needs_keygen
def test_ssh_keygen_finds_names_that_were_hashed_here(tmp_path: Path, real_key: tuple[str, bytes]) -> None:
    file = tmp_path / "known_hosts"
    for host, port in NAMES:
        name = known_hosts.host_name(host, port)
        file.write_text(line(known_hosts.hash_name(name), real_key))
        result = subprocess.run(["ssh-keygen", "-F", name, "-f", str(file)], check=False, capture_output=True)
        assert result.returncode == 0
