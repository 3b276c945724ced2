# Wait for the script that was sent to run beside the others, and say what it said.
# shellcheck shell=sh disable=SC2154
wait_background() {
	wait "$background"
	status=$?
	# Removed when this shell ends (lock.sh): every process costs a millisecond or two.
	[ ! -s "/run/meshfab/.background.$$" ] || cat "/run/meshfab/.background.$$" >&2
	return "$status"
}
wait_background
