# Renew or re-key now, through the installed unit. $1 the service, $2 `force` or `rekey`: the tick's marker
# shellcheck shell=sh
set -u
marker=/run/meshfab/$1.$2 failed=/run/meshfab/$1.failed
[ -d /run/meshfab ] || mkdir -m 0700 /run/meshfab
rm -f -- "$failed"
for _ in 1 2; do
	: >"$marker"
	systemctl start "step@$1.service" 2>/dev/null
	status=$?
	# Still there: systemd merged the start with a tick that was running already.
	[ -e "$marker" ] || break
done
rm -f -- "$marker"
[ "$status" = 0 ] || {
	print_error "$(cat "$failed" 2>/dev/null || systemctl status --no-pager "step@$1.service" 2>&1 | tail -n 1)"
	exit 1
}
