# Take the locks of services for the life of this shell, and see to what must not outlive it.
# $1 who we are, $2 the time by this host's clock, $3 seconds to wait for each, $4 seconds after which this shell ends by
# itself, then for each service: name, password file, staging folder
# Says `waited` when somebody else held one. status_busy: somebody still does.
# shellcheck shell=sh disable=SC2154,SC2086
# The words are paths of ours, without blanks.

# hold FLOCK-FLAGS: take the locks in $others by processes that end with this shell, since a shell has no numbers for so
# many open files. The last one reads a pipe that has no writer but us.
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

# sshd misses an operator whose line was cut for good after two hours at the earliest, and the renewal would wait as long.
watch_the_clock() {
	[ -z "${watch-}" ] || return 0
	{ timeout "$limit" tail --pid="$$" -f /dev/null || kill -TERM "$$"; } >/dev/null 2>&1 5>&- 6>&- 9>&- &
	watch=$!
}

take_locks() {
	# A run that goes on with one service leaves nothing of the others while it has their locks, and nothing of theirs is
	# its own to remove after that; what it is about to lock is not either, before it has.
	[ -z "${secrets-}" ] || {
		rm -f -- $secrets
		rm -rf -- $stages
	}
	secrets='' stages=''
	since=$2
	who="$1 since $since" seconds=$3 limit=$4 locks='' files='' folders=''
	shift 4
	while [ $# -ge 3 ]; do
		locks="$locks /run/meshfab/$1.lock" files="$files $2" folders="$folders $3"
		shift 3
	done
	[ -d /run/meshfab ] || mkdir -m 0700 /run/meshfab 2>/dev/null
	# A run that goes on with one service lets go of the others first.
	[ -z "${holder-}" ] || {
		exec 6>&-
		wait "$holder"
	}
	set -- $locks
	exec 9>>"$1" || return 1
	flock -n 9 || {
		echo waited
		flock -w "$seconds" 9 || {
			say "$(cat "$1")"
			return "$status_busy"
		}
	}
	shift
	others=$*
	[ -z "$others" ] || hold -n || {
		echo waited
		hold -w "$seconds" || {
			for file in $others; do flock -n "$file" true || say "$(cat "$file")"; done
			return "$status_busy"
		}
	}
	for file in $locks; do printf '%s\n' "$who" >"$file"; done
	secrets=$files stages=$folders
	# Signals may follow each other, and the second one would meet the clean-up of the first.
	trap 'trap "" HUP INT TERM PIPE; rm -f -- $secrets /run/meshfab/.background.$$; rm -rf -- $stages' EXIT
	trap 'exit 1' HUP INT TERM PIPE
	watch_the_clock
}
take_locks "$@"
