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
