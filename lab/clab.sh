#!/bin/sh
# `make clab`: the demo in containerlab's nodes, with each FRR, and nothing left behind but images.
set -eu
cd "$(dirname "$0")/.."
lab() { .venv/bin/python -m lab "$@"; }
trap 'lab docker down' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

for image in $(lab images); do
    echo "$image:" >&2
    BGPHEALTH_LAB_IMAGE=$image lab demo --driver containerlab
done
