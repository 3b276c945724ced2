# shellcheck shell=sh
# sudo asks the operator's login for its password.

printf 'ops ALL=(ALL) ALL\n' >/etc/sudoers.d/ops
printf 'ops:geheim\n' | chpasswd
