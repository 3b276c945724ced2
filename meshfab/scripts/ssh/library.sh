# First words to the root shell (meshfab/shell.py): what every later script may use.
# shellcheck shell=sh disable=SC2154,SC2034
LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
umask 077
data='' failed=0
# Exit statuses that Python reads too: ExitStatus in meshfab/ssh/script.py. A test compares both sides.
status_config_refused=3 status_server_ignored=4 status_not_included=5 status_load_failed=6 status_not_taken_up=7
status_no_reaper=8 status_is_folder=9 status_busy=75 status_timed_out=124

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

# show_units UNIT...: what probe.py wants to know of each; one that does not exist is no error.
show_units() {
	TZ=UTC systemctl show -p Id -p LoadState -p UnitFileState -p ActiveState -p Result -p NeedDaemonReload \
		-p NextElapseUSecRealtime -p MainPID "$@" 2>&1
}

# label PATH: its SELinux label, where the host has such.
label() { ! command -v restorecon >/dev/null || restorecon -- "$1"; }

# in_turn: one at a time at nginx's configuration, ticks and operators, until this script ends.
in_turn() {
	[ -d /run/meshfab ] || mkdir -m 0700 /run/meshfab
	exec 8>>/run/meshfab/.nginx.lock
	flock -w 60 8 || {
		say "/run/meshfab/.nginx.lock is held by $(cat /run/meshfab/.nginx.lock)"
		return "$status_busy"
	}
	printf 'an operator since %s\n' "${since:=$(date -Is)}" >/run/meshfab/.nginx.lock
}

# load reload|open|start|stop LOG MASTER: have systemd do it. A reload returns at once and in green, whatever comes of
# it: it counts when the master has new workers and the old ones, a tenth of a second later, take no more connections; or else what it
# wrote into its error log is said. `open` is a reload that opens a port which nobody listened on before: new workers are
# enough then, since the old ones cannot answer there.
# MASTER is nginx's main process as the probe saw it; systemd is asked again only where that is no longer one.
# Status 6: systemd could not; 7: the master did not take the configuration up.
load() {
	verb=$1
	workers() { pgrep -P "$main" -f '^nginx: worker process$' | tr '\n' ' '; }
	if [ "$1" = open ]; then
		verb=reload
		# Any child will do, and the kernel lists them in a fifth of the time.
		workers() { cat "/proc/$main/task/$main/children" 2>/dev/null || pgrep -P "$main" | tr '\n' ' '; }
	fi
	size=$(stat -c %s -- "$2" 2>/dev/null || echo 0)
	main=$3
	{ read -r words <"/proc/$main/comm"; } 2>/dev/null && [ "$words" = nginx ] ||
		main=$(systemctl show --value -p MainPID nginx.service)
	old=$(workers)
	# -k: what runs here was told to ignore the polite signal, and a host that shuts down never answers.
	words=$(timeout -k 1 20 systemctl "$verb" nginx.service 2>&1) || {
		say "$words"
		return "$status_load_failed"
	}
	[ "$verb" = reload ] && [ -n "$old" ] || return 0
	tries=0 words=''
	while [ $tries -lt 800 ]; do
		taken=no now=$(workers)
		for pid in $now; do
			case " $old " in
			*" $pid "*) [ "$1" = open ] || { taken=no && break; } ;;
			*) taken=yes ;;
			esac
		done
		[ $taken = no ] || return 0
		words=$(tail -c "+$((size + 1))" -- "$2" 2>/dev/null | grep -F '[emerg]')
		# It tries an address that is in use for two more seconds.
		case $words in '' | *'bind()'*) ;; *) break ;; esac
		case $words in *'still could not bind()'*) break ;; esac
		sleep 0.01
		tries=$((tries + 1))
	done
	say "$(printf '%s\n' "${words:-no new workers, and no word in $2}" | head -n 1)"
	return "$status_not_taken_up"
}
