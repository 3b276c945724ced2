"""The server blocks of nginx's live configuration, parsed with nginx's grammar. Pure.

The grammar takes a second for a megabyte, and 500 bytes of memory for a directive, so what it may parse is bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshfab.host.nginx_config import NginxConfig

_MAX_PARSED_FILES = 2_000
_MAX_PARSED = 1024 * 1024
_MAX_DIRECTIVES = 30_000
# Directives of server blocks; those of an included file count again for each block that includes it.
_MAX_VISITED = 100_000
_MAX_INCLUDE_DEPTH = 5
_STREAM = re.compile(r"(?:^|[{};])[ \t]*stream\s{0,64}\{", re.MULTILINE)
# What the server blocks are asked for.
_KEPT = frozenset({"server_name", "ssl", "listen", "ssl_certificate", "ssl_certificate_key"})


@dataclass(frozen=True)
class ServerBlock:
    """A server block, with the files that it includes.

    Attributes:
        file: the file that contains it.
        line: the line it begins on.
        directives: its directives that concern TLS, by name: the file, line and arguments of each; no list is empty.
    """

    file: str
    line: int
    directives: dict[str, list[tuple[str, int, list[str]]]]

    def args(self, name: str) -> list[list[str]]:
        """The arguments of each directive of the name."""
        return [args for _, _, args in self.directives.get(name, ())]


class ServerBlocks:
    """The server blocks of a configuration; each file is parsed at most once."""

    def __init__(self, config: NginxConfig) -> None:
        self._config = config
        self._trees: dict[str, list[dict[str, Any]]] = {}
        self._by_name: dict[str, dict[str, list[ServerBlock]]] = {}
        self._parsed = self._directives = self._visited = 0

    def named(self, name: str) -> list[ServerBlock]:
        """The blocks with this `server_name`, which nginx compares case-insensitively.

        Only files that contain the name are parsed: a host may have hundreds.

        Raises:
            ConnectError: there is more to parse than on any honest host.
        """
        name = name.lower()
        blocks: list[ServerBlock] = []
        for path in self._config.files_by_name.get(name, ()):
            if path not in self._by_name:
                self._by_name[path] = self._blocks_by_name(path)
            blocks += self._by_name[path].get(name, ())
        return blocks

    def stream_listens(self) -> list[tuple[str, int, list[str]]]:
        """The `listen` directives of all `stream` blocks: their file, line and arguments.

        Raises:
            ConnectError: there is more to parse than on any honest host.
        """
        listens = []
        for path, text in self._config.files.items():
            # Only such a file is parsed, and hardly a host has one.
            for block in _blocks(self._tree(path), "stream") if _STREAM.search(text) else ():
                for file, server in self._flat(block["block"], path):
                    for at, directive in self._flat(server.get("block", []), file):
                        if directive["directive"] == "listen" and directive["args"]:
                            listens.append((at, directive["line"], directive["args"]))
        return listens

    def directives_in_files_with(self, name: str) -> Iterator[tuple[str, int, str, list[str]]]:
        """Every directive in the files that contain a name: file, line, directive and arguments.

        Raises:
            ConnectError: there is more to parse than on any honest host.
        """
        for path in self._config.files_by_name.get(name.lower(), ()):
            # Without recursion, because a host may nest blocks deeply.
            remaining = self._tree(path)[::-1]
            while remaining:
                self._visit()
                directive = remaining.pop()
                yield path, directive["line"], directive["directive"], directive["args"]
                remaining += directive.get("block", [])[::-1]

    def _blocks_by_name(self, path: str) -> dict[str, list[ServerBlock]]:
        by_name: dict[str, list[ServerBlock]] = {}
        for server in _blocks(self._tree(path), "server"):
            directives: dict[str, list[tuple[str, int, list[str]]]] = {}
            for file, directive in self._flat(server["block"], path):
                if directive["directive"] in _KEPT and directive["args"]:
                    row = (file, directive["line"], directive["args"])
                    directives.setdefault(directive["directive"], []).append(row)
            block = ServerBlock(path, server["line"], directives)
            for name in {arg.lower() for args in block.args("server_name") for arg in args}:
                by_name.setdefault(name, []).append(block)
        return by_name

    def _flat(
        self, directives: list[dict[str, Any]], path: str, includers: tuple[str, ...] = ()
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """A block's own directives with their file, and those of the files that it includes.

        nginx refuses files that include each other, so a file is not followed from within itself, nor deeper than
        people write it.
        """
        for directive in directives:
            self._visit()
            if directive["directive"] != "include":
                yield path, directive
            elif directive["args"] and len(includers) < _MAX_INCLUDE_DEPTH:
                for name in self._config.files_matching(directive["args"][0]):
                    self._visit()
                    if name != path and name not in includers:
                        yield from self._flat(self._tree(name), name, (*includers, path))

    def _visit(self) -> None:
        self._visited += 1
        few = self._visited <= _MAX_VISITED
        self._config.require(few, f"has more than {_MAX_VISITED} directives in server blocks, with includes")

    def _tree(self, path: str) -> list[dict[str, Any]]:
        """Parse a file with crossplane, which reads only files. Includes are resolved in the output instead."""
        import tempfile

        import crossplane

        if path not in self._trees:
            text = self._config.files[path]
            self._require_few(text)
            with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                payload = crossplane.parse(file.name, single=True, check_ctx=False, check_args=False)
            self._trees[path] = payload["config"][0]["parsed"]
        return self._trees[path]

    def _require_few(self, text: str) -> None:
        self._parsed += len(text)
        self._directives += text.count(";") + text.count("{")
        where = "in the files that name our services"
        require = self._config.require
        require(len(self._trees) < _MAX_PARSED_FILES, f"has more than {_MAX_PARSED_FILES} files that name our services")
        require(self._parsed <= _MAX_PARSED, f"has more than {_MAX_PARSED} characters {where}")
        require(self._directives <= _MAX_DIRECTIVES, f"has more than {_MAX_DIRECTIVES} directives {where}")


def _blocks(directives: list[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    """Every block of a name, wherever it stands. Without recursion, because a host may nest blocks deeply."""
    remaining = directives[::-1]
    while remaining:
        directive = remaining.pop()
        if directive["directive"] == name and "block" in directive:
            yield directive
        else:
            remaining += directive.get("block", [])[::-1]
