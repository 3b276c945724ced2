# Functions for all scripts; meshfab/ssh/root_shell.py sends this file first.
# shellcheck shell=sh disable=SC2154,SC2034
# A printf that is a program would have the password among its arguments, where every user of the host can read it.
# mksh is such a shell; it also closes the descriptors of our locks. Python looks for these words.
case $(command -v printf) in
printf) ;;
*)
	echo 'meshfab needs a shell with printf as a builtin' >&2
	exit 1
	;;
esac
LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
umask 077
data='' failed=0
# Exit statuses that Python reads too: ExitStatus in meshfab/ssh/script.py. A test compares both sides.
status_config_refused=3 status_server_ignored=4 status_not_included=5 status_load_failed=6 status_not_taken_up=7
status_no_reaper=8 status_is_folder=9 status_partly_moved=10 status_file_changed=11 status_too_long=12
status_input_recorded=20 status_other_tmp=21 status_busy=75 status_timed_out=124

# answer STATUS: print the mark and the status that end a script's answer, on stdout and on stderr.
answer() {
	[ "$1" = 0 ] || failed=1
	printf '\n%s %s\n' "$mark" "$1"
	printf '\n%s %s\n' "$mark" "$1" >&2
}

# print_error MESSAGE...: print the error of a script that fails.
print_error() { printf '%s\n' "$*" >&2; }

# put KEY VALUE: print one field of an answer; meshfab/host/answer_fields.py parses it.
put() { printf '%s %d\n%s\n' "$1" "${#2}" "$2"; }

# show_units UNIT...: print the properties that meshfab/host/facts.py parses. A unit that does not exist is not an error.
show_units() {
	shown=$(TZ=UTC systemctl show -p Id -p LoadState -p UnitFileState -p ActiveState -p Result -p NeedDaemonReload \
		-p NextElapseUSecRealtime -p MainPID "$@" 2>&1)
	case $shown in
	*NeedDaemonReload=yes*)
		! has_read_units || shown=$(printf '%s\n' "$shown" | sed 's/^NeedDaemonReload=yes$/NeedDaemonReload=no/')
		;;
	esac
	printf '%s\n' "$shown"
}

# has_read_units: whether systemd has in memory what our units and their drop-ins are on disk, although it wants a reload.
# From systemd 255 on, `systemctl --no-reload enable` of any unit sets NeedDaemonReload=yes on every unit of the host.
# Nothing tells which version of a file systemd has read, so this compares times: all of them are older than the last time
# that systemd read everything, or than install_units.sh's note that no older version was there. ctime, since a file that
# is moved back keeps its mtime. Before systemd 248, which has no --timestamp=, the flag is right.
has_read_units() {
	units=/etc/systemd/system/step@
	[ -f $units.service ] && [ -f $units.timer ] || return 1
	loads=$(TZ=UTC systemctl --timestamp=us+utc show -p UnitsLoadTimestamp -p UnitsLoadStartTimestamp 2>/dev/null) || return 1
	read_at='' booted_at=''
	while IFS='=' read -r property time; do
		case $property in
		UnitsLoadTimestamp) read_at=$time ;; # empty until the first daemon-reload
		UnitsLoadStartTimestamp) booted_at=$time ;;
		esac
	done <<-LOADS
		$loads
	LOADS
	set -- -newerct "${read_at:-$booted_at}"
	[ ! -f /run/meshfab/.units-new ] || set -- "$@" -cnewer /run/meshfab/.units-new
	changed=$(find $units* "$@" -print -quit 2>&1) && [ -z "$changed" ]
}

# restore_label PATH: restore its SELinux label, if the host has SELinux.
restore_label() { ! command -v restorecon >/dev/null || restorecon -- "$1"; }

# take_nginx_lock: lock nginx's configuration until this script ends. Ticks and operators take the same lock.
take_nginx_lock() {
	[ -d /run/meshfab ] || mkdir -m 0700 /run/meshfab
	exec 8>>/run/meshfab/.nginx.lock
	flock -w 60 8 || {
		print_error "/run/meshfab/.nginx.lock is held by $(cat /run/meshfab/.nginx.lock)"
		return "$status_busy"
	}
	# lock.sh sets $since; this script may run without it.
	printf 'an operator since %s\n' "${since:=$(date -Is)}" >/run/meshfab/.nginx.lock
}

# print_holder TEXT:PORT: print ", by NAME", the program that has the TCP port; nothing if nobody has it.
print_holder() {
	ss -Hltnp "sport = :${1##*:}" 2>/dev/null | sed -n 's/.*users:(("\([A-Za-z0-9_.-]\{1,32\}\)".*/, by \1/p' | head -n 1
}

# load_nginx reload|open|start|restart LOG MASTER: do it through systemd, and verify a reload.
# `systemctl reload` returns at once with status 0, even if nginx then rejects the configuration. The reload has worked
# when the master has new workers and the old workers have ended or are shutting down. Otherwise print the error from LOG.
# `open` is a reload that opens a port on which nothing listened before: new workers are enough, because the old workers
# cannot answer there.
# MASTER is the pid of nginx's main process from the probe; ask systemd again only if it is no longer an nginx.
# Status: status_load_failed if systemctl failed, status_not_taken_up if nginx did not take the configuration up.
load_nginx() {
	verb=$1
	workers() { pgrep -P "$main" -f '^nginx: worker process$' | tr '\n' ' '; }
	if [ "$1" = open ]; then
		verb=reload
		# Any child process is enough, and reading /proc takes a fifth of the time of pgrep.
		workers() { cat "/proc/$main/task/$main/children" 2>/dev/null || pgrep -P "$main" | tr '\n' ' '; }
	fi
	size=$(stat -c %s -- "$2" 2>/dev/null || echo 0)
	main=$3
	{ read -r name <"/proc/$main/comm"; } 2>/dev/null && [ "$name" = nginx ] ||
		main=$(systemctl show --value -p MainPID nginx.service)
	old=$(workers)
	# -k: this script ignores SIGTERM, so systemctl does too; on a host that shuts down it may never return.
	output=$(timeout -k 1 20 systemctl "$verb" nginx.service 2>&1) || {
		print_error "$output"
		return "$status_load_failed"
	}
	[ "$verb" = reload ] && [ -n "$old" ] || return 0
	tries=0 error=''
	while [ $tries -lt 800 ]; do
		taken_up=no current=$(workers)
		for pid in $current; do
			case " $old " in
			*" $pid "*) [ "$1" = open ] || { taken_up=no && break; } ;;
			*) taken_up=yes ;;
			esac
		done
		[ $taken_up = no ] || return 0
		error=$(tail -c "+$((size + 1))" -- "$2" 2>/dev/null | grep -F '[emerg]')
		# nginx tries an address that is in use for two more seconds, and then logs `still could not bind()`.
		case $error in '' | *'bind()'*) ;; *) break ;; esac
		case $error in *'still could not bind()'*) break ;; esac
		sleep 0.01
		tries=$((tries + 1))
	done
	error=$(printf '%s\n' "${error:-no new workers, and nothing in $2}" | head -n 1)
	case $error in *' failed (98:'*) error="$error$(print_holder "${error%%' failed (98:'*}")" ;; esac
	print_error "$error"
	return "$status_not_taken_up"
}
