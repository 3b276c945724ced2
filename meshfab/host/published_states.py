"""The states that a host's ticks publish, by one command that needs no rights: quick.sh."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from meshfab.errors import ConnectError
from meshfab.host import answer_fields, discovery, host_addresses, tick_state
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.tick_state import TickState
    from meshfab.ssh.script import Answer


@dataclass(frozen=True)
class PublishedStates:
    """What a host says to everybody.

    Attributes:
        now: the host's clock.
        up_for: how long the host has been up; None if it does not say. States do not outlive a boot.
        addresses: the host's addresses.
        services: the declared services, then those that have a state.
        states: by the service's name; None for a state that cannot be read.
        is_readable: whether the folder is there, and this login may read it.
    """

    now: datetime
    up_for: timedelta | None
    addresses: tuple[str, ...]
    services: tuple[Service, ...]
    states: Mapping[str, TickState | None]
    is_readable: bool


REQUEST = Request("quick")


def parse(answer: Answer, host: str, settings: Settings, declared: Sequence[Service]) -> PublishedStates:
    """Parse the answer, whatever bytes it contains.

    Raises:
        ConnectError: it is not the answer of our script, or names more services than a host has.
    """
    fields = answer_fields.parse_fields(answer.out, host)
    now = _seconds(fields.get("now", ""))
    if now is None:
        raise ConnectError(
            "its answer cannot be read", host=host, remedy=f"try `ssh {host} date`: is it the right host?"
        )
    remedy = f"look at {tick_state.FOLDER} there"
    by_name = discovery.found_services(fields.get("names", ""), host, settings, declared, remedy)
    up_for = _seconds(fields.get("uptime", ""))
    return PublishedStates(
        now=datetime.fromtimestamp(now, timezone.utc),
        up_for=None if up_for is None else timedelta(seconds=up_for),
        addresses=host_addresses.own(fields.get("addresses", "")),
        services=tuple(by_name.values()),
        states={name: tick_state.parse(fields[f"state/{name}"]) for name in by_name if f"state/{name}" in fields},
        is_readable="readable" in fields,
    )


def _seconds(text: str) -> int | None:
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(answer_fields.MAX_EPOCH))
    return min(int(text), answer_fields.MAX_EPOCH) if is_number else None
