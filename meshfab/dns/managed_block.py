"""The block of lines that is ours in a file that is not. Pure: text in, text out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.errors import DnsError

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGIN = "# BEGIN meshfab: written by `inv publish-dns`; changes in this block are lost"
END = "# END meshfab"
_BEGIN_WORDS = "# BEGIN meshfab"


@dataclass(frozen=True)
class BlockedText:
    """A file's lines: those of others before our block, ours, and those of others after it."""

    before: tuple[str, ...]
    ours: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def others(self) -> tuple[str, ...]:
        """The lines that are not ours."""
        return self.before + self.after

    def replaced(self, lines: Sequence[str]) -> str:
        """The text with these lines in our block; without a block if there are none."""
        block = (BEGIN, *lines, END) if lines else ()
        every = (*self.before, *block, *self.after)
        return "".join(f"{line}\n" for line in every)


def split(text: str, location: str) -> BlockedText:
    r"""Take a text apart.

    >>> split("127.0.0.1 localhost\n# BEGIN meshfab\n10.0.0.2 tea.internal\n# END meshfab\n", "h1").ours
    ('10.0.0.2 tea.internal',)

    Raises:
        DnsError: the block's lines are damaged: what is ours cannot be told.
    """
    lines = text.splitlines()
    begins = [index for index, line in enumerate(lines) if line.startswith(_BEGIN_WORDS)]
    ends = [index for index, line in enumerate(lines) if line.startswith(END)]
    if not begins and not ends:
        return BlockedText(tuple(lines), (), ())
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        what = "the lines `# BEGIN meshfab` and `# END meshfab` are not there once each, in this order"
        raise DnsError(what, host=location, remedy="correct the file by hand: only our records belong between them")
    begin, end = begins[0], ends[0]
    return BlockedText(tuple(lines[:begin]), tuple(lines[begin + 1 : end]), tuple(lines[end + 1 :]))
