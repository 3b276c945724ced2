"""The settings `dns` and `mesh_network`: what they take, and what is refused before anything is connected."""

from __future__ import annotations

from typing import Any

import pytest

from meshfab.config.dns_options import parse
from meshfab.config.settings import Settings
from meshfab.errors import InputError

UPDATES = {"kind": "rfc2136", "server": "10.87.0.1", "key_file": "~/mesh.key"}
FILE = {"kind": "hosts-file", "host": "h1", "file": "/etc/names"}


def test_each_kind_is_read() -> None:
    options = Settings(mesh_network=("10.87.0.0/16",), dns={**UPDATES, "server": "[fd87::1]:5353"}).dns_options
    assert options and (options.server, options.zone, options.ttl) == (("fd87::1", 5353), "internal", 300)
    assert not str(options.key_path).startswith("~")
    assert parse({**FILE, "reload": ["systemctl", "reload", "dnsmasq"]}, "internal")
    assert parse({"kind": "unbound", "host": "h1", "file": "/etc/unbound/x.conf", "ttl": 5}, "internal")
    assert parse({"kind": "command", "command": ["own-dns", "--zone"], "wait": 0}, "internal")
    assert parse(None, "internal") is None


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("bind", "no usable kind"),
        ({}, "no usable kind"),
        ({"kind": "route53"}, "no usable kind"),
        ({"kind": "rfc2136", "server": "10.87.0.1"}, r"dns\.key_file is missing"),
        ({**UPDATES, "file": "/x"}, r"dns\.file has no meaning for rfc2136"),
        ({**UPDATES, "server": "ns.internal"}, r"dns\.server"),
        ({**UPDATES, "server": "10.87.0.1:0"}, "no usable port"),
        ({**UPDATES, "server": "10.87.0.1:99999999"}, "no usable port"),
        ({**UPDATES, "ttl": "300"}, r"dns\.ttl is '300'"),
        ({**UPDATES, "wait": -1}, r"dns\.wait"),
        ({**UPDATES, "zone": "Internal"}, r"dns\.zone"),
        ({**FILE, "file": "names"}, r"dns\.file"),
        ({**FILE, "host": "-oProxyCommand=x"}, "the host"),
        ({**FILE, "reload": "systemctl reload dnsmasq"}, "not a list"),
        ({"kind": "command", "command": []}, "not a list"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_key(value: Any, what: str) -> None:
    with pytest.raises(InputError, match=what):
        Settings(mesh_network=("10.87.0.0/16",), dns=value)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("8.8.8.0/24", "is public"),
        ("0.0.0.0/0", "is public|is not a network"),
        ("10.87.0.12/16", "is not a network"),
        (["10.87.0.0/16", 7], "is not a network"),
        (7, "is not a network"),
    ],
)
def test_a_mesh_network_is_a_private_network(value: Any, what: str) -> None:
    with pytest.raises(InputError, match=what):
        Settings(mesh_network=value)


def test_names_are_published_only_where_it_is_known_where_they_may_lead() -> None:
    with pytest.raises(InputError, match=r"mesh_network is not"):
        Settings(dns=FILE)
    assert Settings(mesh_network=("100.64.0.0/10", "fd7a:115c:a1e0::/48"), dns=FILE).mesh_network[0] == "100.64.0.0/10"
