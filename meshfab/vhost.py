"""The vhost as text: render it, and know our own again. Pure.

The first line of a file of ours is its mark: what was asked for, and digests of that and of the text below. So a run
can tell, without rendering anything, that a file is still as wanted, and that a person has edited it since.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meshfab import files

if TYPE_CHECKING:
    from meshfab.settings import Service, Settings

_MARK = re.compile(r"# Written by meshfab; .* (\{.*\}) wants=([0-9a-f]{16}) text=([0-9a-f]{16})\n")
_SNIPPETS = ("tls.conf.j2", "proxy.conf.j2", "mtls.conf.j2", "vhost.conf.j2")
# `http2 on;` replaced the parameter of `listen`, which warns since (nginx CHANGES, 1.25.1).
_HTTP2_DIRECTIVE = (1, 25, 1)


@dataclass(frozen=True)
class Mark:
    """The first line of a file of ours, and whether the text below is as we wrote it."""

    asked: dict[str, Any]
    wants: str
    is_untouched: bool


def read_mark(text: str) -> Mark | None:
    """The mark of a file of ours; None for anybody else's."""
    match = _MARK.match(text)
    if not match:
        return None
    try:
        asked = json.loads(match[1])
    except ValueError:
        return None
    # A shell's `$(cat)` drops the newlines at a file's end; they change nothing for nginx either.
    body = text[match.end() :].rstrip("\n") + "\n"
    return Mark(asked, match[2], files.digest(body)[:16] == match[3])


def wants(service: Service, settings: Settings, nginx_version: tuple[int, ...]) -> str:
    """A digest of everything that the rendered text depends on."""
    sources = [(files.folder("nginx-snippets") / name).read_text(encoding="utf-8") for name in _SNIPPETS]
    return files.digest(json.dumps([_values(service, settings, nginx_version), sources], sort_keys=True))[:16]


def render(service: Service, settings: Settings, nginx_version: tuple[int, ...]) -> str:
    """The whole file, mark included."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # nginx's syntax is no HTML; every value was checked to hold no character that ends a directive.
    env = Environment(
        loader=FileSystemLoader(files.folder("nginx-snippets")),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701
        keep_trailing_newline=False,
    )
    values = _values(service, settings, nginx_version)
    parts = {name: env.get_template(f"{name}.conf.j2").render(values) for name in ("tls", "proxy", "mtls")}
    text = env.get_template("vhost.conf.j2").render(values, **{**parts, "mtls": service.mtls and parts["mtls"]}) + "\n"
    asked = json.dumps({"upstream": service.upstream, "mtls": service.mtls, "names": service.names})
    about = f"# Written by meshfab; a file that you edit is left alone. {asked}"
    return f"{about} wants={wants(service, settings, nginx_version)} text={files.digest(text)[:16]}\n{text}"


def _values(service: Service, settings: Settings, nginx_version: tuple[int, ...]) -> dict[str, Any]:
    return {
        "name": service.name,
        "fqdn": service.fqdn,
        "names": service.names,
        "cert": service.cert,
        "key": service.key,
        "root": settings.root,
        "upstream": service.upstream,
        "upstream_host": urlsplit(service.upstream).hostname if service.upstream else "",
        "mtls": service.mtls,
        "http2_directive": nginx_version >= _HTTP2_DIRECTIVE,
    }
