"""A host as it was when it was brought up, for a test that wants one that nobody has touched."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from lab.machine import machine, namespace_holder
from lab.machine.process import run

if TYPE_CHECKING:
    from lab.layout import Lab

# What a test may write to, and all that a service of ours is made of. The rest of a host is a
# read-only image as far as anybody has a reason to care.
_FOLDERS = ("etc", "home", "opt", "root", "srv", "usr/local", "usr/share/nginx", "var/lib")
_UNTOUCHED = ("/var/lib/systemd", "/var/lib/dpkg", "/var/lib/apt")


def keep(lab: Lab, host: str) -> None:
    """Remember the host's disk as it is now: a copy of its own layer, and a look at the whole."""
    folder = lab.hosts / host
    script = f"cp -a {folder}/upper {folder}/kept && mkdir {folder}/pristine"
    run(namespace_holder.inside(lab, "sh", "-c", script))
    layers = [str(folder / "kept"), *machine.layers(lab, host)]
    options = f"ro,lowerdir={':'.join(layers)}"
    run(namespace_holder.inside(lab, "mount", "-t", "overlay", "lab", "-o", options, f"{folder}/pristine"))


def rebuild(lab: Lab, host: str) -> None:
    """Boot the host from a fresh copy of the disk that it had."""
    machine.halt(lab, host, clean=False)
    folder = lab.hosts / host
    run(namespace_holder.inside(lab, "umount", "--recursive", str(folder / "root")))
    for name in ("upper", "work"):
        shutil.rmtree(namespace_holder.seen(lab, folder / name))
    script = f"cp -a {folder}/kept {folder}/upper && mkdir {folder}/work"
    run(namespace_holder.inside(lab, "sh", "-c", script))
    machine.mount(lab, host)
    machine.boot(lab, host)
    machine.wait(lab, host)


def restore_files(lab: Lab, host: str) -> str:
    """Make the host's folders what they were; returns what was not, a line for each file."""
    folder = lab.hosts / host
    argv = ["rsync", "-aHAX", "--relative", "--delete", "--out-format=%n"]
    argv += [f"--exclude={path}" for path in _UNTOUCHED]
    argv += [f"{folder}/pristine/./{name}" for name in _FOLDERS]
    return run(namespace_holder.inside(lab, *argv, f"{folder}/root/"), timeout=60)
