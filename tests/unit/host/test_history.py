"""The history of a pair: what the host keeps of earlier certificates, parsed whatever the host answers."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfab.host import certificate, history, resources
from tests.support.certificates import HOUR, NOW, authority

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "ab" * 32
GOOD = f"0A1B 1795435200 1795521600 {DIGEST} lair live"


def test_a_line_is_read_back_as_it_was_written() -> None:
    leaf = replace(certificate.read_leaf(authority().pair("gongfoo.internal").pem), provisioner="our lair")
    (generation,) = history.parse(history.line(leaf)).generations
    assert generation.serial == leaf.serial
    assert (generation.not_before, generation.not_after) == (leaf.not_before, leaf.not_after)
    assert generation.key_digest == history.digest(leaf)
    assert generation.provisioner == "our lair"
    assert not generation.is_revoked


@pytest.mark.parametrize(
    ("name", "written"),
    [("lair", "lair"), ("a b", "a%20b"), ("-", "%2D"), ("", "-"), ("é", "%C3%A9"), ("a\nb", "-"), ("x" * 129, "-")],
)
def test_a_provisioner_is_one_word(name: str, written: str) -> None:
    leaf = certificate.read_leaf(authority().pair("gongfoo.internal").pem)
    assert history.line(replace(leaf, provisioner=name)).split(" ")[4] == written


@pytest.mark.parametrize(
    "row",
    [
        "garbage",
        f"0a1b 1795435200 1795521600 {DIGEST} lair live",
        f"{'F' * 129} 1795435200 1795521600 {DIGEST} lair live",
        f"0A1B 1795521600 1795435200 {DIGEST} lair live",
        f"0A1B 1795435200 999999999999 {DIGEST} lair live",
        f"0A1B 1795435200 1795521600 {DIGEST[:-1]} lair live",
        f"0A1B 1795435200 1795521600 {DIGEST} lair dead",
        f"0A1B 1795435200 1795521600 {DIGEST} %ff live",
        f"0A1B 1795435200 1795521600 {DIGEST} %1b live",
        f"0A1B 1795435200 1795521600 {DIGEST} lair live more",
        f"0A1B  1795435200 1795521600 {DIGEST} lair live",
        f"٣A1B 1795435200 1795521600 {DIGEST} lair live",
        GOOD,
    ],
)
def test_a_line_that_is_no_generation_is_counted_and_the_others_are_read(row: str) -> None:
    parsed = history.parse(f"{GOOD}\n{row}\n\n")
    assert [generation.serial for generation in parsed.generations] == [0x0A1B]
    assert parsed.unreadable == 1


def test_a_long_history_is_cut_and_says_so() -> None:
    rows = [GOOD.replace("0A1B", f"{number:04X}") for number in range(history.MAX_LINES)]
    parsed = history.parse("\n".join([*rows, *rows]))
    assert len(parsed.generations) == history.MAX_LINES
    assert parsed.unreadable == 1


@given(st.text())
def test_any_text_is_parsed(text: str) -> None:
    assert len(history.parse(text).generations) <= history.MAX_LINES


def test_the_age_of_a_key_is_that_of_its_oldest_certificate() -> None:
    key = authority().pair("gongfoo.internal", start=NOW - 50 * HOUR, life=51 * HOUR)
    leaf = certificate.read_leaf(key.pem)
    other = f"FF 1 2 {DIGEST} - revoked"
    parsed = history.parse("\n".join([other, history.line(leaf), GOOD]))
    assert parsed.key_since(history.digest(leaf)) == leaf.not_before
    assert parsed.key_since("0" * 64) is None
    assert parsed.has(leaf)


def test_what_is_live_is_neither_expired_nor_revoked() -> None:
    first, second = GOOD, f"0B {1795435200} {1795521600} {DIGEST} lair revoked"
    parsed = history.parse(f"{first}\n{second}")
    (live,) = parsed.live(parsed.generations[0].not_after - timedelta(seconds=1))
    assert live.serial == 0x0A1B
    assert parsed.live(live.not_after) == ()


def _run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the host's program with another folder than /var/lib/meshfab."""
    program = (resources.folder("unit-files") / "meshfab-history").read_text().replace(history.FOLDER, str(folder))
    return subprocess.run(["sh", "-s", *args], input=program, capture_output=True, text=True, check=False)


def _row(serial: int, end: int = 4_000_000_000, key: str = DIGEST, state: str = "live") -> str:
    return f"{serial:04X} 1 {end} {key} lair {state}"


def test_the_host_adds_a_certificate_once(tmp_path: Path) -> None:
    folder = tmp_path / "meshfab"
    for _ in range(2):
        assert _run(folder, "add", "web", _row(1), "web", _row(2), "other", _row(3)).returncode == 0
    assert (folder / "web.history").read_text() == f"{_row(1)}\n{_row(2)}\n"
    assert (folder / "other.history").read_text() == f"{_row(3)}\n"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "web.history").stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in folder.iterdir()) == ["other.history", "web.history"]


def test_the_host_notes_a_revocation(tmp_path: Path) -> None:
    _run(tmp_path, "add", "web", _row(1), "web", _row(2))
    for _ in range(2):
        assert _run(tmp_path, "revoked", "web", "0001").returncode == 0
    assert (tmp_path / "web.history").read_text() == f"{_row(1, state='revoked')}\n{_row(2)}\n"
    assert _run(tmp_path, "revoked", "web", "0099").returncode == 0
    assert _run(tmp_path, "revoked", "nothing", "0001").returncode == 0
    assert not (tmp_path / "nothing.history").exists()


def test_a_full_history_loses_expired_ones_first_and_keeps_the_age_of_the_key(tmp_path: Path) -> None:
    file = tmp_path / "web.history"
    rows = [_row(0, end=5), *(_row(number) for number in range(1, 197)), _row(197, end=5), _row(198, state="revoked")]
    file.write_text("".join(f"{row}\n" for row in [*rows, _row(199)]))
    for number, lost in ((200, _row(197, end=5)), (201, _row(198, state="revoked"))):
        done = _run(tmp_path, "add", "web", _row(number))
        assert (done.returncode, done.stderr) == (0, "")
        assert lost not in file.read_text()
    assert file.read_text().splitlines()[0] == _row(0, end=5), "the oldest certificate of the key"
    done = _run(tmp_path, "add", "web", _row(202))
    assert "the live certificates 0001 are not in it any more" in done.stderr
    assert len(file.read_text().splitlines()) == history.MAX_LINES


def test_a_history_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "meshfab").write_text("in the way")
    done = _run(tmp_path / "meshfab", "add", "web", _row(1))
    assert done.returncode == 1
    assert done.stderr


@pytest.mark.parametrize("args", [("drop", "web", "1"), ("add", "../web", "1"), ("add", "", "1")])
def test_the_host_refuses_other_arguments(tmp_path: Path, args: tuple[str, ...]) -> None:
    assert _run(tmp_path, *args).returncode == 1
    assert list(tmp_path.iterdir()) == []
