"""A key in a file: made where there is none, and never over another file."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.ca import key_file, public_jwk
from meshfab.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mock import MockerFixture


@pytest.fixture(autouse=True)
def keygen(mocker: MockerFixture) -> Any:
    """ssh-keygen as it is, on a terminal, but with an empty passphrase instead of its prompt."""
    mocker.patch("sys.stdin.isatty", return_value=True)
    run = subprocess.run

    def unasked(argv: list[str], **options: Any) -> Any:
        return run([*argv, *(["-N", ""] if "-C" in argv else [])], **options)

    return mocker.patch("meshfab.ca.key_file.subprocess.run", side_effect=unasked)


@pytest.mark.parametrize(("kind", "algorithm"), [("ecdsa", "ES256"), ("ed25519", "EdDSA")])
def test_a_key_and_its_public_half_are_made(tmp_path: Path, kind: str, algorithm: str) -> None:
    file = tmp_path / "secrets" / "key"
    assert key_file.read_public(file) is None
    key_file.make(file, kind, "provisioner mesh")
    assert file.stat().st_mode & 0o777 == 0o600
    public = key_file.read_public(file)
    assert public
    assert public_jwk.of_ssh_key(public)["alg"] == algorithm
    assert sorted(path.name for path in file.parent.iterdir()) == ["key", "key.pub"]
    assert key_file.is_unprotected(file)


def test_a_link_or_a_file_that_is_in_the_way_stays_as_it_is(tmp_path: Path) -> None:
    target, link, file = tmp_path / "target", tmp_path / "link", tmp_path / "file"
    file.write_text("mine")
    link.symlink_to(target)
    for path in (link, file):
        with pytest.raises(InputError, match=r"cannot be made \(File exists\)"):
            key_file.make(path, "ecdsa", "mesh")
        with pytest.raises(InputError, match="is not the public half"):
            key_file.read_public(path)
    assert (target.exists(), file.read_text()) == (False, "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_an_ssh_keygen_that_fails_leaves_nothing(tmp_path: Path, keygen: Any) -> None:
    keygen.side_effect = lambda argv, **_options: subprocess.CompletedProcess(argv, 1)
    with pytest.raises(InputError, match="made no key"):
        key_file.make(tmp_path / "key", "ecdsa", "mesh")
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_ssh_keygen_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="ssh-keygen is not installed"):
        key_file.make(tmp_path / "key", "ecdsa", "mesh")


def test_another_kind_and_a_pipe_are_refused(tmp_path: Path, mocker: MockerFixture) -> None:
    with pytest.raises(InputError, match="'rsa' is unknown"):
        key_file.make(tmp_path / "key", "rsa", "mesh")
    mocker.patch("sys.stdin.isatty", return_value=False)
    with pytest.raises(InputError, match="no terminal"):
        key_file.make(tmp_path / "key", "ecdsa", "mesh")


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 !!", "\xff"])
def test_a_public_half_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "key.pub").write_text(text, "latin-1")
    with pytest.raises(InputError, match="is not the public half"):
        key_file.read_public(tmp_path / "key")
