"""The history of a pair: what the host keeps of earlier certificates, parsed whatever the host answers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfab.host import certificate, history
from tests.support.certificates import HOUR, NOW, authority

DIGEST = "ab" * 32
GOOD = f"0A1B 1795435200 1795521600 {DIGEST} lair live"


def test_a_line_is_read_back_as_it_was_written() -> None:
    leaf = certificate.read_leaf(authority().pair("gongfoo.internal").pem)
    (generation,) = history.parse(history.line(leaf, "our lair")).generations
    assert generation.serial == leaf.serial
    assert (generation.not_before, generation.not_after) == (leaf.not_before, leaf.not_after)
    assert generation.key_digest == history.digest(leaf)
    assert generation.provisioner == "our lair"
    assert not generation.is_revoked


@pytest.mark.parametrize(
    ("name", "written"),
    [("lair", "lair"), ("a b", "a%20b"), ("-", "%2D"), ("", "-"), ("é", "%C3%A9"), ("a\nb", "-"), ("x" * 101, "-")],
)
def test_a_provisioner_is_one_word(name: str, written: str) -> None:
    leaf = certificate.read_leaf(authority().pair("gongfoo.internal").pem)
    assert history.line(leaf, name).split(" ")[4] == written


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
