# shellcheck shell=sh
# Makes a bare Debian 12 a mesh host. Run once, as root of the image.

# What a host in a lab never needs, and what only slows its start down.
for unit in systemd-firstboot.service systemd-machine-id-commit.service getty@.service \
    console-getty.service getty-static.service serial-getty@.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer systemd-network-generator.service; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done

# The mesh address: in place before anything of the network starts.
cat > /etc/systemd/system/mesh-address.service <<'UNIT'
[Unit]
Description=Address on the mesh
DefaultDependencies=no
Before=network-pre.target network.target network-online.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/etc/default/mesh
ExecStart=/usr/sbin/ip address replace ${ADDRESS} dev host0
ExecStart=/usr/sbin/ip link set dev host0 up

[Install]
WantedBy=sysinit.target
UNIT
systemctl enable mesh-address.service ssh.service nginx.service

# The operator's login: unprivileged, with sudo.
useradd --create-home --shell /bin/bash ops
printf 'ops ALL=(ALL) NOPASSWD: ALL\n' > /etc/sudoers.d/ops
chmod 0440 /etc/sudoers.d/ops
install -d -m 0700 -o ops -g ops /home/ops/.ssh

printf 'LANG=C.UTF-8\n' > /etc/default/locale

# Each host gets its own; one that all share would be a lie.
rm -f /etc/ssh/ssh_host_*
: > /etc/machine-id

install -d -m 0755 /etc/pki/ca-trust/source/anchors /etc/pki/tls/misc
install -d -m 0755 /etc/pki/tls/private
rm -rf /var/lib/apt/lists/* /var/log/bootstrap.log
