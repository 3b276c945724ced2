"""nginx's live configuration as `nginx -T` prints it: its files, and what can be read without the grammar. Pure.

The output comes from the host, which may print anything. So every look at it is a single pass whose result is kept, and
what is found is bounded.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import PurePosixPath

from meshfab.errors import ConnectError

PREFIX = "/etc/nginx"

_FILE = re.compile(r"^# configuration file (/.{0,511}):$", re.MULTILINE)
_LISTEN = re.compile(r"(?:^|[{;])[ \t]*listen\s", re.MULTILINE)
_INCLUDE = re.compile(r"(?:^|[{;])[ \t]*include\s+[\"']?([^\s;\"']{1,512})", re.MULTILINE)
_USER = re.compile(r"^[ \t]*user[ \t]+([A-Za-z0-9_.-]{1,32})[ \t;]", re.MULTILINE)
_VERSION = re.compile(r"nginx/(\d{1,6})\.(\d{1,6})\.(\d{1,6})", re.ASCII)
_WORD = re.compile(r"[^\s;{}\"']+")
_PART = re.compile(r"[^\s;{}\"'/]+")
_WILDCARD = re.compile(r"[*?[]")
_LONGEST_NAME = 253
_LONGEST_LISTEN = 256
# An honest host has a thousand files of 2 KB.
_MAX_FILES = 5_000
_MAX_NAMES = 100_000
_MAX_LISTENS = 20_000
_MAX_PATTERNS = 5_000
# A match of a path with a wildcard takes 5 µs. Few patterns may match in one folder, and few files one pattern.
_MAX_WILDCARDS_OF_FOLDER = 50
_MAX_MATCHES = 100_000
_MAX_INCLUDERS = 20


class NginxConfig:
    """The output of `nginx -v -T`. Each question raises a ConnectError if the answer is beyond any honest host's.

    Args:
        text: the output.
        host: the host, for the message of the error.
    """

    def __init__(self, text: str, host: str) -> None:
        self._text = text
        self._host = host
        self._matches = 0
        self._matching: dict[str, list[str]] = {}

    @cached_property
    def head(self) -> str:
        """What nginx prints before the first file: its version, warnings and errors."""
        first = _FILE.search(self._text)
        return self._text[: first.start()] if first else self._text

    @cached_property
    def files(self) -> dict[str, str]:
        """The text of each file by its path; empty if nginx refuses its configuration."""
        marks = []
        for mark in _FILE.finditer(self._text):
            marks.append((mark[1], mark.start(), mark.end() + 1))
            self.require(len(marks) <= _MAX_FILES, f"has more than {_MAX_FILES} files")
        ends = [*(start for _, start, _ in marks[1:]), len(self._text)]
        return {path: self._text[begin:end] for (path, _, begin), end in zip(marks, ends, strict=False)}

    @cached_property
    def files_by_name(self) -> dict[str, list[str]]:
        """The files in which each name stands, in lower case: as a word, or in a path as `<name>.pem`."""
        number, files_by_name = 0, dict[str, list[str]]()
        for path, text in self.files.items():
            for match in _PART.finditer(text):
                name = match[0].lower().removesuffix(".pem")
                if "." in name and len(name) <= _LONGEST_NAME:
                    paths = files_by_name.setdefault(name, [])
                    if paths[-1:] != [path]:
                        paths.append(path)
                        number += 1
                        self.require(number <= _MAX_NAMES, f"has more than {_MAX_NAMES} names")
        return files_by_name

    @cached_property
    def listens(self) -> tuple[tuple[str, int, list[str]], ...]:
        """Every `listen`: its file, its line, and its arguments. A pattern finds them: it reads all files quickly."""
        listens = []
        for path, text in self.files.items():
            line, counted = 1, 0
            for match in _LISTEN.finditer(text):
                end = text.find(";", match.end(), match.end() + _LONGEST_LISTEN)
                args = text[match.end() : end].split() if end >= 0 else []
                start = match.end() - len("listen ")
                line, counted = line + text.count("\n", counted, start), start
                if args:
                    listens.append((path, line, args))
                    self.require(len(listens) <= _MAX_LISTENS, f"has more than {_MAX_LISTENS} listen directives")
        return tuple(listens)

    def would_include(self, path: str) -> bool:
        """Whether an `include` would include a file at this path, once it exists."""
        return bool(self._matching_patterns(path))

    def files_matching(self, pattern: str) -> list[str]:
        """The files that an `include` of this pattern includes."""
        pattern = _absolute(pattern)
        prefix = _literal_prefix(pattern)
        if prefix == pattern:
            return [pattern] if pattern in self.files else []
        if pattern not in self._matching:
            self.require(len(self._matching) < _MAX_PATTERNS, f"includes more than {_MAX_PATTERNS} patterns")
            candidates = [path for path in self.files if path.startswith(prefix)]
            self._matches += len(candidates) + len(self.files) // 100
            self.require(self._matches <= _MAX_MATCHES, "includes too many files by patterns")
            self._matching[pattern] = [path for path in candidates if PurePosixPath(path).match(pattern)]
        return self._matching[pattern]

    def includers(self, path: str) -> list[tuple[str, int]]:
        """The file and line of each `include` that includes a file at this path; the first twenty."""
        found: list[tuple[str, int]] = []
        patterns = self._matching_patterns(path)
        for file, text in self.files.items():
            for match in _INCLUDE.finditer(text) if patterns else ():
                if _absolute(match[1]) in patterns and len(found) < _MAX_INCLUDERS:
                    found.append((file, text.count("\n", 0, match.start(1)) + 1))
        return found

    def words_before(self, path: str) -> set[str]:
        """The words before a path of a .pem file, wherever it is named: the directives of which it is an argument."""
        return self._before.get(path, set())

    def require(self, is_met: bool, what: str) -> None:
        """Give the host's answer up if it is beyond a bound.

        Raises:
            ConnectError: `is_met` is false; `what` says which bound.
        """
        if not is_met:
            raise ConnectError(f"its nginx configuration {what}", host=self._host, remedy="see `nginx -T` there")

    def _matching_patterns(self, path: str) -> set[str]:
        """The absolute patterns of `include` that match the path."""
        literal, wildcards = self._patterns
        candidates = [pattern for prefix, pattern in wildcards if path.startswith(prefix)]
        most = _MAX_WILDCARDS_OF_FOLDER
        self.require(len(candidates) <= most, f"includes more than {most} patterns in the folder of {path}")
        return {path} & literal | {pattern for pattern in candidates if PurePosixPath(path).match(pattern)}

    @cached_property
    def _patterns(self) -> tuple[frozenset[str], list[tuple[str, str]]]:
        """The absolute patterns of all `include`: those without a wildcard; the others after what they begin with."""
        written = set()
        for match in _INCLUDE.finditer(self._text):
            written.add(match[1])
            self.require(len(written) <= _MAX_PATTERNS, f"includes more than {_MAX_PATTERNS} patterns")
        patterns = frozenset(map(_absolute, written))
        wildcards = [(_literal_prefix(pattern), pattern) for pattern in patterns if _WILDCARD.search(pattern)]
        return patterns, wildcards

    @cached_property
    def _before(self) -> dict[str, set[str]]:
        number, words = 0, dict[str, set[str]]()
        before = ""
        for match in _WORD.finditer(self._text):
            word = match[0]
            if word.endswith(".pem"):
                words.setdefault(word, set()).add(before)
                number += 1
                self.require(number <= _MAX_NAMES, f"names more than {_MAX_NAMES} .pem files")
            before = word
        return words


def worker_user(conf: str) -> str:
    """The workers' user in `nginx -T` output; the builds of Debian and Fedora both set it in the main file."""
    match = _USER.search(conf)
    return match[1] if match else ""


def version(text: str) -> tuple[int, ...]:
    """nginx's version in its output; empty if it is not there."""
    match = _VERSION.search(text)
    return tuple(int(part) for part in match.groups()) if match else ()


def _absolute(pattern: str) -> str:
    return str(PurePosixPath(PREFIX, pattern))


def _literal_prefix(pattern: str) -> str:
    wildcard = _WILDCARD.search(pattern)
    return pattern[: wildcard.start()] if wildcard else pattern
