# shellcheck shell=sh
# The shell of MirBSD as /bin/sh.

export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o Acquire::Check-Valid-Until=false update </dev/null
apt-get -qq install --yes --no-install-recommends mksh </dev/null
rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
ln -sf mksh /usr/bin/sh
