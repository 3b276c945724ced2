"""The root file system of the hosts: cached overlay layers, from a bare Debian 12 to the two flavours."""

from __future__ import annotations

import functools
import os
import shutil
from importlib import resources
from typing import TYPE_CHECKING

from lab.machine import cache
from lab.machine.process import CLEAN_ENVIRONMENT, run

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
# A build runs in its own mount and PID namespaces and is killed when this process dies, so that no mount and no
# process of an interrupted build remains.
_ISOLATED = ["setpriv", "--pdeathsig=KILL"]
_ISOLATED += ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]


def ensure_bare(on_step: Callable[[str, str], None], extra_packages: Sequence[str] = ()) -> tuple[Path, bool]:
    """Bootstrap the lowest layer if it is not cached yet, which needs neither `step` nor a flavour.

    Returns the layer, and whether it was built now.
    """
    packages = (*PACKAGES, *extra_packages)
    bootstrap = functools.partial(_bootstrap, packages, on_step)
    return cache.ensure_folder(f"bare-{cache.key(SUITE, *packages)}", bootstrap)


def ensure_layers(
    flavour: str,
    binaries: Binaries,
    on_step: Callable[[str, str], None],
    extra_packages: Sequence[str] = (),
) -> tuple[list[Path], bool]:
    """Build the layers of a host that are not cached yet.

    Returns the read-only layers, the topmost first, and whether any was built now. The extra packages are Debian
    packages that a mesh host does not need.
    """
    bare, any_built = ensure_bare(on_step, extra_packages)
    step_stat = binaries.step.stat()
    step_key = cache.key(str(binaries.step), str(step_stat.st_size), str(step_stat.st_mtime_ns))
    step, built = cache.ensure_folder(f"tool-{step_key}", functools.partial(_copy_step, binaries.step))
    layers = [step, bare]
    any_built = any_built or built
    for name in FLAVOURS[: FLAVOURS.index(flavour) + 1]:
        recipe = resources.files("lab").joinpath("recipes", f"{name}.sh").read_text()
        recipe_key = cache.key(recipe, *(path.name for path in layers))
        build = functools.partial(_run_recipe, list(layers), recipe)
        layer, built = cache.ensure_folder(f"{name}-{recipe_key}", build)
        layers.insert(0, layer)
        any_built = any_built or built
    return [path / "tree" for path in layers], any_built


def _bootstrap(packages: Sequence[str], on_step: Callable[[str, str], None], folder: Path) -> None:
    on_step("base image", "bootstrapping Debian; this takes a minute or two, once")
    tree = folder / "tree"
    argv = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", SUITE, str(tree)]
    run([*_ISOLATED, "--mount-proc", *argv, *_configured_mirror()], env=_proxy_environment())
    for archive in (tree / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()


def _configured_mirror() -> list[str]:
    """The mirror that this machine's apt uses for the suite; empty if it has none."""
    line_format = "$(SITE) $(RELEASE) $(COMPONENT)"
    targets = run(["apt-get", "indextargets", "--format", line_format, "Created-By: Packages"])
    for line in targets.splitlines():
        site, _, release = line.partition(" ")
        if release == f"{SUITE} main":
            return [site]
    return []


def _proxy_environment() -> dict[str, str]:
    """The clean environment plus the caller's proxy settings."""
    proxies = {name: text for name, text in os.environ.items() if "proxy" in name.lower()}
    return {**CLEAN_ENVIRONMENT, **proxies}


def _copy_step(step: Path, folder: Path) -> None:
    target = folder / "tree" / "usr" / "bin" / "step"
    target.parent.mkdir(parents=True)
    shutil.copyfile(step, target)
    target.chmod(0o755)


def _run_recipe(lower_layers: list[Path], recipe: str, folder: Path) -> None:
    """Run a recipe as root in an overlay of the lower layers; its changes are the new layer."""
    for name in ("tree", "work", "root"):
        (folder / name).mkdir(mode=0o755)
    options = f"lowerdir={':'.join(f'{path}/tree' for path in lower_layers)}"
    options += f",upperdir={folder}/tree,workdir={folder}/work"
    script = 'mount -t overlay lab -o "$1" "$2" && exec chroot "$2" /bin/sh -eu'
    run([*_ISOLATED, "sh", "-c", script, "sh", options, f"{folder}/root"], stdin=recipe, env=CLEAN_ENVIRONMENT)
    shutil.rmtree(folder / "work")
    (folder / "root").rmdir()
