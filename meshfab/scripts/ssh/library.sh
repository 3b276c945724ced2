# Sent first to the root shell (meshfab/ssh/root_shell.py): functions for every later script.
# shellcheck shell=sh disable=SC2154,SC2034
LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
umask 077
data='' failed=0
# Exit statuses that Python reads too: ExitStatus in meshfab/ssh/script.py. A test compares both sides.
status_config_refused=3 status_server_ignored=4 status_not_included=5 status_load_failed=6 status_not_taken_up=7
status_no_reaper=8 status_is_folder=9 status_busy=75 status_timed_out=124

# answer STATUS: end this request's part of stdout and stderr.
answer() {
	[ "$1" = 0 ] || failed=1
	printf '\n%s %s\n' "$mark" "$1"
	printf '\n%s %s\n' "$mark" "$1" >&2
}

# print_error MESSAGE...: the error of a script that cannot continue.
print_error() { printf '%s\n' "$*" >&2; }

# put KEY VALUE: one field of an answer, which meshfab/host/answer_fields.py parses.
put() { printf '%s %d\n%s\n' "$1" "${#2}" "$2"; }

# show_units UNIT...: the properties that meshfab/host/facts.py parses; a missing unit is not an error.
show_units() {
	TZ=UTC systemctl show -p Id -p LoadState -p UnitFileState -p ActiveState -p Result -p NeedDaemonReload \
		-p NextElapseUSecRealtime -p MainPID "$@" 2>&1
}

# label PATH: set its SELinux label, if the host has SELinux.
label() { ! command -v restorecon >/dev/null || restorecon -- "$1"; }

# take_nginx_lock: one run or tick at a time changes nginx's configuration, until this script ends.
take_nginx_lock() {
	[ -d /run/meshfab ] || mkdir -m 0700 /run/meshfab
	exec 8>>/run/meshfab/.nginx.lock
	flock -w 60 8 || {
		print_error "/run/meshfab/.nginx.lock is held by $(cat /run/meshfab/.nginx.lock)"
		return "$status_busy"
	}
	printf 'an operator since %s\n' "${since:=$(date -Is)}" >/run/meshfab/.nginx.lock
}

# load reload|open|start|stop LOG MASTER: have systemd do it. A reload returns at once with status 0, whatever happens
# after it. It has worked when the master has new workers and the old ones, a tenth of a second later, accept no more
# connections; otherwise print what nginx wrote into its error log. `open` is a reload that opens a port on which nothing
# listened before: new workers are enough then, since the old ones cannot answer there.
# MASTER is nginx's main process at the time of the probe; systemd is asked again only if it is gone.
# status_load_failed: systemd failed; status_not_taken_up: nginx still uses the old configuration.
load() {
	verb=$1
	workers() { pgrep -P "$main" -f '^nginx: worker process$' | tr '\n' ' '; }
	if [ "$1" = open ]; then
		verb=reload
		# Any child is enough, and the kernel lists them in a fifth of the time.
		workers() { cat "/proc/$main/task/$main/children" 2>/dev/null || pgrep -P "$main" | tr '\n' ' '; }
	fi
	size=$(stat -c %s -- "$2" 2>/dev/null || echo 0)
	main=$3
	{ read -r words <"/proc/$main/comm"; } 2>/dev/null && [ "$words" = nginx ] ||
		main=$(systemctl show --value -p MainPID nginx.service)
	old=$(workers)
	# -k: this shell ignores SIGTERM, and a host that shuts down never answers.
	words=$(timeout -k 1 20 systemctl "$verb" nginx.service 2>&1) || {
		print_error "$words"
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
		# nginx tries an address that is in use for two more seconds.
		case $words in '' | *'bind()'*) ;; *) break ;; esac
		case $words in *'still could not bind()'*) break ;; esac
		sleep 0.01
		tries=$((tries + 1))
	done
	print_error "$(printf '%s\n' "${words:-no new workers, and nothing in $2}" | head -n 1)"
	return "$status_not_taken_up"
}
