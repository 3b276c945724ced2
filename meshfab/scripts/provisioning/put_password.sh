# Put the password ($data) where `step` reads it. $1 path, $2 a random folder name, $3 reaper, $4 seconds
# shellcheck shell=sh disable=SC2154,SC2016
set -eu
[ ! -d "$1" ] || [ -L "$1" ] || exit "$status_is_folder"
# Remove what an earlier run left; rm never follows a link.
if [ -e "$1" ] || [ -L "$1" ]; then rm -f -- "$1"; fi
arm() {
	systemd-run --quiet --collect --unit="$3" --on-active="$4" --timer-property=AccuracySec=1s \
		sh -c 'rm -f -- "$1"; rm -rf -- "$2"' sh "$1" "$2"
}
arm "$@" 2>/dev/null || {
	# The reaper of an earlier run still has this name, and could remove the new file.
	systemctl stop "$3.timer" 2>/dev/null || :
	arm "$@" || exit "$status_no_reaper"
}
mkdir -m 0700 -- "$2"
printf '%s\n' "$data" >"$2/p"
# link(2) fails if anything has the name, also a link or a FIFO, and follows no link. It works like O_EXCL; a shell's
# noclobber does not.
ln -T -- "$2/p" "$1"
rm -rf -- "$2"
