"""Ask resolvers outside the mesh for the names of a host's services, all within one time limit."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from meshfab.checks.public_dns import ask_public
from meshfab.host.call_threads import call_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.config.settings import Settings

_AT_ONCE = 8


def ask_public_names(fqdns: Sequence[str], settings: Settings, deadline: float) -> dict[str, tuple[str, ...]]:
    """What public resolvers answer; a name for which the time is too short has no answer, as with silent resolvers."""
    if not settings.public_resolvers or not fqdns:
        return {}
    ask = partial(ask_public, resolvers=settings.public_resolvers)
    answers = call_all(ask, fqdns, deadline=deadline, at_once=_AT_ONCE)
    return {fqdn: answers.get(fqdn, ()) for fqdn in fqdns}
