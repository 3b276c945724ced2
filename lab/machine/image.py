"""The hosts' root file system: cached layers, from a bare Debian 12 up to the two layouts."""

from __future__ import annotations

import functools
import os
import shutil
from importlib import resources
from typing import TYPE_CHECKING

from lab.machine import cache
from lab.machine.process import PLAIN, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lab.machine.binaries import Binaries

SUITE = "bookworm"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "sudo"),
    *("nginx", "acl", "openssl", "ca-certificates", "curl"),
    *("iproute2", "iputils-ping", "procps", "less"),
)
FLAVOURS = ("debian", "fedora")
# Mounts and processes of its own, which end with us: however a build ends, they go with it.
_ALONE = ["setpriv", "--pdeathsig=KILL"]
_ALONE += ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]


def layers(
    flavour: str, binaries: Binaries, on_step: Callable[[str, str], None], more: Sequence[str] = ()
) -> tuple[list[Path], bool]:
    """The read-only layers of a host, topmost first, and whether any had to be made now.

    `more` are Debian packages that a mesh host does without, and what is tried on it does not.
    """
    packages = (*PACKAGES, *more)
    bootstrap = functools.partial(_bootstrap, packages, on_step)
    bare, made = cache.made(f"bare-{cache.key(SUITE, *packages)}", bootstrap)
    stack = [bare]
    stat = binaries.step.stat()
    step_key = cache.key(str(binaries.step), str(stat.st_size), str(stat.st_mtime_ns))
    step, new = cache.made(f"tool-{step_key}", functools.partial(_copy_step, binaries.step))
    stack.insert(0, step)
    made = made or new
    for name in FLAVOURS[: FLAVOURS.index(flavour) + 1]:
        recipe = resources.files("lab").joinpath("recipes", f"{name}.sh").read_text()
        recipe_key = cache.key(recipe, *(path.name for path in stack))
        layer, new = cache.made(f"{name}-{recipe_key}", functools.partial(_apply, list(stack), recipe))
        stack.insert(0, layer)
        made = made or new
    return [path / "tree" for path in stack], made


def _bootstrap(packages: Sequence[str], on_step: Callable[[str, str], None], part: Path) -> None:
    on_step("base image", "bootstrapping Debian; this takes a minute or two, once")
    tree = part / "tree"
    argv = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", SUITE, str(tree)]
    run([*_ALONE, "--mount-proc", *argv, *_own_mirror()], env=_environment())
    for leftover in (tree / "var/cache/apt/archives").glob("*.deb"):
        leftover.unlink()


def _own_mirror() -> list[str]:
    """The mirror that this machine's own apt uses for the suite, if it has one."""
    form = "$(SITE) $(RELEASE) $(COMPONENT)"
    targets = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    for line in targets.splitlines():
        site, _, rest = line.partition(" ")
        if rest == f"{SUITE} main":
            return [site]
    return []


def _environment() -> dict[str, str]:
    """A proxy, if the machine needs one, and nothing else of the caller's environment."""
    proxies = {name: text for name, text in os.environ.items() if "proxy" in name.lower()}
    return {**PLAIN, **proxies}


def _copy_step(step: Path, part: Path) -> None:
    place = part / "tree" / "usr" / "bin" / "step"
    place.parent.mkdir(parents=True)
    shutil.copyfile(step, place)
    place.chmod(0o755)


def _apply(lower: list[Path], recipe: str, part: Path) -> None:
    """Run a recipe as root of the layers so far; what it changes is the new layer."""
    for name in ("tree", "work", "root"):
        (part / name).mkdir(mode=0o755)
    options = f"lowerdir={':'.join(f'{path}/tree' for path in lower)}"
    options += f",upperdir={part}/tree,workdir={part}/work"
    script = 'mount -t overlay lab -o "$1" "$2" && exec chroot "$2" /bin/sh -eu'
    run([*_ALONE, "sh", "-c", script, "sh", options, f"{part}/root"], stdin=recipe, env=PLAIN)
    shutil.rmtree(part / "work")
    (part / "root").rmdir()
