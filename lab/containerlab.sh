#!/bin/sh
# Puts containerlab into .containerlab/, built from its source by Go, from the Go module proxy.
# Where Go is older than containerlab needs, the proxy has a newer Go as well. Needs no root.
# Says nothing when a containerlab is there.
set -eu
cd "$(dirname "$0")/.."
version=v0.79.0
toolchain=go1.26.0 # at least what its go.mod says

say() { echo "lab/containerlab.sh: $*" >&2; }
if command -v containerlab >/dev/null 2>&1 || [ -x .containerlab/containerlab ]; then
    exit 0
fi
PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin
if ! command -v go >/dev/null 2>&1; then
    say "there is no Go to build it with (lab/setup.sh containerlab installs it)"
    exit 69
fi

mkdir -p .containerlab
build=$(mktemp -d "$PWD/.containerlab/build.XXXXXX")
trap 'chmod -R u+w "$build"; rm -rf "$build"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
export GOTOOLCHAIN=local GOFLAGS= GOWORK=off
# `go mod download` asks the proxy for that version alone; `go install` asks for all of them.
download() { go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }
cd "$build" # no go.mod of anybody's

case $(go env GOVERSION) in
go1.2[6-9]* | go1.[3-9][0-9]*) ;;
*)
    say "fetching $toolchain"
    platform=$(go env GOOS)-$(go env GOARCH)
    found=$(download "golang.org/toolchain@v0.0.1-$toolchain.$platform")
    cp -R "$found" "$build/go"
    # Modules have no executable files.
    chmod -R u+rwX "$build/go"
    chmod 755 "$build"/go/bin/* "$build"/go/pkg/tool/*/*
    PATH=$build/go/bin:$PATH
    export GOROOT="$build/go"
    ;;
esac

say "building containerlab $version, for a minute or two"
found=$(download "github.com/srl-labs/containerlab@$version")
cp -R "$found" "$build/source"
chmod -R u+w "$build/source"
cd "$build/source"
if [ ! -e /proc/modules ]; then
    # A kernel without loadable modules has all that it has built in, and no list of them.
    line='	if os.IsNotExist(err) { return true, nil }'
    sed -i "/os.Open(\"\/proc\/modules\")/a\\$line" utils/kernel_module.go
    grep -qF "$line" utils/kernel_module.go
fi
go build -trimpath -ldflags "-s -w" -o ../../containerlab.new .
mv ../../containerlab.new ../../containerlab
