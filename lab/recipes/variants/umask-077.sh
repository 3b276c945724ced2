# shellcheck shell=sh
# A umask of 077 for every login, as hardening guides ask for.

sed -i 's/^UMASK.*/UMASK 077/' /etc/login.defs
printf 'session optional pam_umask.so umask=0077\n' >>/etc/pam.d/common-session
printf 'session optional pam_umask.so umask=0077\n' >>/etc/pam.d/common-session-noninteractive
printf 'Defaults umask=0077, umask_override\n' >/etc/sudoers.d/umask
chmod 0440 /etc/sudoers.d/umask
