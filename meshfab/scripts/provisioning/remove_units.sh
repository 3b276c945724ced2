# Remove the units that all services share, unless a service still uses them. Every argument is the path of a file of ours.
# shellcheck shell=sh
set -eu
exec 7>>/run/meshfab/.units.lock
flock -w 60 7
for file in /etc/systemd/system/*.wants/step@*.timer /etc/meshfab/*.env; do
	if [ -e "$file" ] || [ -L "$file" ]; then
		print_error "${file##*/} is there"
		exit 1
	fi
done
rm -f -- "$@"
systemctl daemon-reload
for folder in /etc/meshfab /var/lib/meshfab; do rmdir -- $folder 2>/dev/null || :; done
