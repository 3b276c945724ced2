# shellcheck shell=sh
# Turns a bare Debian into a mesh host. Runs once for each image, as root in it.

# Units that a host of the lab does not need, and that would delay its boot.
for unit in systemd-firstboot.service systemd-machine-id-commit.service getty@.service \
    console-getty.service getty-static.service serial-getty@.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer systemd-network-generator.service; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done

# Sets the mesh address before any network service starts.
cat > /etc/systemd/system/mesh-address.service <<'UNIT'
[Unit]
Description=Mesh address
DefaultDependencies=no
Before=network-pre.target network.target network-online.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/etc/default/mesh
ExecStart=/usr/sbin/ip address replace ${ADDRESS} dev host0
ExecStart=/usr/sbin/ip address replace ${IPV6} dev host0 nodad
ExecStart=/usr/sbin/ip link set dev host0 up

[Install]
WantedBy=sysinit.target
UNIT
systemctl enable mesh-address.service ssh.service nginx.service

# The operator's login: an unprivileged user with sudo.
useradd --create-home --shell /bin/bash ops
printf 'ops ALL=(ALL) NOPASSWD: ALL\n' > /etc/sudoers.d/ops
chmod 0440 /etc/sudoers.d/ops
install -d -m 0700 -o ops -g ops /home/ops/.ssh

printf 'LANG=C.UTF-8\n' > /etc/default/locale

# Each host gets its own SSH host keys and machine ID when it is created.
rm -f /etc/ssh/ssh_host_*
: > /etc/machine-id

install -d -m 0755 /etc/pki/ca-trust/source/anchors /etc/pki/tls/misc
install -d -m 0755 /etc/pki/tls/private
rm -rf /var/lib/apt/lists/* /var/log/bootstrap.log
