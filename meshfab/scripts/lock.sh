# Take the service's lock for the life of this shell, and see to what must not outlive it.
# $1 service, $2 who we are, $3 seconds to wait, $4 password file, $5 staging folder
# shellcheck shell=sh disable=SC2154
take_lock() {
	[ -d /run/meshfab ] || mkdir -m 0700 /run/meshfab 2>/dev/null
	exec 9>>"/run/meshfab/$1.lock" || return 1
	flock -n 9 || {
		echo waited
		flock -w "$3" 9 || {
			say "$(cat "/run/meshfab/$1.lock")"
			return 75
		}
	}
	printf '%s since %s\n' "$2" "$(date -Is)" >"/run/meshfab/$1.lock"
	secret=$4 stage=$5
	trap 'rm -f -- "$secret"; rm -rf -- "$stage"' EXIT
	trap 'exit 1' HUP INT TERM PIPE
}
take_lock "$@"
