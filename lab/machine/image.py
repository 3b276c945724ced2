"""The root file systems of the hosts: cached overlay layers, from a bare Debian release to a host of the mesh."""

from __future__ import annotations

import functools
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lab.machine import cache, platforms
from lab.machine.process import CLEAN_ENVIRONMENT, children, run, send_signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from lab.machine.binaries import Binaries
    from lab.machine.platforms import Platform

    Kind = tuple[Platform, str]

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "sudo"),
    *("nginx", "libnginx-mod-stream", "acl", "openssl", "ca-certificates", "curl"),
    *("iproute2", "iputils-ping", "procps", "less"),
)
# A build runs in its own mount and PID namespaces and is killed when this process dies, so that no mount and no
# process of an interrupted build remains.
_ISOLATED = ["setpriv", "--pdeathsig=KILL"]
_ISOLATED += ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]


def ensure_bare(
    release: str, on_step: Callable[[str, str], None], extra_packages: Sequence[str] = ()
) -> tuple[Path, bool]:
    """Bootstrap the lowest layer of a release if it is not cached yet; it needs neither `step` nor a flavour.

    Returns the layer, and whether it was built now.
    """
    packages = (*PACKAGES, *extra_packages)
    bootstrap = functools.partial(_bootstrap, release, packages, on_step)
    return cache.ensure_folder(f"bare-{cache.key(release, *packages)}", bootstrap)


def ensure_images(
    kinds: Iterable[Kind],
    binaries: Binaries,
    on_step: Callable[[str, str], None],
    extra_packages: Sequence[str] = (),
) -> tuple[dict[Kind, list[Path]], bool]:
    """Build the layers of these kinds of hosts that are not cached yet, several releases side by side.

    Args:
        kinds: the platform and the flavour of each kind.
        binaries: where `step` is, which every host has.
        on_step: told what takes long.
        extra_packages: Debian packages that a mesh host does not need.

    Returns:
        The read-only layers of each kind, the topmost first, and whether any was built now.
    """
    wanted = list(dict.fromkeys(kinds))
    with ThreadPoolExecutor(max(len(wanted), 1)) as pool:
        try:
            built = list(pool.map(lambda kind: _ensure_layers(kind, binaries, on_step, extra_packages), wanted))
        except BaseException:
            # A thread that waits for a build stops waiting when the build has ended.
            pool.shutdown(wait=False, cancel_futures=True)
            send_signal(children(os.getpid()), signal.SIGKILL)
            raise
    return {kind: layers for kind, (layers, _) in zip(wanted, built, strict=True)}, any(new for _, new in built)


def _ensure_layers(
    kind: Kind, binaries: Binaries, on_step: Callable[[str, str], None], extra_packages: Sequence[str]
) -> tuple[list[Path], bool]:
    platform, flavour = kind
    bare, any_built = ensure_bare(platform.release, on_step, extra_packages)
    step_stat = binaries.step.stat()
    step_key = cache.key(str(binaries.step), str(step_stat.st_size), str(step_stat.st_mtime_ns))
    step, built = cache.ensure_folder(f"tool-{step_key}", functools.partial(_copy_step, binaries.step))
    layers = [step, bare]
    any_built = any_built or built
    for name, recipe in platforms.recipes(platform, flavour):
        recipe_key = cache.key(recipe, *(path.name for path in layers))
        build = functools.partial(_run_recipe, list(layers), recipe)
        layer, built = cache.ensure_folder(f"{name}-{recipe_key}", build)
        layers.insert(0, layer)
        any_built = any_built or built
    return [path / "tree" for path in layers], any_built


def _bootstrap(release: str, packages: Sequence[str], on_step: Callable[[str, str], None], folder: Path) -> None:
    on_step("base image", f"bootstrapping Debian {release}; this takes a minute or two, once")
    tree = folder / "tree"
    argv = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", release, str(tree)]
    run([*_ISOLATED, "--mount-proc", *argv, *_configured_mirror()], env=_proxy_environment())
    for archive in (tree / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()


def _configured_mirror() -> list[str]:
    """The Debian mirror that this machine's apt uses, which has every release; empty if it has none."""
    argv = ["apt-get", "indextargets", "--format", "$(LABEL) $(COMPONENT) $(SITE)", "Created-By: Packages"]
    rows = [line.split() for line in run(argv).splitlines()]
    return [row[2] for row in rows if row[:2] == ["Debian", "main"] and len(row) == 3][:1]


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
    argv = [*_ISOLATED, "sh", "-c", script, "sh", options, f"{folder}/root"]
    run(argv, stdin=recipe, env=_proxy_environment())
    shutil.rmtree(folder / "work")
    (folder / "root").rmdir()
