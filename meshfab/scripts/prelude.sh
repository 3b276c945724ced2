# First words to the root shell (meshfab/shell.py): what every later script may use.
# shellcheck shell=sh disable=SC2154,SC2034
LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
umask 077
data='' failed=0

# answer STATUS: close this request's part of stdout and stderr.
answer() {
	[ "$1" = 0 ] || failed=1
	printf '\n%s %s\n' "$mark" "$1"
	printf '\n%s %s\n' "$mark" "$1" >&2
}

# say WHAT...: the last word of a script that cannot go on.
say() { printf '%s\n' "$*" >&2; }

# put KEY VALUE: one field of an answer, which meshfab/probe.py reads.
put() { printf '%s %d\n%s\n' "$1" "${#2}" "$2"; }

# label PATH: its SELinux label, where the host has such.
label() { ! command -v restorecon >/dev/null || restorecon -- "$1"; }

# in_turn: one at a time at nginx's configuration, ticks and operators, until this script ends.
in_turn() {
	[ -d /run/meshfab ] || mkdir -m 0700 /run/meshfab
	exec 8>>/run/meshfab/nginx.lock
	flock -w 60 8 || {
		say "/run/meshfab/nginx.lock is held by $(cat /run/meshfab/nginx.lock)"
		return 75
	}
	printf 'an operator since %s\n' "$(date -Is)" >/run/meshfab/nginx.lock
}

# load reload|start|stop: what systemd says when it cannot. Only the wire tells when the master has taken it up.
load() { timeout 60 systemctl "$1" nginx.service 2>&1; }
