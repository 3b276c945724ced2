"""Fabric tasks that give every internal service a TLS certificate that is served, trusted and renews itself."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from meshfab.errors import MeshfabError
from meshfab.settings import Service, Settings
from meshfab.tasks import ns

if TYPE_CHECKING:
    from meshfab.fleet import check_certs
    from meshfab.flow import mint, provision, renew_enable, wire_nginx
    from meshfab.rehearsal import renew

__version__ = "0.1.0"
__all__ = [
    "MeshfabError",
    "Service",
    "Settings",
    "check_certs",
    "mint",
    "ns",
    "provision",
    "renew",
    "renew_enable",
    "wire_nginx",
]
_WHERE = {"check_certs": "meshfab.fleet", "renew": "meshfab.rehearsal"}


def __getattr__(name: str) -> Any:
    """The step functions, when they are asked for (PEP 562): `inv --list` imports this package and calls none."""
    if name in __all__:
        return getattr(import_module(_WHERE.get(name, "meshfab.flow")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
