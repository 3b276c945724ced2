# Stop a root shell of meshfab, and what runs in it, after its operator lost the connection. $1 its pid or ''
# A script that moves files ignores the signal and finishes.
# shellcheck shell=sh
case $(tr '\0' ' ' 2>/dev/null <"/proc/${1:-none}/cmdline") in
*' meshfab ')
	pkill -TERM -s "$(ps -o sid= -p "$1" | tr -d ' ')" 2>/dev/null
	tries=0
	while [ -e "/proc/$1" ] && [ $tries -lt 100 ]; do
		sleep 0.02
		tries=$((tries + 1))
	done
	;;
esac
:
