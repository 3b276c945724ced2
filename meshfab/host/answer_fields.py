"""The fields of a script's answer: records of a key, a length and a value, which `put` in library.sh writes.

A host may answer anything, so everything is bounded here, once for all parsers above: the number of fields, the size of
each, and the files that it may name. An answer beyond a bound is given up as a whole; half of it would be misjudged.
"""

from __future__ import annotations

import re

from meshfab.errors import ConnectError

_HEAD = re.compile(rb"([a-z0-9/][A-Za-z0-9./:@_+-]{0,511}) (\d{1,8})\n", re.ASCII)
_KIB = 1024
_MIB = 1024 * _KIB
# Most values are a line or a small file. The others have a line for each service, or for each line of nginx's files;
# 1,000 vhosts of 2 KB are 2 MB. `texts` has the certificates and vhosts of all services.
_MAX_VALUE = 512 * _KIB
_MAX_VALUES = {
    "nginx.conf": 3 * _MIB,
    "texts": 8 * _MIB,
    "histories": 4 * _MIB,
    **dict.fromkeys(("keys", "units", "stats", "digests", "resolved", "ca.provisioners"), _MIB),
}
_MAX_FIELDS = 10_000
_MAX_LINES = 200_000
_MAX_ROWS = 20_000
# The end of the year 9999, where datetime ends; in seconds since 1970.
MAX_EPOCH = 253_402_300_799
# A service's certificate may be the host's own; nothing else is read under two names.
_MAX_KEYS_OF_FILE = 2


def parse_fields(out: bytes, host: str) -> dict[str, str]:
    """Split "<key> <bytes>\\n<value>\\n" records; what follows a broken one is dropped.

    Raises:
        ConnectError: the answer is beyond what any host of the mesh answers; `host` is the one to name.
    """
    answers: dict[str, str] = {}
    at = number = 0
    while head := _HEAD.match(out, at):
        key, size = head[1].decode(), int(head[2])
        end = head.end() + size
        if out[end : end + 1] != b"\n":
            break
        number += 1
        _require(number <= _MAX_FIELDS, host, f"has more than {_MAX_FIELDS} fields")
        most = _MAX_VALUES.get(key, _MAX_VALUE)
        _require(size <= most, host, f"is too long to judge: {key} has {size} bytes, and {most} are the most")
        answers[key] = out[head.end() : end].decode("utf-8", "replace")
        at = end + 1
    return {**_texts(answers.pop("keys", ""), answers.pop("texts", ""), host), **answers}


def rows(text: str) -> list[str]:
    """The rows of a value, without empty ones and no more than any host has."""
    return [row for row in text.split("\n", _MAX_ROWS)[:_MAX_ROWS] if row]


def _texts(keys: str, grep_output: str, host: str) -> dict[str, str]:
    """The texts of files by their key: `keys` has rows "<key> <path>", and `grep -H` printed rows "<path>:<line>"."""
    _require(keys.count("\n") < _MAX_FIELDS, host, f"names more than {_MAX_FIELDS} files")
    _require(grep_output.count("\n") < _MAX_LINES, host, f"has files of more than {_MAX_LINES} lines together")
    keys_by_path: dict[str, list[str]] = {}
    for row in keys.split("\n"):
        key, _, path = row.partition(" ")
        if path:
            keys_by_path.setdefault(path, []).append(key)
    _require(
        all(len(keys_of) <= _MAX_KEYS_OF_FILE for keys_of in keys_by_path.values()),
        host,
        f"names one file more than {_MAX_KEYS_OF_FILE} times",
    )
    lines: dict[str, list[str]] = {path: [] for path in keys_by_path}
    for row in grep_output.split("\n"):
        path, _, line = row.partition(":")
        if path in lines:
            lines[path].append(line)
    texts = {}
    for path, keys_of in keys_by_path.items():
        # One string for all of its keys.
        text = "\n".join(lines[path]).rstrip("\n")
        texts.update(dict.fromkeys(keys_of, text))
    return texts


def _require(is_met: bool, host: str, what: str) -> None:
    if not is_met:
        raise ConnectError(f"its answer {what}", host=host, remedy="see what its files have become")
