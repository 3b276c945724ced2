"""Render the files for nginx, and recognise files that meshfab wrote. Pure.

The first line of a managed file is its header: the requested options, and digests of the input and the text.
So a run knows without rendering whether a file is still as wanted, and whether somebody edited it since.
"""

from __future__ import annotations

import difflib
import io
import json
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from meshfab.errors import InputError
from meshfab.host import resources

if TYPE_CHECKING:
    from pathlib import Path

    from jinja2 import Environment

    from meshfab.config.service import Service
    from meshfab.config.settings import Settings

# What can be rendered: the whole vhost, or a snippet for the operator's own vhost.
Part = Literal["vhost", "tls", "mtls"]

_BEGINNING = "# Written by meshfab; "
_DIGESTS = re.compile(r"wants=([0-9a-f]{16}) text=([0-9a-f]{16})", re.ASCII)
_MAX_HEADER = 8192
# The comparison takes time with the square of the lines; our own files have a hundred.
_MAX_DIFF_LINES = 2000
_SNIPPETS = {
    "vhost": ("tls.conf.j2", "proxy.conf.j2", "upstream_tls.conf.j2", "mtls.conf.j2", "vhost.conf.j2"),
    "tls": ("tls.conf.j2",),
    "mtls": ("mtls.conf.j2", "upstream_tls.conf.j2"),
}
# `http2 on;` replaced the parameter of `listen`, which causes a warning since then (nginx CHANGES, 1.25.1).
_HTTP2_DIRECTIVE = (1, 25, 1)
HOW_TO_FORCE = "undo your change, move it to your own template (meshfab.snippets), or give --force"
EVERYWHERE = ("443", "[::]:443")
# Options that the header of an earlier version lacks.
_DEFAULTS = {"verify_upstream": True, "keep_host": False}
# nginx refuses a variable of more than 46 characters with its default variables_hash_bucket_size, and we add up to 19.
_LONGEST_IN_VARIABLE = 27


@dataclass(frozen=True)
class ManagedHeader:
    """The first line of a managed file, and whether the text below is unchanged."""

    requested: dict[str, Any]
    input_digest: str
    is_untouched: bool


def read_header(text: str) -> ManagedHeader | None:
    """The header of a managed file; None for any other file."""
    # A longer first line is not a header of ours.
    line, newline, _ = text[:_MAX_HEADER].partition("\n")
    options, _, digests = line.partition("{")[2].rpartition(" wants=")
    match = _DIGESTS.fullmatch(f"wants={digests}")
    if not (line.startswith(_BEGINNING) and newline and match):
        return None
    try:
        requested = _DEFAULTS | json.loads("{" + options)
    except (ValueError, RecursionError):  # the header is a file on the host, and may be nested without end
        return None
    # A shell's `$(cat)` drops the newlines at a file's end; they change nothing for nginx either.
    body = text[len(line) + 1 :].rstrip("\n") + "\n"
    return ManagedHeader(requested, match[1], resources.digest(body)[:16] == match[2])


def requested(service: Service) -> dict[str, Any]:
    """The options that the header keeps, so that a later run without them changes nothing."""
    listen = list(service.listen) if service.listen else None
    return {
        "upstream": service.upstream,
        "mtls": service.mtls,
        "verify_upstream": service.verify_upstream,
        "keep_host": service.keep_host,
        "names": list(service.names),
        "listen": listen,
    }


def input_digest(
    service: Service,
    settings: Settings,
    nginx_version: tuple[int, ...],
    listens: tuple[str, ...] = EVERYWHERE,
    part: Part = "vhost",
) -> str:
    """A digest of everything that the rendered text depends on."""
    sources = [_source(settings, name).read_text(encoding="utf-8") for name in _SNIPPETS[part]]
    values = _values(service, settings, nginx_version, listens)
    return resources.digest(json.dumps([values, sources], sort_keys=True))[:16]


def render(
    service: Service,
    settings: Settings,
    nginx_version: tuple[int, ...],
    listens: tuple[str, ...] = EVERYWHERE,
    part: Part = "vhost",
) -> str:
    """The whole file, with its header.

    Raises:
        InputError: the operator's own template cannot be rendered.
    """
    from jinja2 import TemplateError

    env = _environment(_folders(settings))
    values = _values(service, settings, nginx_version, listens)
    try:
        if part == "vhost":
            names = ("tls", "proxy", *["upstream_tls"] * values["is_https"], *["mtls"] * service.mtls)
            values |= {name: env.get_template(f"{name}.conf.j2").render(values) for name in names}
        text = env.get_template(f"{part}.conf.j2").render(values).rstrip("\n") + "\n"
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        if not settings.snippets_folder:
            raise  # a shipped template: our own bug
        # The operator wrote the template, so the operator gets its error.
        raise InputError(
            f"the template {part}.conf.j2 cannot be rendered: {error}", remedy=f"see {settings.snippets}"
        ) from None
    beginning = f"{_BEGINNING}a file that you edit is left alone. {json.dumps(requested(service))}"
    digest = input_digest(service, settings, nginx_version, listens, part)
    return f"{beginning} wants={digest} text={resources.digest(text)[:16]}\n{text}"


def diff(path: str, old: str | None, new: str) -> str:
    """A unified diff from the file on the host, None if there is none, to the text that meshfab would write."""
    # The shell's `$(cat)` drops the newlines at a file's end.
    # A line ends at \n only: `splitlines` would also end one where an editor shows none.
    before = list(io.StringIO(old.rstrip("\n") + "\n", newline="\n")) if old is not None else []
    if len(before) > _MAX_DIFF_LINES:
        return f"{path} has {len(before)} lines, more than are compared\n"
    after = list(io.StringIO(new, newline="\n"))
    return "".join(difflib.unified_diff(before, after, path if before else "/dev/null", path))


@cache
def _environment(folders: tuple[Path, ...]) -> Environment:
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # nginx's syntax is not HTML; every value was checked and contains no character that ends a directive.
    # The sandbox: a template that somebody passed on makes text and runs no code.
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(folders),
        undefined=StrictUndefined,
        autoescape=False,
    )


def _folders(settings: Settings) -> tuple[Path, ...]:
    operator_folder, shipped_folder = settings.snippets_folder, resources.folder("nginx-snippets")
    return (operator_folder, shipped_folder) if operator_folder else (shipped_folder,)


def _source(settings: Settings, name: str) -> Path:
    return next(folder / name for folder in _folders(settings) if (folder / name).is_file())


def _values(
    service: Service, settings: Settings, nginx_version: tuple[int, ...], listens: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "name": service.name,
        "prefix": f"meshfab_{_in_variable(service.name)}",
        "fqdn": service.fqdn,
        "names": service.names,
        "cert": service.cert,
        "key": service.key,
        "root": settings.root,
        "upstream": service.upstream,
        "upstream_host": urlsplit(service.upstream).hostname if service.upstream else "",
        "is_https": service.has_https_upstream,
        "verify_upstream": service.verify_upstream,
        "keep_host": service.keep_host,
        "mtls": service.mtls,
        "hsts_max_age": settings.hsts_max_age,
        "listens": listens,
        "http2_directive": nginx_version >= _HTTP2_DIRECTIVE,
    }


def _in_variable(name: str) -> str:
    """A service's name as a part of the names of nginx's variables, unique on the host."""
    if len(name) > _LONGEST_IN_VARIABLE:
        name = f"{name[:18]}_{resources.digest(name)[:8]}"
    return name.replace("-", "_")
