"""The snapshot of a host's disk that is taken when the lab comes up, and how to return to it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from lab.machine import machine, namespace_holder
from lab.machine.process import run

if TYPE_CHECKING:
    from lab.layout import Lab

# The folders that a test may write to, and every folder that holds a part of a service. No test has a reason to
# write to another folder.
_FOLDERS = ("etc", "home", "opt", "root", "srv", "usr/local", "usr/share/nginx", "var/lib")
_EXCLUDED = ("/var/lib/systemd", "/var/lib/dpkg", "/var/lib/apt")


def save(lab: Lab, host: str) -> None:
    """Copy the host's writable layer, and mount the copy over the image, read-only, as the snapshot."""
    folder = lab.hosts / host
    script = f"cp -a {folder}/upper {folder}/saved-upper && mkdir {folder}/snapshot"
    run(namespace_holder.nsenter(lab, "sh", "-c", script))
    layers = [str(folder / "saved-upper"), *machine.layers(lab, host)]
    options = f"ro,lowerdir={':'.join(layers)}"
    run(namespace_holder.nsenter(lab, "mount", "-t", "overlay", "lab", "-o", options, f"{folder}/snapshot"))


def restore_files(lab: Lab, host: str) -> str:
    """Restore the host's folders from the snapshot while it runs. Returns the changed paths, one on a line."""
    folder = lab.hosts / host
    argv = ["rsync", "-aHAX", "--relative", "--delete", "--out-format=%n"]
    argv += [f"--exclude={path}" for path in _EXCLUDED]
    argv += [f"{folder}/snapshot/./{name}" for name in _FOLDERS]
    return run(namespace_holder.nsenter(lab, *argv, f"{folder}/root/"), timeout=60)


def rebuild(lab: Lab, host: str) -> None:
    """Stop the host and boot it from a new copy of the saved layer."""
    machine.stop(lab, host, clean=False)
    folder = lab.hosts / host
    run(namespace_holder.nsenter(lab, "umount", "--recursive", str(folder / "root")))
    for name in ("upper", "work"):
        shutil.rmtree(namespace_holder.path_from_outside(lab, folder / name))
    script = f"cp -a {folder}/saved-upper {folder}/upper && mkdir {folder}/work"
    run(namespace_holder.nsenter(lab, "sh", "-c", script))
    machine.mount_root(lab, host)
    machine.boot(lab, host)
    machine.wait_until_ready(lab, host)
