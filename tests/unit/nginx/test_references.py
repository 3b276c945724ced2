"""What else in nginx's configuration names a service's pair."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshfab.errors import ConnectError
from meshfab.nginx import references, snippets
from tests.support.certificates import SERVICE
from tests.support.fake_host import Host

OWN = "/etc/nginx/conf.d/own.conf"
TLS = snippets.path(SERVICE, "tls")


def found(text: str, **more: str) -> list[str]:
    host = Host().with_vhost()
    host = replace(host, conf={**host.conf, OWN: text, **more})
    return [str(each) for each in references.find(host.state(), SERVICE, {host.vhost_path}, (TLS,))]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (f"server {{\n ssl_certificate {SERVICE.cert};\n}}", [f"{OWN}:2 (ssl_certificate {SERVICE.cert})"]),
        (f'server {{\n\n ssl_certificate_key "{SERVICE.key}";\n}}', [f"{OWN}:3 (ssl_certificate_key {SERVICE.key})"]),
        (
            f"server {{\n location / {{\n  proxy_ssl_certificate tls/cert/{SERVICE.fqdn}.pem;\n }}\n}}",
            [f"{OWN}:3 (proxy_ssl_certificate {SERVICE.cert})"],
        ),
        (f"# ssl_certificate {SERVICE.cert};\nserver {{\n server_name {SERVICE.fqdn};\n}}", []),
        (f"server {{\n ssl_certificate {SERVICE.cert}.old;\n}}", []),
        (f"server {{\n ssl_certificate /srv/{SERVICE.fqdn}.pem;\n}}", []),
    ],
    ids=["absolute", "quoted", "relative", "in a comment", "a longer path", "another folder"],
)
def test_every_directive_that_names_the_pair_counts_and_nothing_else(text: str, places: list[str]) -> None:
    assert found(text) == places


@pytest.mark.parametrize("include", [TLS, f"snippets/{SERVICE.fqdn}.tls.conf", "snippets/*.conf"])
def test_an_include_of_our_snippet_counts(include: str) -> None:
    lines = f"server {{\n listen 443;\n include {include};\n}}"
    assert found(lines) == [f"{OWN}:3 (include {TLS})"]


def test_what_our_own_vhost_names_does_not_count() -> None:
    assert found("") == []


def test_a_host_that_names_it_a_thousand_times_is_cut_short() -> None:
    assert len(found(f"ssl_certificate {SERVICE.cert};\n" * 1000)) == 20


def test_a_configuration_beyond_any_honest_one_is_given_up() -> None:
    with pytest.raises(ConnectError, match="more than"):
        found(f"ssl_certificate {SERVICE.cert};\n" * 40_000)
