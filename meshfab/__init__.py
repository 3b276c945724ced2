"""Fabric tasks that give every internal service a TLS certificate that is served, trusted and renews itself.

Public is what `__all__` names here, and the errors of `meshfab.errors`, with the documented attributes of what these
return. Everything else is internal, and may change in any version.
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
    from meshfab.dns.publication import Publication
    from meshfab.fleet.apply import apply
    from meshfab.fleet.check_certs import check_certs
    from meshfab.fleet.doctor import Readiness, doctor
    from meshfab.fleet.host_outcome import HostOutcome
    from meshfab.fleet.move import Move, move
    from meshfab.fleet.publish import publish_dns
    from meshfab.fleet.reissue import reissue
    from meshfab.provisioning.api import mint, provision, renew_enable, wire_nginx
    from meshfab.provisioning.forced_renewal import rekey, renew
    from meshfab.provisioning.outcome import Outcome, Retirement
    from meshfab.provisioning.password_transfer import provisioner_password
    from meshfab.provisioning.retirement import retire
    from meshfab.provisioning.revocation import Revocation, revoke
    from meshfab.ssh.connection import connect

__all__ = [
    "HostOutcome",
    "MeshfabError",
    "Move",
    "Outcome",
    "Publication",
    "Readiness",
    "Report",
    "Retirement",
    "Revocation",
    "Service",
    "Settings",
    "apply",
    "check_certs",
    "connect",
    "doctor",
    "mint",
    "move",
    "ns",
    "provision",
    "provisioner_password",
    "publish_dns",
    "reissue",
    "rekey",
    "renew",
    "renew_enable",
    "retire",
    "revoke",
    "wire_nginx",
]
_MODULES = {
    "HostOutcome": "meshfab.fleet.host_outcome",
    "Move": "meshfab.fleet.move",
    "Outcome": "meshfab.provisioning.outcome",
    "Publication": "meshfab.dns.publication",
    "Readiness": "meshfab.fleet.doctor",
    "Report": "meshfab.checks.report",
    "Retirement": "meshfab.provisioning.outcome",
    "Revocation": "meshfab.provisioning.revocation",
    "apply": "meshfab.fleet.apply",
    "check_certs": "meshfab.fleet.check_certs",
    "connect": "meshfab.ssh.connection",
    "doctor": "meshfab.fleet.doctor",
    "move": "meshfab.fleet.move",
    "mint": "meshfab.provisioning.api",
    "provision": "meshfab.provisioning.api",
    "provisioner_password": "meshfab.provisioning.password_transfer",
    "publish_dns": "meshfab.fleet.publish",
    "reissue": "meshfab.fleet.reissue",
    "rekey": "meshfab.provisioning.forced_renewal",
    "renew": "meshfab.provisioning.forced_renewal",
    "renew_enable": "meshfab.provisioning.api",
    "retire": "meshfab.provisioning.retirement",
    "revoke": "meshfab.provisioning.revocation",
    "wire_nginx": "meshfab.provisioning.api",
}


def __getattr__(name: str) -> _typing.Any:
    """The functions, when they are asked for (PEP 562): `inv --list` imports this package and calls none."""
    if name in _MODULES:
        return getattr(_import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What a person at the prompt completes: the public names."""
    return [*__all__, "__version__"]
