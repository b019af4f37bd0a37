#!/bin/sh
# Puts containerlab into .containerlab/, built from its source by Go, from the Go module proxy.
# Where Go is older than containerlab needs, the proxy has a newer Go as well. Needs no root.
# Says nothing when one is there that does: 0.76 or newer, where sudo finds it as well.
#   containerlab.sh [check]    check: whether there is one, and nothing else
set -eu
cd "$(dirname "$0")/.."
version=v0.79.0
toolchain=go1.26.0 # at least what its go.mod says

say() { echo "lab/containerlab.sh: $*" >&2; }
is_there() {
    [ ! -x .containerlab/containerlab ] || return 0 # of no version, as it was built here
    for program in /usr/bin/containerlab /usr/local/bin/containerlab; do
        [ -x "$program" ] || continue
        # Older ones do not know `skip-when-unused`.
        case $(CLAB_VERSION_CHECK=disable "$program" version 2>/dev/null |
            sed -n 's/^ *version: *//p') in
        0.7[6-9].* | 0.[89][0-9].* | 0.[1-9][0-9][0-9].* | [1-9]*) return 0 ;;
        esac
    done
    return 1
}
! is_there || exit 0
[ "${1:-}" != check ] || exit 1
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
download() {
    # With -json Go says in it what went wrong.
    said=$(go mod download -json "$1") || :
    found=$(printf '%s\n' "$said" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    [ -z "$found" ] || return 0
    say "no $1: $(printf '%s\n' "$said" | sed -n 's/^\t"Error": "\(.*\)",\{0,1\}$/\1/p')"
    exit 69
}
cd "$build" # no go.mod of anybody's

case $(go env GOVERSION) in
go1.2[6-9]* | go1.[3-9][0-9]*) ;;
*)
    say "fetching $toolchain"
    platform=$(go env GOOS)-$(go env GOARCH)
    download "golang.org/toolchain@v0.0.1-$toolchain.$platform"
    cp -R "$found" "$build/go"
    # Modules have no executable files.
    chmod -R u+rwX "$build/go"
    chmod 755 "$build"/go/bin/* "$build"/go/pkg/tool/*/*
    PATH=$build/go/bin:$PATH
    export GOROOT="$build/go"
    ;;
esac

say "building containerlab $version, for a minute or two"
download "github.com/srl-labs/containerlab@$version"
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
