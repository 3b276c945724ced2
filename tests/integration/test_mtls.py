"""`--mtls` against a real upstream that lets nobody in without a client certificate from the mesh's root."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

HOST, BEHIND, NAME = "h2", "h3", "front"
FQDN = f"{NAME}.internal"
UPSTREAM = "https://h3.internal:8443"
KEY = f"/etc/nginx/tls/key/{FQDN}.pem"
SERVICE = ("--name", NAME, "--host", HOST)
# What the upstream answers with is whom it took for its client.
DEMANDING = """\
server {
    listen 8443 ssl;
    server_name h3.internal;
    ssl_certificate /etc/pki/tls/misc/h3.internal.pem;
    ssl_certificate_key /etc/pki/tls/private/h3.internal.pem;
    ssl_client_certificate /etc/pki/ca-trust/source/anchors/root-internal.pem;
    ssl_verify_depth 2;
    ssl_verify_client on;
    location / { return 200 "$ssl_client_verify $ssl_client_s_dn"; }
}
"""
# An upstream with two services, which takes any client, and one whose certificate is not of the mesh.
OPEN_UPSTREAM, STRANGER = "https://h3.internal:8444", "https://h3.internal:8445"
PAIR = """\
    ssl_certificate /etc/pki/tls/misc/h3.internal.pem;
    ssl_certificate_key /etc/pki/tls/private/h3.internal.pem;
