#!/bin/sh
# Puts promtool, which tests the alert rules, into .promtool/: of the distribution's package
# prometheus that one program only, for the package would start a server here. Needs no root.
# Says nothing when a promtool is there.
set -eu
cd "$(dirname "$0")/.."

say() { echo "lab/promtool.sh: $*" >&2; }
if command -v promtool >/dev/null 2>&1 || [ -x .promtool/promtool ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    say "please install promtool, of Prometheus, with this system's package manager"
    exit 69
fi

say "fetching promtool"
mkdir -p .promtool
cd .promtool
# As ourselves: this directory may be closed to apt's own user.
fetch() { apt-get download -q -o APT::Sandbox::User="$(id -un)" prometheus >&2; }
if ! fetch; then
    say "updating the package lists first"
    if [ "$(id -u)" -eq 0 ]; then apt-get update -q >&2; else sudo apt-get update -q >&2; fi
    fetch
fi
dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xO ./usr/bin/promtool >promtool.new
chmod 755 promtool.new
mv promtool.new promtool
rm -f prometheus_*.deb
