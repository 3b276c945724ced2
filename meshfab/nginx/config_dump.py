"""nginx's live configuration as `nginx -T` prints it, and what can be read from it without the grammar. Pure."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshfab.config.service import Service
    from meshfab.host.facts import HostState

_ERROR_LOG = re.compile(r"(?:^|[{;])[ \t]*error_log\s+[\"']?(/[^\s;\"']+)", re.MULTILINE)
_CONFLICT = re.compile(r'conflicting server name "([^"]{1,255})" on (\S{1,255}), ignored')
# nginx prints its error last.
_LONGEST_ERROR = 64 * 1024
_MAX_CONFLICTS = 1000


def config_error(state: HostState) -> str:
    """nginx's error output for a configuration that it refuses; empty when it is valid."""
    return "" if state.nginx.files else " ".join(state.nginx_conf[-_LONGEST_ERROR:].split())


def is_about(output: str, service: Service) -> bool:
    """Whether nginx's error is about this service's own pair, which a mint heals."""
    return any(re.search(rf"{re.escape(path)}(?![\w.-])", output) for path in (service.cert, service.key))


def is_port_free(state: HostState, port: int) -> bool:
    """Whether certainly no server listens on the port. Without the grammar, which takes longer than it could save."""
    return not any(str(port) in " ".join(args) for _, _, args in state.nginx.listens)


def names_pair(state: HostState, service: Service) -> bool:
    """Whether the live configuration names the pair, so that a new one needs a reload."""
    return service.cert in state.nginx_conf


def conflicts(state: HostState, service: Service) -> list[str]:
    """Where nginx warns that it ignores one of two servers for a name of ours, as "NAME on ADDRESS:PORT"."""
    matches = itertools.islice(_CONFLICT.finditer(state.nginx.head), _MAX_CONFLICTS)
    return [f"{match[1]} on {match[2]}" for match in matches if match[1] in service.names]


def error_log(state: HostState) -> str:
    """The path of nginx's main error log: the first one in the configuration."""
    match = _ERROR_LOG.search(state.nginx_conf)
    return match[1] if match else "/var/log/nginx/error.log"


def error_line(output: str) -> str:
    """The error line in the output of `nginx -t`."""
    # Blanks are folded first: on a long run of them the expression would take quadratic time.
    match = re.search(r"\[emerg\] (?:\d{1,10}#\d{1,10}: )?(.*?)(?: nginx: |$)", " ".join(output.split()))
    return match[1] if match else output
