# Wait for the script that runs in the background, and print its errors.
# shellcheck shell=sh disable=SC2154
wait_background() {
	wait "$background"
	status=$?
	# lock.sh removes the file when this shell ends: every process takes a millisecond or two.
	[ ! -s "/run/meshfab/.background.$$" ] || cat "/run/meshfab/.background.$$" >&2
	return "$status"
}
wait_background
