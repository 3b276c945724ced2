# Renew now, through the installed unit. $1 the service
# shellcheck shell=sh
set -u
force=/run/meshfab/$1.force failed=/run/meshfab/$1.failed
[ -d /run/meshfab ] || mkdir -m 0700 /run/meshfab
rm -f -- "$failed"
for _ in 1 2; do
	: >"$force"
	systemctl start "step@$1.service" 2>/dev/null
	status=$?
	# Still there: systemd merged the start with a tick that was running already.
	[ -e "$force" ] || break
done
rm -f -- "$force"
[ "$status" = 0 ] || {
	print_error "$(cat "$failed" 2>/dev/null || systemctl status --no-pager "step@$1.service" 2>&1 | tail -n 1)"
	exit 1
}
