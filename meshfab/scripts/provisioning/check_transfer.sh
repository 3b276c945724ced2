# Whether the password can be sent to this shell. It starts no process, because every lock is taken with it.
# status_input_recorded: sudo stands between this shell and its input, as it does to record it
# status_other_tmp: this shell and systemd, whose timer removes the password in the end, have different folders /tmp
# shellcheck shell=sh disable=SC2154,SC3013
# SC3013: POSIX has no `test -ef`; every sh that is in use does (dash, bash, busybox, mksh).

# read_process PID: set the process's $parent and effective $uid.
read_process() {
	[ "$1" -gt 1 ] || return
	while read -r key first second _; do
		case $key in
		PPid:) parent=$first ;;
		Uid:) uid=$second ;;
		esac
	done <"/proc/$1/status"
}

# sudo gives its own input to the command. Only for a plugin that logs input (log_input, log_stdin and log servers of
# sudoers(5), or another one in sudo.conf(5)) it puts a pipe of its own in between. sudo's processes are the ancestors
# that belong to root, up to the login.
pid=$$
while [ -n "${SUDO_UID-}" ] && read_process "$pid" && [ "$uid" = 0 ]; do
	[ "/proc/$pid/fd/0" -ef "/proc/$$/fd/0" ] || exit "$status_input_recorded"
	pid=$parent
done
# pam_namespace(8) gives a login its own; so does a chroot.
[ /tmp -ef /proc/1/root/tmp ] || exit "$status_other_tmp"
