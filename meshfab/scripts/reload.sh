# Try nginx's configuration and reload it. The master takes it up later: only the wire tells when (meshfab/served.py).
# shellcheck shell=sh
set -eu
trap '' HUP INT TERM PIPE
said=$(umask 022 && nginx -t 2>&1) || {
	say "$said"
	exit 3
}
systemctl reload nginx.service
