"""Fabric tasks that give every internal service a TLS certificate that is served, trusted and renews itself.

Public is what `__all__` names here, in `meshfab.errors` (what can go wrong), in `meshfab.ssh.connection` (the strict
connection) and in `meshfab.provisioning.password_transfer` (the password alone), with the documented attributes of what these return. All
else is internal, and may change in any version.
"""

import typing as _typing
from importlib import import_module as _import_module

from meshfab.cli.tasks import ns
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import MeshfabError
from meshfab.version import __version__ as __version__

if _typing.TYPE_CHECKING:
    from meshfab.checks.report import Report
    from meshfab.fleet.check_certs import check_certs
    from meshfab.provisioning.api import mint, provision, renew_enable, wire_nginx
    from meshfab.provisioning.forced_renewal import renew
    from meshfab.provisioning.outcome import Outcome

__all__ = [
    "MeshfabError",
    "Outcome",
    "Report",
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
_WHERE = {
    "Outcome": "meshfab.provisioning.host_run",
    "Report": "meshfab.checks.report",
    "check_certs": "meshfab.fleet.check_certs",
    "mint": "meshfab.provisioning.api",
    "provision": "meshfab.provisioning.api",
    "renew": "meshfab.provisioning.forced_renewal",
    "renew_enable": "meshfab.provisioning.api",
    "wire_nginx": "meshfab.provisioning.api",
}


def __getattr__(name: str) -> _typing.Any:
    """The step functions, when they are asked for (PEP 562): `inv --list` imports this package and calls none."""
    if name in _WHERE:
        return getattr(_import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What a person at the prompt completes: the public names."""
    return [*__all__, "__version__"]
