"""The templates of nginx's configuration: what they render, and that the linter gixy finds nothing in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import InputError
from meshfab.nginx import vhost

SETTINGS = Settings()
OLD, NEW = (1, 22, 1), (1, 26, 2)
FORMS: dict[str, dict[str, object]] = {
    "no upstream": {},
    "a plain upstream": {"upstream": "http://127.0.0.1:8080"},
    "an upstream with TLS": {"upstream": "https://app.internal:8443"},
    "an upstream that is not verified": {
        "upstream": "https://10.87.0.13",
        "verify_upstream": False,
        "keep_host": True,
    },
    "an upstream with mTLS": {"upstream": "https://app.internal:8443", "mtls": True},
    "one address and more names": {"listen": ["10.87.0.12"], "sans": ["tea.internal"]},
}


def rendered(form: str, version: tuple[int, ...] = OLD, settings: Settings = SETTINGS) -> str:
    service = Service.of("gongfoo", settings, **FORMS[form])  # type: ignore[arg-type]
    listens = ("10.87.0.12:443",) if service.listen else vhost.EVERYWHERE
    return vhost.render(service, settings, version, listens)


def findings(*paths: Path) -> list[str]:
    """What gixy finds in configurations."""
    gixy = str(Path(sys.executable).with_name("gixy"))
    result = subprocess.run([gixy, "-f", "json", *paths], capture_output=True, text=True, check=False)
    return [finding["plugin"] for finding in json.loads(result.stdout)]


def test_gixy_finds_nothing(tmp_path: Path) -> None:
    paths = []
    for number, form in enumerate(FORMS):
        for version in (OLD, NEW):
            paths.append(tmp_path / f"{number}-{version[1]}.conf")
            text = rendered(form, version, Settings(hsts_max_age=31536000))
            paths[-1].write_text(f"events {{}}\nhttp {{\n{text}}}\n")
    assert findings(*paths) == []


def test_gixy_finds_a_fault_when_there_is_one(tmp_path: Path) -> None:
    bad = rendered("a plain upstream").replace("server_tokens off;", "")
    (tmp_path / "nginx.conf").write_text(f"events {{}}\nhttp {{\n{bad}}}\n")
    # HSTS is a setting: a browser would not let anybody past a certificate that was renewed too late.
    assert sorted(findings(tmp_path / "nginx.conf")) == ["hsts_header", "version_disclosure"]


def test_http2_is_enabled_with_the_syntax_of_the_installed_nginx() -> None:
    old, new = rendered("no upstream", OLD), rendered("no upstream", NEW)
    assert "listen 443 ssl http2;" in old
    assert "http2 on;" not in old
    assert "listen 443 ssl;" in new
    assert "http2 on;" in new


def test_it_listens_on_the_requested_address_only() -> None:
    text = rendered("one address and more names")
    assert [line.strip() for line in text.splitlines() if "listen " in line and line.endswith(";")] == [
        "listen 10.87.0.12:443 ssl http2;"
    ]


def test_a_snippet_has_a_header_that_identifies_it() -> None:
    service = Service.of("gongfoo", SETTINGS)
    text = vhost.render(service, SETTINGS, OLD, (), "tls")
    header = vhost.read_header(text)
    assert header is not None
    assert header.is_untouched
    assert header.input_digest == vhost.input_digest(service, SETTINGS, OLD, (), "tls")
    assert header.input_digest != vhost.input_digest(service, SETTINGS, OLD, (), "mtls")
    assert f"ssl_certificate     {service.cert};" in text
    assert "server {" not in text


def test_a_template_of_the_operator_replaces_ours(tmp_path: Path) -> None:
    (tmp_path / "tls.conf.j2").write_text("ssl_certificate {{ cert }}; # mine\n")
    settings, service = Settings(snippets=str(tmp_path)), Service.of("gongfoo", SETTINGS)
    assert f"ssl_certificate {service.cert}; # mine" in vhost.render(service, settings, OLD)
    assert vhost.input_digest(service, settings, OLD) != vhost.input_digest(service, SETTINGS, OLD)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{{ upstrem }}", "'upstrem' is undefined"), ("{% if %}", "Expected an expression"), ("{{ 1 / 0 }}", "division")],
)
def test_a_template_that_cannot_be_rendered_is_an_error_of_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "vhost.conf.j2").write_text(text)
    with pytest.raises(InputError, match=message):
        vhost.render(Service.of("gongfoo", SETTINGS), Settings(snippets=str(tmp_path)), OLD)


def test_a_missing_folder_of_templates_is_an_error_before_any_connection(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"meshfab\.snippets"):
        Settings(snippets=str(tmp_path / "nowhere"))
