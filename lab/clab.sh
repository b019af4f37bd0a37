#!/bin/sh
# `make clab`: the demo in containerlab's nodes, with each FRR, and nothing left behind but images.
set -eu
cd "$(dirname "$0")/.."
lab() { .venv/bin/python -m lab "$@"; }
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A daemon that is there already, and the labs in it, are somebody's.
answers='import sys; from lab import docker; sys.exit(not docker.answers())'
.venv/bin/python -c "$answers" 2>/dev/null || trap 'lab docker down' EXIT

images=$(lab images)
for image in $images; do
    echo "$image:" >&2
    BGPHEALTH_LAB_IMAGE=$image lab demo --driver containerlab
done
