"""The faults of a mesh in one module: hosts that stop, links that are cut, disks that are full, a CA that fails."""

from __future__ import annotations

import shlex

from lab import layout
from lab.faults import delay as network_delay
from lab.faults import slow_proxy
from lab.layout import current
from lab.machine import machine, namespace_holder
from lab.machine.process import run, wait_until
from lab.services import ca, hosts

ca_stop = ca.stop
ca_start = ca.start
ca_pause = ca.pause
ca_resume = ca.resume
ca_slow = slow_proxy.ca_slow
ca_quick = slow_proxy.ca_quick
delay = network_delay.delay
undelay = network_delay.undelay


def host_down(host: str, *, clean: bool = False) -> None:
    """Stop a host like a power failure does, or, with `clean`, shut it down. Its disk is kept."""
    machine.stop(current(), host, clean=clean)


def host_up(host: str) -> None:
    """Boot a host that is down, with the same address, keys and disk."""
    lab = current()
    machine.boot(lab, host)
    machine.wait_until_ready(lab, host)


def reboot(host: str) -> None:
    """Reboot a host with `systemctl reboot`, and wait until it is ready again."""
    lab = current()
    leader_before = machine.leader(lab, host)
    hosts.run(host, ["systemctl", "reboot"], check=False)
    wait_until(lambda: machine.leader(lab, host) not in (leader_before, None), f"{host} to reboot", 60)
    machine.wait_until_ready(lab, host)


def cut(host: str) -> bool:
    """Drop every packet from and to a host; open connections hang. Returns whether this is a change."""
    return _set_cut("add", host)


def restore(host: str) -> bool:
    """Undo `cut`. Returns whether this is a change."""
    return _set_cut("delete", host)


def kill_sshd_sessions(host: str) -> None:
    """Kill the SSH sessions on a host, as a crash does; sshd accepts new ones."""
    # OpenSSH 9.8 and newer has a program of its own for them.
    hosts.run(host, ["pkill", "-KILL", "-f", r"^sshd(-session)?: [^/]"], check=False)


def fill(host: str, folder: str) -> None:
    """Fill the file system of one folder of a host; its files do not change."""
    hosts.run(host, _FILL.replace("FOLDER", shlex.quote(folder)))


def free(host: str, folder: str) -> None:
    """Undo `fill`: the folder keeps its present files, and there is free space again."""
    hosts.run(host, _FREE.replace("FOLDER", shlex.quote(folder)))


def _set_cut(verb: str, host: str) -> bool:
    lab = current()
    port = layout.port(host)
    cut_ports = run(namespace_holder.nsenter(lab, "nft", "list", "set", "bridge", "faults", "cut"))
    if (f'"{port}"' in cut_ports) == (verb == "add"):
        return False
    ports = f'{{ "{port}", "{layout.delayed_port(host)}" }}'
    run(namespace_holder.nsenter(lab, "nft", verb, "element", "bridge", "faults", "cut", ports))
    return True


# A small tmpfs with a copy of the folder is mounted over it. A file of the tmpfs that is not visible in the folder uses
# all the free space.
_FILL = """
set -eu
folder=$(realpath -- FOLDER)
stage=/run/lab-full$(printf %s "$folder" | tr / -)
[ ! -e "$stage" ] || exit 0
mkdir -m 0700 "$stage" "$stage/under" "$stage/disk"
mount --bind "$folder" "$stage/under"
mount --make-private "$stage/under"
kilobytes=$(du -sk "$folder" | cut -f1)
mount -t tmpfs -o "size=$((kilobytes * 2 + 512))k" full "$stage/disk"
# Another process may write to the folder during the copy: copy again until both are the same.
until cp -a "$folder" "$stage/disk/files" 2> /dev/null && diff -r "$folder" "$stage/disk/files" > /dev/null; do
    rm -rf "$stage/disk/files"
done
mount --bind "$stage/disk/files" "$folder"
cat /dev/zero > "$stage/disk/filler" 2> /dev/null || true
"""
_FREE = """
set -eu
folder=$(realpath -- FOLDER)
stage=/run/lab-full$(printf %s "$folder" | tr / -)
[ -e "$stage" ] || exit 0
mountpoint -q "$folder" || exit 0
find "$stage/under" -mindepth 1 -delete
cp -a "$folder/." "$stage/under/"
umount --lazy "$folder" "$stage/under" "$stage/disk"
rm -rf "$stage"
"""
