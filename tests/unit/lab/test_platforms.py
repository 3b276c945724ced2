"""What the lab's hosts run: releases and variants, from the options of `inv lab.up` to the recipes."""

from __future__ import annotations

import pytest

from lab.errors import LabError
from lab.machine import platforms
from lab.machine.platforms import Platform

HOSTS = ["h1", "h2", "h3"]


def test_hosts_run_the_oldest_release_unless_told_otherwise() -> None:
    assert platforms.assign(HOSTS, []) == dict.fromkeys(HOSTS, Platform("bookworm"))


def test_one_option_is_for_all_hosts_and_others_for_one_each_in_any_order() -> None:
    assigned = platforms.assign(HOSTS, ["h2=sid", "trixie", "h3=bookworm"])
    assert {host: str(platform) for host, platform in assigned.items()} == {
        "h1": "trixie",
        "h2": "sid",
        "h3": "bookworm",
    }


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("buster", "no release 'buster'; use one of bookworm, trixie, sid"),
        ("h2=", "no release ''"),
        ("h4=sid", "no host 'h4'; it has the hosts h1 to h3"),
        ("sid+nothing", "no variant 'nothing'"),
        ("sid+../debian", "no variant"),
    ],
)
def test_an_option_that_names_nothing_is_refused(option: str, complaint: str) -> None:
    with pytest.raises(LabError, match=f"--release .*{complaint}"):
        platforms.assign(HOSTS, [option])


def test_the_layouts_of_nginx_build_on_each_other() -> None:
    names = {flavour: [name for name, _ in platforms.recipes(Platform(), flavour)] for flavour in ("debian", "fedora")}
    assert names == {"debian": ["debian"], "fedora": ["debian", "fedora"]}
