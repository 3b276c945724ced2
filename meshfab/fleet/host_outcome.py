"""The outcome of `apply` on one host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshfab.config.service import Service
    from meshfab.dns.publication import Publication
    from meshfab.errors import MeshfabError
    from meshfab.provisioning.outcome import Outcome, Retirement


@dataclass(frozen=True)
class HostOutcome:
    """The outcome of `apply` on one host.

    Attributes:
        host: the host, as it was named.
        services: an outcome for each service that is declared there; empty where the host was not reached.
        steps: the steps that were done: the service, the step's verb and a sentence.
        undeclared: sentences on services that are there and not declared.
        prunable: the names of those of them that meshfab set up.
        reached: the address that SSH reached; empty behind a jump host.
        published: with the setting `dns`, what became of the services' names in the DNS.
        retired: with `prune`, the end of each of these (in a dry run, its plan).
        error: the error that ended the run of the whole host, such as a lost connection or a refused login.
        seconds: the duration.
    """

    host: str
    services: tuple[Outcome, ...] = ()
    steps: tuple[tuple[Service, str, str], ...] = ()
    undeclared: tuple[str, ...] = ()
    prunable: tuple[str, ...] = ()
    reached: str = ""
    published: tuple[Publication, ...] = ()
    retired: tuple[Retirement, ...] = ()
    error: MeshfabError | None = None
    seconds: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether all that is declared there is served, trusted and renews itself, and what was to be retired is.

        In a dry run: whether it could be read.
        """
        errors = (
            *(outcome.error for outcome in self.services),
            *(publication.error for publication in self.published),
            *(retired.error for retired in self.retired),
        )
        return self.error is None and not any(errors)

    @property
    def is_changed(self) -> bool:
        """Whether anything was changed (or would be, in a dry run)."""
        changes = (
            *(outcome.changed for outcome in self.services),
            *(publication.reason for publication in self.published),
            *(retired.changed for retired in self.retired),
        )
        return any(changes)


# Called with each host's outcome when it arrives, and the number of hosts that are still missing.
OnResult = Callable[[HostOutcome, int], None]
