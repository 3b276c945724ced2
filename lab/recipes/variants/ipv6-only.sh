# shellcheck shell=sh
# No IPv4 address but that of the loopback.

sed -i '/{ADDRESS}/d' /etc/systemd/system/mesh-address.service
