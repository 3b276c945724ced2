"""Which pairs are replaced although nothing is wrong with them: after a key or a provisioner's key leaked. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from meshfab.errors import one_line
from meshfab.host import certificate, history

if TYPE_CHECKING:
    from datetime import datetime

    from meshfab.host.facts import ServiceState

# step-ca dates a certificate back by a minute (authority/config/config.go), and clocks differ by some seconds.
_BACKDATED = timedelta(seconds=90)


@dataclass(frozen=True)
class Reissue:
    """What is replaced. With a moment or a provisioner, a pair that was replaced is not covered any more.

    Attributes:
        before: keys that were made before this moment (UTC); None for all keys.
        provisioner: if not empty, pairs of any other provisioner instead.
    """

    before: datetime | None = None
    provisioner: str = ""

    def reason(self, state: ServiceState) -> str:
        """Why the pair that is in place is replaced, as a sentence; empty if it is not."""
        leaf = certificate.leaf_of(state.cert)
        if leaf is None:
            return ""
        if self.provisioner and leaf.provisioner:
            minter = one_line(leaf.provisioner)[:64]
            return "" if leaf.provisioner == self.provisioner else f"it comes from the provisioner '{minter}'"
        if self.before is None:
            return "a new key was asked for"
        made = state.history.key_since(history.digest(leaf))
        if made is None:
            return "nobody has recorded when its key was made"
        if made < self.before - _BACKDATED:
            return f"its key was made before {self.before:%Y-%m-%d %H:%M} UTC"
        return ""
