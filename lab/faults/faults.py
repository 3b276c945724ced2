"""What goes wrong on a mesh: hosts that die, links that go silent, disks that fill."""

from __future__ import annotations

import shlex

from lab import layout
from lab.faults import delay as long_line
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
delay = long_line.delay
undelay = long_line.undelay


def host_down(host: str, *, clean: bool = False) -> None:
    """Pull the host's plug (or shut it down cleanly). Its disk stays as it is."""
    machine.halt(current(), host, clean=clean)


def host_up(host: str) -> None:
    """Boot a host that is down, with the address, keys and disk it had."""
    lab = current()
    machine.boot(lab, host)
    machine.wait(lab, host)


def reboot(host: str) -> None:
    """Reboot the host in the way that its own systemd does it, and wait until it is back."""
    lab = current()
    before = machine.leader(lab, host)
    hosts.run(host, ["systemctl", "reboot"], check=False)
    wait_until(lambda: machine.leader(lab, host) not in (before, None), f"{host} to reboot", 60)
    machine.wait(lab, host)


def cut(host: str) -> None:
    """Drop every packet from and to the host, in silence; open connections hang."""
    _set_cut("add", host)


def restore(host: str) -> None:
    """Mend the link of a host that was cut."""
    _set_cut("delete", host)


def kill_sshd_sessions(host: str) -> None:
    """Kill the SSH sessions on a host, as a crash would; new ones are accepted."""
    hosts.run(host, ["pkill", "-KILL", "-f", r"^sshd: [^/]"], check=False)


def fill(host: str, folder: str) -> None:
    """Make the file system of one folder of the host full; its files stay what they are."""
    hosts.run(host, _FILL.replace("FOLDER", shlex.quote(folder)))


def free(host: str, folder: str) -> None:
    """Undo `fill`: what is in the folder now is kept, and there is room again."""
    hosts.run(host, _FREE.replace("FOLDER", shlex.quote(folder)))


def _set_cut(verb: str, host: str) -> None:
    lab = current()
    port = layout.port(host)
    table = run(namespace_holder.inside(lab, "nft", "list", "set", "bridge", "faults", "cut"))
    if (f'"{port}"' in table) == (verb == "add"):
        return
    ports = f'{{ "{port}", "{layout.delayed_port(host)}" }}'
    run(namespace_holder.inside(lab, "nft", verb, "element", "bridge", "faults", "cut", ports))


# A small file system is laid over the folder; beside what was in the folder, and out of its sight,
# one file takes all the room that is left.
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
# What is at work in the folder must not be copied halfway.
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
