# Disable and stop the renewal of a service, and verify it. $1 the service
# shellcheck shell=sh
set -u
timer=step@$1.timer service=step@$1.service
# A tick that waits for the lock, which this run has, is stopped too.
output=$(systemctl --quiet disable --now "$timer" 2>&1)
systemctl --quiet stop "$timer" "$service" 2>/dev/null
systemctl --quiet reset-failed "$timer" "$service" 2>/dev/null
# systemd disables no instance of a template that is missing.
rm -f -- /etc/systemd/system/*.wants/"$timer"
for unit in "$timer" "$service"; do
	case $(systemctl is-active "$unit") in
	active | activating | reloading | deactivating)
		print_error "$unit is still running${output:+: $output}"
		exit 1
		;;
	esac
done
