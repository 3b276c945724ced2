# Wait for the script that was sent to run beside the others, and say what it said.
# shellcheck shell=sh disable=SC2154
join_beside() {
	wait "$beside"
	status=$?
	# Removed when this shell ends (lock.sh): every process costs a millisecond or two.
	[ ! -s "/run/meshfab/.beside.$$" ] || cat "/run/meshfab/.beside.$$" >&2
	return "$status"
}
join_beside
