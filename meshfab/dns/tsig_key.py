"""The key that signs DNS updates (TSIG, RFC 8945), from a file as `tsig-keygen` and `keymgr` write it."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshfab.config.password import HiddenText, require_operator
from meshfab.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_MAX_FILE = 4096
# BIND's form, and Knot's: the words may come in any order.
_WORDS = {
    "name": re.compile(r"(?:^|\s)(?:key|(?:- )?id:)\s*\"?([A-Za-z0-9._-]{1,253})\"?"),
    "algorithm": re.compile(r"algorithm:?\s+\"?([A-Za-z0-9.-]{1,64})\"?"),
    "secret": re.compile(r"secret:?\s+\"?([A-Za-z0-9+/=]{1,512})\"?"),
}
# The form of `nsupdate -y` and `knsupdate -y`.
_ONE_LINE = re.compile(r"([A-Za-z0-9-]{1,64}):([A-Za-z0-9._-]{1,253}):([A-Za-z0-9+/=]{1,512})")
# RFC 8945, 6; without those of MD5 and SHA-1, which no server needs.
_ALGORITHMS = {f"hmac-sha{bits}" for bits in (224, 256, 384, 512)}
_REMEDY = "set meshfab.dns.key_file to a file as tsig-keygen writes it"


@dataclass(frozen=True)
class TsigKey:
    """A key.

    Attributes:
        name: its name on the server.
        algorithm: such as `hmac-sha256`.
        secret: the secret, base64.
    """

    name: str
    algorithm: str
    secret: HiddenText

    def sign(self, message: Any) -> None:
        """Have a message of dnspython signed."""
        import dns.tsig

        message.use_tsig(dns.tsig.Key(self.name, str(self.secret), self.algorithm))


def read_key(file: Path) -> TsigKey:
    """Read a key.

    Raises:
        InputError: the file cannot be read, or has no key.
        NotReadyError: this is a worker process, which never writes.
    """
    require_operator()
    problem, text = "", HiddenText()
    try:
        with file.open("rb") as handle:
            text = HiddenText(handle.read(_MAX_FILE).decode())
    except FileNotFoundError:
        problem = "does not exist"
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read ({error.__class__.__name__})"
    key = None if problem else parse_key(text)
    if key is None:
        # Raised here: the decoder's error, which holds the file's bytes, is not its context.
        raise InputError(f"the key file {file} {problem or 'has no TSIG key'}", remedy=_REMEDY)
    return key


def parse_key(text: str) -> TsigKey | None:
    """Parse the text of a key file; None if there is no key in it. Pure.

    >>> parse_key('key "mesh" { algorithm hmac-sha256; secret "c2VjcmV0"; };').name
    'mesh'
    """
    plain = re.sub(r"(?m)^\s*(?:#|//).*$", "", text)
    if match := _ONE_LINE.fullmatch(plain.strip()):
        algorithm, name, secret = match.groups()
    else:
        found = {word: pattern.search(plain) for word, pattern in _WORDS.items()}
        if not all(found.values()):
            return None
        name, algorithm, secret = (str(match[1]) for match in found.values() if match)
    try:
        base64.b64decode(secret, validate=True)
    except ValueError:
        return None
    lower = algorithm.lower().rstrip(".")
    return TsigKey(name, lower, HiddenText(secret)) if lower in _ALGORITHMS else None
