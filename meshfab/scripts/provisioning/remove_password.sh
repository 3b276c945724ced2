# Remove the password, verify it, and only then disarm the reaper. Arguments as for put_password.sh; if $3 is empty, the
# reaper that $5 names is disarmed.
# shellcheck shell=sh
if [ -e "$2" ] || [ -L "$2" ]; then rm -rf -- "$2"; fi
[ -d "$1" ] && [ ! -L "$1" ] || rm -f -- "$1"
for file in "$1" "$2"; do
	[ -d "$file" ] || if [ -e "$file" ] || [ -L "$file" ]; then
		print_error "$file is still there"
		exit 1
	fi
done
{ read -r armed <"$5"; } 2>/dev/null || armed=''
reaper=${3:-$armed}
[ "$reaper" != "$armed" ] || [ -z "$armed" ] || printf '' >"$5"
# Not waited for: no other run has a reaper of this name.
[ -z "$reaper" ] || systemctl --no-block stop "$reaper.timer" >/dev/null 2>&1 &
