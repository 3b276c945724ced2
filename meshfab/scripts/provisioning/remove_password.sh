# Remove the password, verify it, and only then disarm the reaper. Arguments as for put_password.sh.
# shellcheck shell=sh
if [ -e "$2" ] || [ -L "$2" ]; then rm -rf -- "$2"; fi
[ -d "$1" ] && [ ! -L "$1" ] || rm -f -- "$1"
for file in "$1" "$2"; do
	[ -d "$file" ] || if [ -e "$file" ] || [ -L "$file" ]; then
		print_error "$file is still there"
		exit 1
	fi
done
# Not waited for: it has nothing left to do, and the next mint stops it if it still has the name.
systemctl --no-block stop "$3.timer" >/dev/null 2>&1 &
