"""Fabric tasks that give every internal service a TLS certificate that is served, trusted and renews itself."""

from meshfab.errors import MeshfabError
from meshfab.flow import mint, provision, renew_enable, wire_nginx
from meshfab.settings import Service, Settings
from meshfab.tasks import ns

__version__ = "0.1.0"
__all__ = [
    "MeshfabError",
    "Service",
    "Settings",
    "mint",
    "ns",
    "provision",
    "renew_enable",
    "wire_nginx",
]
