"""The fields of a script's answer: records of a key, a length and a value, which `put` in library.sh writes."""

from __future__ import annotations

import re

_HEAD = re.compile(rb"([a-z0-9/][A-Za-z0-9./:@_+-]*) (\d{1,8})\n", re.ASCII)


def parse_fields(out: bytes) -> dict[str, str]:
    """Split "<key> <bytes>\\n<value>\\n" records; what follows a broken one is dropped."""
    answers: dict[str, str] = {}
    at = 0
    while head := _HEAD.match(out, at):
        end = head.end() + int(head[2])
        if out[end : end + 1] != b"\n":
            break
        answers[head[1].decode()] = out[head.end() : end].decode("utf-8", "replace")
        at = end + 1
    return {**_texts(answers.get("keys", ""), answers.get("texts", "")), **answers}


def _texts(keys: str, grep_output: str) -> dict[str, str]:
    """The texts of files by their key: `keys` has rows "<key> <path>", and `grep -H` printed rows "<path>:<line>"."""
    lines: dict[str, list[str]] = {}
    for row in grep_output.split("\n"):
        path, _, line = row.partition(":")
        lines.setdefault(path, []).append(line)
    return {
        key: "\n".join(lines.get(path, ())).rstrip("\n")
        for key, _, path in (row.partition(" ") for row in keys.split("\n") if row)
    }
