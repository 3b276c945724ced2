# Put the password ($data) where `step` reads it.
# $1 path, $2 a random folder name, $3 the reaper's name, $4 its seconds, $5 the file that names the armed reaper
# shellcheck shell=sh disable=SC2154,SC2016
set -eu
[ ! -d "$1" ] || [ -L "$1" ] || exit "$status_is_folder"
# Remove what an earlier run left; rm never follows a link.
if [ -e "$1" ] || [ -L "$1" ]; then rm -f -- "$1"; fi
# The reaper of a run that broke off may be armed. It removes the file only if no other reaper is named here.
if { read -r last <"$5"; } 2>/dev/null; then systemctl --no-block stop "$last.timer" >/dev/null 2>&1 & fi
printf '%s\n' "$3" >"$5"
systemd-run --quiet --collect --unit="$3" --on-active="$4" --timer-property=AccuracySec=1s \
	sh -c 'case $(cat "$4" 2>/dev/null) in "" | "$3") rm -f -- "$1" ;; esac; rm -rf -- "$2"' sh "$1" "$2" "$3" "$5" ||
	exit "$status_no_reaper"
mkdir -m 0700 -- "$2"
printf '%s\n' "$data" >"$2/p"
# link(2) fails if anything has the name, also a link or a FIFO, and follows no link. It works like O_EXCL; a shell's
# noclobber does not.
ln -T -- "$2/p" "$1"
rm -rf -- "$2"
