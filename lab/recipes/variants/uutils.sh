# shellcheck shell=sh
# The coreutils in Rust, which Ubuntu has since 25.10, in the place of GNU's.

export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o Acquire::Check-Valid-Until=false update </dev/null
apt-get -qq install --yes --no-install-recommends rust-coreutils </dev/null
rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
# Only what GNU's package has: uutils knows more, such as another `hostname`. A loop of the shell, since the programs are
# being replaced.
for path in $(dpkg -L coreutils); do
    name=${path##*/}
    case $path in
    */bin/*) [ ! -e "/usr/lib/cargo/bin/coreutils/$name" ] || coreutils ln -sf coreutils "/usr/bin/$name" ;;
    esac
done
