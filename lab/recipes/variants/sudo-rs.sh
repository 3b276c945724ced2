# shellcheck shell=sh
# sudo in Rust, which Ubuntu has as its `sudo` since 25.10. The mirror's list of sid may be older than it says it is valid.

export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o Acquire::Check-Valid-Until=false update </dev/null
apt-get -qq install --yes --no-install-recommends sudo-rs </dev/null
rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
for name in sudo visudo; do
    ln -sf "/usr/lib/cargo/bin/$name" "/usr/local/bin/$name"
    rm "/usr/bin/$name" 2>/dev/null || rm "/usr/sbin/$name"
done
