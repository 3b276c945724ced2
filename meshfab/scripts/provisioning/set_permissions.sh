# Owner, mode and ACL of a pair. $1 certificate, $2 key, $3 nginx's user
# shellcheck shell=sh
set -eu
chown root:root -- "$1" "$2"
chmod 0644 -- "$1"
# chmod after setfacl would set the ACL's mask, and 0600 there makes the entry #effective:---.
chmod 0640 -- "$2"
setfacl -b -m "u:$3:r" -- "$2"
getfacl -cp -- "$2" | grep -qx "user:$3:r--" # read back; a mask would show as #effective:
! command -v restorecon >/dev/null || restorecon "$1" "$2"
