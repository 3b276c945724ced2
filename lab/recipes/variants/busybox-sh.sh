# shellcheck shell=sh
# busybox as /bin/sh.

export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o Acquire::Check-Valid-Until=false update </dev/null
apt-get -qq install --yes --no-install-recommends busybox </dev/null
rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
ln -sf busybox /usr/bin/sh
