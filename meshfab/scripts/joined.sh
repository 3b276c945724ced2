# Wait for the script that was sent to run beside the others, and say what it said.
# shellcheck shell=sh disable=SC2154
join_beside() {
	wait "$beside"
	status=$?
	cat "/run/meshfab/.beside.$$" >&2
	rm -f "/run/meshfab/.beside.$$"
	return "$status"
}
join_beside
