"""Records as text, each form as its reader takes it."""

from __future__ import annotations

import yaml

from meshfab.dns.record import Record
from meshfab.dns.record_formats import FORMATS

RECORDS = (Record("milk.internal", ("10.87.0.12",)), Record("tea.internal", ("10.87.0.12", "fd87::c")))


def test_the_forms() -> None:
    assert FORMATS["hosts"](RECORDS, 60, "internal") == (
        "10.87.0.12 milk.internal\n10.87.0.12 tea.internal\nfd87::c tea.internal\n"
    )
    assert "tea.internal. 60 IN AAAA fd87::c\n" in FORMATS["zone"](RECORDS, 60, "internal")
    assert FORMATS["unbound"](RECORDS, 60, "internal").startswith('server:\nlocal-data: "milk.internal. 60 IN A 10.87')
    assert {FORMATS[name]((), 60, "internal") for name in ("hosts", "zone", "unbound")} == {""}


def test_octodns_is_yaml_with_names_relative_to_the_zone() -> None:
    text = FORMATS["octodns"]((*RECORDS, Record("elsewhere.example", ("10.0.0.1",))), 60, "internal")
    assert yaml.safe_load(text) == {
        "milk": [{"type": "A", "ttl": 60, "values": ["10.87.0.12"]}],
        "tea": [
            {"type": "A", "ttl": 60, "values": ["10.87.0.12"]},
            {"type": "AAAA", "ttl": 60, "values": ["fd87::c"]},
        ],
    }