"""
OPEN = f"""\
server {{
    listen 8444 ssl;
    server_name _;
{PAIR}    location / {{ return 200 "first, asked for $host"; }}
}}
server {{
    listen 8444 ssl;
    server_name h3.internal;
{PAIR}    location / {{ return 200 "second, asked for $http_x_forwarded_host"; }}
}}
server {{
    listen 8445 ssl;
    server_name h3.internal;
    ssl_certificate /etc/nginx/self.pem;
    ssl_certificate_key /etc/nginx/self.pem;
    location / {{ return 200 "stranger"; }}
}}
"""
SELF_SIGNED = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=h3.internal"
    " -addext subjectAltName=DNS:h3.internal -keyout /etc/nginx/self.key -out /etc/nginx/self.crt 2>/dev/null;"
    " cat /etc/nginx/self.key /etc/nginx/self.crt >/etc/nginx/self.pem"
)
# A vhost of the operator's own: two variables, so that the address is looked up and the key read at each request, by a
# worker, which is not root.
THEIRS = f"""\
server {{
    listen 443 ssl;
    server_name {FQDN};
    include /etc/nginx/snippets/{FQDN}.tls.conf;
    resolver 10.87.0.1 ipv6=off;
    location / {{
        set $upstream h3.internal;
        proxy_pass https://$upstream:8443;
        include /etc/nginx/snippets/{FQDN}.mtls.conf;
    }}
    location /worker {{
        set $upstream h3.internal;
        proxy_pass https://$upstream:8443;
        proxy_ssl_certificate /etc/nginx/tls/cert/$server_name.pem;
        proxy_ssl_certificate_key /etc/nginx/tls/key/$server_name.pem;
    }}
}}
"""


@pytest.fixture(scope="module", autouse=True)
def upstream(mesh: Mesh) -> Iterator[None]:
    mesh.reset(BEHIND)
    mesh.hosts.run(BEHIND, SELF_SIGNED)
    mesh.hosts.run(BEHIND, "cat >/etc/nginx/conf.d/demanding.conf && systemctl reload nginx", input=DEMANDING + OPEN)
    yield
    mesh.reset(BEHIND)


@pytest.fixture(autouse=True)
def front(mesh: Mesh, upstream: None) -> Iterator[None]:  # noqa: ARG001
    mesh.reset(HOST)
    mesh.dns.point(NAME, HOST)
    yield
    mesh.reset(HOST)


def fetch(mesh: Mesh, path: str = "/") -> str:
    """The status and the body that a client of the front gets."""
    argv = ["curl", "-s", "--cacert", str(mesh.root), "-w", "\n%{http_code}", f"https://{FQDN}{path}"]
    body, _, status = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.rpartition("\n")
    return f"{status} {body}"


def test_the_upstream_sees_the_services_own_name_and_only_with_mtls(mesh: Mesh, inv: Inv) -> None:
    assert inv("provision", *SERVICE, "--upstream", UPSTREAM).returncode == 0
    assert "No required SSL certificate was sent" in fetch(mesh)
    done = inv("wire-nginx", *SERVICE, "--upstream", UPSTREAM, "--mtls")
    assert done.returncode == 0, done.stderr
    assert fetch(mesh) == f"200 SUCCESS CN={FQDN}"
    # Neither the upstream nor the certificate need be named again.
    assert "nothing changed" in inv("provision", *SERVICE).stdout
    # An upstream that is not who it should be gets nothing: h3's certificate is not for this name.
    mesh.dns.point("alias", BEHIND)
    done = inv("wire-nginx", *SERVICE, "--upstream", "https://alias.internal:8443", "--mtls")
    assert done.returncode == 0, done.stderr
    assert fetch(mesh).startswith("502 ")


def test_an_https_upstream_is_verified_unless_told_otherwise(mesh: Mesh, inv: Inv) -> None:
    assert inv("provision", *SERVICE, "--upstream", OPEN_UPSTREAM).returncode == 0
    assert fetch(mesh).startswith("200 ")
    mesh.dns.point("alias", BEHIND)
    for upstream in (STRANGER, "https://alias.internal:8444"):
        assert inv("wire-nginx", *SERVICE, "--upstream", upstream).returncode == 0
        assert fetch(mesh).startswith("502 ")
    assert inv("wire-nginx", *SERVICE, "--upstream", STRANGER, "--no-verify-upstream").returncode == 0
    assert fetch(mesh) == "200 stranger"
    assert "nothing changed" in inv("provision", *SERVICE).stdout
    # nginx cannot verify an address, and the error says what to do instead.
    address = f"https://{mesh.hosts.address(BEHIND)}:8444"
    refused = inv("wire-nginx", *SERVICE, "--upstream", address)
    assert refused.returncode == 1
    assert "https://NAME:PORT, or add --no-verify-upstream" in refused.stderr
    assert inv("wire-nginx", *SERVICE, "--upstream", address, "--no-verify-upstream").returncode == 0
    assert fetch(mesh).startswith("200 first, ")


@pytest.mark.parametrize("options", [(), ("--mtls",)], ids=["https", "mtls"])
def test_an_upstream_of_several_services_is_asked_by_its_own_name(
    mesh: Mesh, inv: Inv, options: tuple[str, ...]
) -> None:
    assert inv("provision", *SERVICE, "--upstream", OPEN_UPSTREAM, *options).returncode == 0
    assert fetch(mesh) == f"200 second, asked for {FQDN}"
    assert inv("wire-nginx", *SERVICE, "--upstream", OPEN_UPSTREAM, *options, "--keep-host").returncode == 0
    assert fetch(mesh) == f"200 first, asked for {FQDN}"
    assert "nothing changed" in inv("provision", *SERVICE).stdout


def test_with_variables_the_worker_reads_the_key_and_the_acl_is_what_lets_it(mesh: Mesh, inv: Inv) -> None:
    done = inv("provision", *SERVICE, "--no-vhost", "--upstream", UPSTREAM, "--mtls")
    assert done.returncode == 0, done.stderr
    for part in ("tls", "mtls"):
        assert f"include /etc/nginx/snippets/{FQDN}.{part}.conf;" in done.stdout
    mesh.hosts.run(HOST, "cat >/etc/nginx/conf.d/own.conf && systemctl reload nginx", input=THEIRS)
    done = inv("provision", *SERVICE)
    assert "adopted unchanged" in done.stdout, done.stderr
    assert fetch(mesh) == f"200 SUCCESS CN={FQDN}"
    assert fetch(mesh, "/worker") == f"200 SUCCESS CN={FQDN}"
    # setfacl -b leaves a mode that looks the same: root:root 0640.
    mesh.hosts.run(HOST, f"setfacl -b {KEY}")
    assert fetch(mesh) == f"200 SUCCESS CN={FQDN}"
    assert fetch(mesh, "/worker").startswith("500 ")
    done = inv("provision", *SERVICE)
    assert "rights" in done.stdout, done.stderr
    assert fetch(mesh, "/worker") == f"200 SUCCESS CN={FQDN}"
