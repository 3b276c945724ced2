"""What a host runs: a Debian release, and variants of it, which are recipes of a few lines. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from lab import layout
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RELEASES = ("bookworm", "trixie", "sid")
DEFAULT = RELEASES[0]


@dataclass(frozen=True)
class Platform:
    """A release and its variants, in the order in which their recipes run; as text, `trixie+sudo-rs`."""

    release: str = DEFAULT
    variants: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "+".join((self.release, *self.variants))

    @property
    def is_ipv6_only(self) -> bool:
        """Whether the host has no IPv4 address but that of its loopback."""
        return "ipv6-only" in self.variants


def parse(text: str) -> Platform:
    """The platform that `trixie` or `trixie+sudo-rs+umask-077` names.

    Raises:
        LabError: there is no such release or variant.
    """
    release, *variants = text.split("+")
    if release not in RELEASES:
        raise LabError(f"--release {text}: there is no release {release!r}; use one of {', '.join(RELEASES)}")
    known = variant_names()
    for variant in variants:
        if variant not in known:
            raise LabError(f"--release {text}: there is no variant {variant!r}; use one of {', '.join(known)}")
    return Platform(release, tuple(variants))


def assign(host_names: Sequence[str], options: Iterable[str]) -> dict[str, Platform]:
    """The platform of each host, by options such as `trixie`, for all hosts, and `h2=sid`, for one of them.

    Raises:
        LabError: an option names no such host, release or variant.
    """
    default, own = Platform(), {}
    for option in options:
        host, equals, text = option.rpartition("=")
        if not equals:
            default = parse(text)
        elif host in host_names:
            own[host] = parse(text)
        else:
            raise LabError(f"--release {option}: this lab has no host {host!r}; it has {_count(host_names)}")
    return {host: own.get(host, default) for host in host_names}


def variant_names() -> list[str]:
    """The names of all variants."""
    return sorted(path.name[:-3] for path in _variants().iterdir() if path.name.endswith(".sh"))


def recipes(platform: Platform, flavour: str) -> list[tuple[str, str]]:
    """The name and the text of each recipe that makes a host of this flavour from the bare release, in order."""
    names = layout.FLAVOURS[: layout.FLAVOURS.index(flavour) + 1]
    files = [(name, resources.files("lab") / "recipes" / f"{name}.sh") for name in names]
    files += [(name, _variants() / f"{name}.sh") for name in platform.variants]
    return [(name, path.read_text()) for name, path in files]


def _variants() -> resources.abc.Traversable:
    return resources.files("lab") / "recipes" / "variants"


def _count(host_names: Sequence[str]) -> str:
    return f"the hosts h1 to {host_names[-1]}" if host_names else "no hosts"
