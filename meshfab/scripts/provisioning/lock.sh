# Take the locks of services until this shell ends, and remove what must not outlast it.
# $1 the operator, $2 the time by this host's clock or '', $3 seconds to wait for each, $4 seconds after which this shell
# ends by itself, then for each service: name, password file, staging folder
# Prints `waited` if another run held one. status_busy: another run still holds one.
# shellcheck shell=sh disable=SC2154,SC2086,SC3013
# The arguments are paths without blanks.
# SC3013: see check_transfer.sh.

# hold FLOCK-FLAGS: take the locks in $others by processes that end with this shell, because a shell has too few
# file descriptors for many locks. The last process reads a pipe whose only writer is this shell.
hold() {
	line=/run/meshfab/.line.$$
	rm -f "$line.in" "$line.out"
	mkfifo -m 0600 "$line.in" "$line.out" || return
	exec 5<>"$line.out" 6<>"$line.in"
	set -- "$@" -E "$status_busy"
	chain=''
	for file in $others; do chain="$chain flock $* $file"; done
	{ $chain sh -c 'echo held; exec cat' <"$line.in" || echo refused; } >"$line.out" 2>/dev/null 5>&- 6>&- 9>&- &
	holder=$!
	read -r word <&5
	rm -f "$line.in" "$line.out"
	exec 5>&-
	[ "$word" = held ]
}

# holds_others: whether the locks in $others are those that others take, and not removed files.
holds_others() { for file in $others; do ! flock -n "$file" true || return; done; }

# sshd notices a lost connection after two hours at the earliest, and the renewal would wait as long.
watch_the_clock() {
	[ -z "${watch-}" ] || return 0
	{ timeout "$limit" tail --pid="$$" -f /dev/null || kill -TERM "$$"; } >/dev/null 2>&1 5>&- 6>&- 9>&- &
	watch=$!
}

# are_ours: whether the files that must not outlast the lock are still this run's. A run that lost its connection after
# it retired the service has removed its own lock, and ends late: then they may be those of the run that came after it.
are_ours() { [ ! -e "$own_lock" ] || [ "$own_lock" -ef "/proc/$$/fd/9" ]; }

take_locks() {
	# A run that continues with one service removes its files of the others while it still has their locks. After that
	# their files belong to other runs; so do those of a service that is not locked yet.
	[ -z "${secrets-}" ] || {
		rm -f -- $secrets
		rm -rf -- $stages
	}
	secrets='' stages=''
	since=${2:-$(date -Is)}
	who="$1 since $since" seconds=$3 limit=$4 locks='' files='' folders=''
	shift 4
	while [ $# -ge 3 ]; do
		locks="$locks /run/meshfab/$1.lock" files="$files $2" folders="$folders $3"
		shift 3
	done
	[ -d /run/meshfab ] || mkdir -m 0700 /run/meshfab 2>/dev/null
	# A run that continues with one service releases the other locks first.
	[ -z "${holder-}" ] || {
		exec 6>&-
		wait "$holder"
	}
	set -- $locks
	own_lock=$1
	# Who retires a service removes its lock in the end: who has waited for that one takes the next.
	until [ "$1" -ef "/proc/$$/fd/9" ]; do
		exec 9>>"$1" || return 1
		flock -n 9 || {
			echo waited
			flock -w "$seconds" 9 || {
				print_error "$(cat "$1")"
				return "$status_busy"
			}
		}
	done
	shift
	others=$*
	[ -z "$others" ] || hold -n || {
		echo waited
		while hold -w "$seconds" || {
			for file in $others; do flock -n "$file" true || print_error "$(cat "$file")"; done
			return "$status_busy"
		}; ! holds_others; do
			exec 6>&-
			wait "$holder"
		done
	}
	for file in $locks; do printf '%s\n' "$who" >"$file"; done
	secrets=$files stages=$folders
	# A second signal must not interrupt the clean-up of the first.
	trap 'trap "" HUP INT TERM PIPE; rm -f -- /run/meshfab/.background.$$; ! are_ours || { rm -f -- $secrets; rm -rf -- $stages; }' EXIT
	trap 'exit 1' HUP INT TERM PIPE
	watch_the_clock
}
take_locks "$@"
