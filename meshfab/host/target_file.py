"""A file as it should be on a host."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from meshfab.host import resources

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class File:
    """A file as it should be on the host; `mode` in octal digits."""

    path: str
    mode: str
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text in hex."""
        return resources.digest(self.text)


@dataclass(frozen=True)
class LazyFile:
    """A file whose text is rendered on first access: the template engine takes a tenth of a second to load, and a run
    can do that while the CA works.
    """

    path: str
    render: Callable[[], str]
    mode: str = "0644"

    @cached_property
    def text(self) -> str:
        """The text for the file."""
        return self.render()

    @property
    def digest(self) -> str:
        """SHA-256 of the text in hex."""
        return resources.digest(self.text)
