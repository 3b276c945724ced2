"""The rule in the template for the CA; tests/integration/test_ca_template.py has step-ca apply it."""

from __future__ import annotations

import re
from typing import Any

from meshfab.ca.name_template import allowed_names, name_template
from meshfab.config.settings import Settings

SERVICES: dict[str, dict[str, Any]] = {
    "wiki": {"hosts": ["h1", "h2"], "sans": ["docs.internal"]},
    "vlc-admin": {"host": "h1"},
}


def pattern(template: str) -> str:
    """The expression for the names below the domain; Go's RE2 and Python mean the same by it."""
    match = re.search(r'\$pattern := "(.*)" -', template)
    assert match
    return match[1]


def test_declared_services_are_listed_once_by_all_their_names() -> None:
    settings = Settings(services=SERVICES)
    assert allowed_names(settings) == ("docs.internal", "vlc-admin.internal", "wiki.internal")
    assert '$names := list "docs.internal" "vlc-admin.internal" "wiki.internal" -}}' in name_template(settings)


def test_without_services_every_name_below_the_domain_is_allowed() -> None:
    template = name_template(Settings(domain="mesh.example"))
    allowed = re.compile(pattern(template))
    for name in ("wiki.mesh.example", "a.b.mesh.example", "x-1.mesh.example"):
        assert allowed.search(name), name
    for name in ("mesh.example", "wiki.meshxexample", "wiki.mesh.example.evil", "*.mesh.example", "-a.mesh.example"):
        assert not allowed.search(name), name
    assert '(ne . "ca.internal")' in template, "whoever has the CA's own name can pass for it"


def test_a_renewal_stays_possible() -> None:
    assert '"extKeyUsage": ["serverAuth", "clientAuth"]' in name_template(Settings())


def test_nothing_of_the_template_is_left_to_fill_in() -> None:
    for settings in (Settings(), Settings(services=SERVICES)):
        assert not re.search(r"\b(RULE|IS_ALLOWED|REFUSAL)\b", name_template(settings))
