"""One output stream of the root shell: the bytes that have arrived, taken out answer by answer."""

from __future__ import annotations

from meshfab.ssh.script import readable


class AnswerStream:
    """Bytes of stdout or of stderr, in which the mark ends each script's output.

    Every byte is searched once, however small the pieces are in which a host sends them.

    Args:
        mark: the protocol's mark.
    """

    def __init__(self, mark: str) -> None:
        self._mark = f"\n{mark} ".encode()
        self._data = bytearray()
        self._searched, self._mark_at = 0, -1

    def feed(self, chunk: bytes) -> None:
        """Add what has arrived."""
        self._data += chunk

    def rest(self) -> bytes:
        """What has arrived and was not taken."""
        return bytes(self._data)

    def take_answer(self) -> tuple[bytes, str] | None:
        """Take the output up to the mark and the status after it; None if not all of it has arrived."""
        if self._mark_at < 0:
            self._mark_at = self._data.find(self._mark, self._searched)
            if self._mark_at < 0:
                # The mark may have arrived in part.
                self._searched = max(len(self._data) - len(self._mark) + 1, 0)
                return None
            self._searched = self._mark_at + len(self._mark)
        end = self._data.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._data)
            return None
        output = bytes(self._data[: self._mark_at])
        status = readable(bytes(self._data[self._mark_at + len(self._mark) : end]))
        del self._data[: end + 1]
        self._searched, self._mark_at = 0, -1
        return output, status
