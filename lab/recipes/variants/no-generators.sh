# shellcheck shell=sh
# systemd runs none of its generators, which find nothing to do on these hosts, and are half of a `daemon-reload`.

install -d -m 0755 /etc/systemd/system-generators
for generator in /usr/lib/systemd/system-generators/*; do
    ln -sf /dev/null "/etc/systemd/system-generators/${generator##*/}"
done
