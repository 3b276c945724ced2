"""The rules for values that are sent to a host. Each function returns a valid value, or raises an InputError.

`meshfab.ssh.script` quotes values for the shell. These rules also keep out the characters that have a meaning in
nginx's and systemd's files. The argument `subject` names the value in the message, such as "the upstream".
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from meshfab.errors import InputError

# RFC 1123, section 2.1. Lower case only, because names are compared with those of certificates and units.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_HOST = re.compile(
    r"([A-Za-z0-9_][A-Za-z0-9._-]*@)?([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?",
    re.ASCII,
)
_PATH = re.compile(r"(/[A-Za-z0-9._+@-]+)+", re.ASCII)
# RFC 3986's characters without those that have a meaning for nginx: ; { } $ " ' \ and white space.
_URL_TAIL = re.compile(r"[A-Za-z0-9/._~!&()*+,=:@%?-]*", re.ASCII)
_PROVISIONER = re.compile(r"[A-Za-z0-9_.@][A-Za-z0-9_.@ +-]{0,127}", re.ASCII)


def label(value: object) -> str:
    """Check a service's short name: one DNS label, 1 to 63 characters of a-z, 0-9 and inner hyphens.

    >>> label("wiki")
    'wiki'
    """
    text = _text(value, "the name")
    if not _LABEL.fullmatch(text):
        raise InputError(
            f"the name {_excerpt(text)} is not a DNS label",
            remedy="use 1 to 63 characters of a-z, 0-9 and '-'; no '-' at either end, no dots",
        )
    return text


def dns_name(value: object, subject: str = "the name") -> str:
    """Check a DNS name: one or more lower-case labels, at most 253 characters (RFC 1035, 2.3.4)."""
    text = _text(value, subject)
    if len(text) > 253 or not all(_LABEL.fullmatch(part) for part in text.split(".")):
        raise InputError(
            f"{subject} {_excerpt(text)} is not a DNS name",
            remedy="use labels of a-z, 0-9 and '-', separated by dots, without a dot at the end",
        )
    return text


def host(value: object) -> str:
    """Check a host as Fabric accepts it: `[user@]host[:port]`, an alias of ~/.ssh/config, or an address."""
    text = _text(value, "the host")
    match = _HOST.fullmatch(text)
    if not match or int((match[3] or ":0")[1:]) > 65535:
        raise InputError(
            f"the host {_excerpt(text)} is not a host name",
            remedy="use a name from ~/.ssh/config, or [user@]host[:port]; an IPv6 address in brackets",
        )
    return text


def address(value: object, subject: str) -> str:
    """Check an IP address, and return it in its canonical form."""
    text = _text(value, subject)
    try:
        return str(ip_address(text))
    except ValueError:
        raise InputError(
            f"{subject} has {_excerpt(text)}, which is not an IP address", remedy="use an address such as 9.9.9.9"
        ) from None


def host_parts(value: str) -> tuple[str, str | None, int | None]:
    """Split a host into its name or address without brackets, the user, and the port; None for what is not given.

    >>> host_parts("ops@[fd00::12]:2222")
    ('fd00::12', 'ops', 2222)
    """
    match = _HOST.fullmatch(host(value))
    user, name, port = match.groups() if match else (None, value, None)
    return name.strip("[]"), user[:-1] if user else None, int(port[1:]) if port else None


def path(value: object, subject: str) -> str:
    """Check an absolute path on a host: no '..', no spaces, no special characters of nginx or the shell."""
    text = _text(value, subject)
    if not _PATH.fullmatch(text) or {".", ".."} & set(text.split("/")):
        raise InputError(
            f"{subject} {_excerpt(text)} is not a plain absolute path",
            remedy="use only '/', letters, digits, '.', '_', '+', '@' and '-'",
        )
    return text


def is_off(value: object) -> bool:
    """Whether a setting is switched off. YAML reads a bare `off` as false."""
    return value is False or value == "off"


def optional_folder(value: object, subject: str) -> str | None:
    """Check the path of a folder on the hosts that may be switched off.

    >>> optional_folder(False, "meshfab.textfile_dir")
    'off'
    """
    if value is None:
        return None
    return "off" if is_off(value) else path(value, subject)


def url(value: object, subject: str, *, schemes: tuple[str, ...] = ("http", "https")) -> str:
    """Check a URL: one of the schemes, a host, and no character with a meaning in nginx's files."""
    text = _text(value, subject)
    remedy = f"write it like {schemes[0]}://127.0.0.1:8080"
    scheme, separator, rest = text.partition("://")
    if scheme not in schemes or not separator or not _URL_TAIL.fullmatch(rest.replace("[", "").replace("]", "")):
        raise InputError(f"{subject} {_excerpt(text)} is not a plain {' or '.join(schemes)} URL", remedy=remedy)
    try:
        parts = urlsplit(text)
        if parts.port == 0:
            raise ValueError("port 0 is none")
        if parts.netloc.startswith("["):
            ip_address(parts.hostname or "")
    except ValueError as error:
        raise InputError(f"{subject} {_excerpt(text)}: {error}", remedy=remedy) from None
    if not parts.hostname or parts.username is not None or not _HOST.fullmatch(parts.netloc):
        raise InputError(f"{subject} {_excerpt(text)} names no host", remedy=remedy)
    return text


