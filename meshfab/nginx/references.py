"""What in nginx's live configuration names a service's pair, beside the files that meshfab wrote for it. Pure.

To delete a file that nginx's configuration names makes `nginx -t` fail for every service of the host
(certbot/certbot#5552, #6094, #6734).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from meshfab.host.nginx_config import PREFIX

if TYPE_CHECKING:
    from collections.abc import Collection

    from meshfab.config.service import Service
    from meshfab.host.facts import HostState

# Beyond that the operator has to look into the configuration anyway.
_MAX_REFERENCES = 20


@dataclass(frozen=True)
class Reference:
    """A directive that names a file of a service.

    Attributes:
        location: where it stands, as "file:line".
        directive: its name, such as `ssl_certificate` or `include`.
        path: the file that it names.
    """

    location: str
    directive: str
    path: str

    def __str__(self) -> str:
        return f"{self.location} ({self.directive} {self.path})"


def find(state: HostState, service: Service, managed: Collection[str], snippets: Collection[str]) -> list[Reference]:
    """The directives that would be left with a file that is missing.

    Args:
        state: the host, with a configuration that nginx accepts.
        service: the service.
        managed: the files of ours in the configuration, with their links; what stands there is not looked at.
        snippets: our files that somebody's own vhost may include.
    """
    pair = (service.cert, service.key)
    references = [
        Reference(f"{file}:{line}", name, path)
        for file, line, name, args in state.server_blocks.directives_in_files_with(service.fqdn)
        if file not in managed
        for path in map(_absolute, args)
        if path in pair
    ]
    references += [
        Reference(f"{file}:{line}", "include", path)
        for path in snippets
        for file, line in state.nginx.includers(path)
        if file not in managed
    ]
    return references[:_MAX_REFERENCES]


def _absolute(argument: str) -> str:
    # nginx reads a relative path from the folder of its configuration.
    return str(PurePosixPath(PREFIX, argument))
