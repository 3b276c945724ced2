"""The rules for values that go to a host: each check returns the value, or raises what is wrong with it.

Shell words are quoted anyway (`meshfab.ssh.script`); these rules also keep them out
of nginx's and systemd's own syntax.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from meshfab.errors import InputError

# RFC 1123, section 2.1, in the lower case that certificates and unit names are compared in.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_HOST = re.compile(
    r"([A-Za-z0-9_][A-Za-z0-9._-]*@)?([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?",
    re.ASCII,
)
_PATH = re.compile(r"(/[A-Za-z0-9._+@-]+)+", re.ASCII)
# RFC 3986's characters without those that have a meaning for nginx: ; { } $ " ' \ and white space.
_URL_TAIL = re.compile(r"[A-Za-z0-9/._~!&()*+,=:@%?-]*", re.ASCII)
_PROVISIONER = re.compile(r"[A-Za-z0-9_.@][A-Za-z0-9_.@ +-]{0,127}", re.ASCII)


def label(word: object) -> str:
    """A service's short name: one DNS label, 1 to 63 characters of a-z, 0-9 and inner hyphens.

    >>> label("wiki")
    'wiki'
    """
    text = _text(word, "the name")
    if not _LABEL.fullmatch(text):
        raise InputError(
            f"the name {_shown(text)} is not a DNS label",
            remedy="use 1 to 63 of a-z, 0-9 and '-', not first or last; no dots",
        )
    return text


def dns_name(word: object, what: str = "the name") -> str:
    """A DNS name of one or more labels, lower case, at most 253 characters (RFC 1035, 2.3.4)."""
    text = _text(word, what)
    if len(text) > 253 or not all(_LABEL.fullmatch(part) for part in text.split(".")):
        raise InputError(
            f"{what} {_shown(text)} is not a DNS name",
            remedy="write it as labels of a-z, 0-9 and '-' with dots between, without a final dot",
        )
    return text


def host(word: object) -> str:
    """A host as Fabric takes it: `[user@]host[:port]`, an alias of ~/.ssh/config or an address."""
    text = _text(word, "the host")
    match = _HOST.fullmatch(text)
    if not match or int((match[3] or ":0")[1:]) > 65535:
        raise InputError(
            f"the host {_shown(text)} is not a host name",
            remedy="use a name from ~/.ssh/config, or [user@]host[:port]",
        )
    return text


def address(word: object, what: str) -> str:
    """An IP address."""
    text = _text(word, what)
    try:
        return str(ip_address(text))
    except ValueError:
        raise InputError(f"{what} has {_shown(text)}, which is no IP address", remedy="write it like 9.9.9.9") from None


def host_parts(word: str) -> tuple[str, str | None, int | None]:
    """A valid host taken apart: its name or address without brackets, the user, and the port.

    >>> host_parts("ops@[fd00::12]:2222")
    ('fd00::12', 'ops', 2222)
    """
    match = _HOST.fullmatch(host(word))
    user, name, port = match.groups() if match else (None, word, None)
    return name.strip("[]"), user[:-1] if user else None, int(port[1:]) if port else None


def path(word: object, what: str) -> str:
    """An absolute path on a host, without '..', spaces or anything nginx or a shell would read."""
    text = _text(word, what)
    if not _PATH.fullmatch(text) or {".", ".."} & set(text.split("/")):
        raise InputError(
            f"{what} {_shown(text)} is not a plain absolute path",
            remedy="use '/' and letters, digits, '.', '_', '+', '@', '-' only",
        )
    return text


def url(word: object, what: str, *, schemes: tuple[str, ...] = ("http", "https")) -> str:
    """A URL with a host, one of the schemes, and no character that ends an nginx directive."""
    text = _text(word, what)
    remedy = f"write it like {schemes[0]}://127.0.0.1:8080"
    scheme, separator, rest = text.partition("://")
    if scheme not in schemes or not separator or not _URL_TAIL.fullmatch(rest.replace("[", "").replace("]", "")):
        raise InputError(f"{what} {_shown(text)} is not a plain {' or '.join(schemes)} URL", remedy=remedy)
    try:
        parts = urlsplit(text)
        parts.port  # urlsplit checks the port only when it is asked for it  # noqa: B018  # urlsplit checks the port only when asked for it
    except ValueError as error:
        raise InputError(f"{what} {_shown(text)}: {error}", remedy=remedy) from None
    if not parts.hostname or parts.username is not None or not _HOST.fullmatch(parts.netloc):
        raise InputError(f"{what} {_shown(text)} names no host", remedy=remedy)
    return text


def listen(word: object, what: str = "the address to listen on") -> str:
    """An address, a network (the host's addresses in it are meant), or `all`.

    >>> listen("10.87.0.0/16"), listen("fd00:0::12")
    ('10.87.0.0/16', 'fd00::12')
    """
    import ipaddress

    text = _text(word, what)
    if "%" in text:
        raise InputError(f"{what} {_shown(text)} has a zone", remedy="give the address without %")
    try:
        return text if text == "all" else str((ipaddress.ip_network if "/" in text else ipaddress.ip_address)(text))
    except ValueError as error:
        raise InputError(f"{what}: {error}", remedy="give 10.87.0.12, a network such as 10.87.0.0/16, or all") from None


def is_address(word: str) -> bool:
    """Whether a host is given as an IP address and not by name."""
    import ipaddress

    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True


def user(word: object, what: str) -> str:
    """A login name, as useradd(8) takes it."""
    text = _text(word, what)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", text, re.ASCII):
        raise InputError(f"{what} {_shown(text)} is not a user's name")
    return text


def provisioner(word: object, what: str = "the provisioner") -> str:
    """A provisioner's name as `step` takes it: no leading dash, no control characters."""
    text = _text(word, what)
    if not _PROVISIONER.fullmatch(text):
        raise InputError(
            f"{what} {_shown(text)} is not a provisioner's name",
            remedy="see `step ca provisioner list`",
        )
    return text


def _text(word: object, what: str) -> str:
    if not isinstance(word, str):
        raise InputError(f"{what} must be text, not {type(word).__name__}", remedy="put it in quotes")
    if not word:
        raise InputError(f"{what} is empty", remedy="give one")
    return word


def _shown(text: str) -> str:
    """The operator's value, short and without control characters."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")