def listen(value: object, subject: str = "the address to listen on") -> str:
    """Check an address to listen on: an IP address, a network (for the host's addresses in it), or `all`.

    >>> listen("10.87.0.0/16"), listen("fd00:0::12")
    ('10.87.0.0/16', 'fd00::12')
    """
    import ipaddress

    text = _text(value, subject)
    if "%" in text:
        raise InputError(f"{subject} {_excerpt(text)} has a zone", remedy="give the address without %")
    try:
        return text if text == "all" else str((ipaddress.ip_network if "/" in text else ipaddress.ip_address)(text))
    except ValueError as error:
        raise InputError(
            f"{subject}: {error}", remedy="use an address such as 10.87.0.12, a network such as 10.87.0.0/16, or all"
        ) from None


def is_address(value: str) -> bool:
    """Whether the value is an IP address and not a name."""
    import ipaddress

    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def user(value: object, subject: str) -> str:
    """Check a login name, by the rules of useradd(8)."""
    text = _text(value, subject)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", text, re.ASCII):
        raise InputError(f"{subject} {_excerpt(text)} is not a user name")
    return text


def provisioner(value: object, subject: str = "the provisioner") -> str:
    """Check a provisioner's name: up to 128 letters, digits and `_.@ +-`, not starting with one of ` +-`."""
    text = _text(value, subject)
    if not _PROVISIONER.fullmatch(text):
        raise InputError(
            f"{subject} {_excerpt(text)} is not a provisioner name",
            remedy="see `step ca provisioner list`",
        )
    return text


def serial(value: object, subject: str = "the serial") -> int:
    """Read a certificate's serial number: decimal as `step` prints it, or hex as openssl does.

    Hex has a letter, colons, or 0x before it; a number of decimal digits alone is decimal.

    >>> serial("255"), serial("0xff"), serial("0A:FF")
    (255, 255, 2815)
    """
    text = _text(value, subject)
    digits = text.lower().removeprefix("0x").replace(":", "")
    is_hex = digits != text or not digits.isdecimal()
    # RFC 5280, 4.1.2.2: 20 bytes at most, and not zero.
    if not re.fullmatch(r"[0-9a-f]{1,50}", digits, re.ASCII) or not 0 < int(digits, 16 if is_hex else 10) < 1 << 160:
        raise InputError(
            f"{subject} {_excerpt(text)} is not the serial number of a certificate",
            remedy="give it as `step certificate inspect` or `openssl x509 -serial` prints it",
        )
    return int(digits, 16 if is_hex else 10)


def fingerprint(value: object, subject: str) -> str:
    """Check a SHA-256 fingerprint, and return it as lower-case hex digits without colons.

    >>> fingerprint("AB:" * 31 + "AB", "the fingerprint")[:6]
    'ababab'
    """
    text = _text(value, subject)
    digits = text.replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits, re.ASCII):
        raise InputError(
            f"{subject} {_excerpt(text)} is not a SHA-256 fingerprint",
            remedy="use the 64 hex digits of `step certificate fingerprint root.pem`",
        )
    return digits


def age(value: object, subject: str) -> int:
    """Check an age, a number of hours, days or weeks, and return it in seconds.

    >>> age("30d", "the age")
    2592000
    """
    text = _text(value, subject)
    match = re.fullmatch(r"([1-9][0-9]{0,3})([hdw])", text, re.ASCII)
    if not match:
        raise InputError(f"{subject} {_excerpt(text)} is not an age", remedy="write it as 12h, 30d or 4w")
    return int(match[1]) * {"h": 3600, "d": 86400, "w": 604800}[match[2]]


def _text(value: object, subject: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{subject} must be text, not {type(value).__name__}", remedy="put it in quotes")
    if not value:
        raise InputError(f"{subject} is empty", remedy="set a value")
    return value


def _excerpt(text: str) -> str:
    """Quote the operator's value for a message: at most 80 characters, with escapes for control characters."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")
