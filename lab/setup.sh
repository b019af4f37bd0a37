#!/bin/sh
# Installs what the lab needs from the distribution: FRR, iproute2, nftables, ping, systemd and
# Python's venv. Instead, with `package` as its argument, what building and testing the Debian package
# needs; with `containerlab`, Docker and what images and containerlab are made with; with `peers`, what
# `python -m lab compare` runs beside bgphealth.
# Says what it does, and nothing when nothing is missing. It never starts a routing daemon or Docker on
# this machine: the lab runs them in namespaces of its own.
set -eu

say() { echo "lab/setup.sh: $*" >&2; }
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }

packages=""
if [ "${1:-}" = package ]; then
    have debootstrap || packages="$packages debootstrap"
    have dh || packages="$packages debhelper"
    have dpkg-buildpackage || packages="$packages dpkg-dev"
    have lowdown || packages="$packages lowdown"
    have mandoc || packages="$packages mandoc"
elif [ "${1:-}" = containerlab ]; then
    # A client alone is enough where a daemon answers it.
    if ! have docker || { ! have dockerd && ! docker version >/dev/null 2>&1; }; then
        packages="$packages docker.io"
        # Debian 13 has the client in a package of its own.
        ! apt-cache show docker-cli >/dev/null 2>&1 || packages="$packages docker-cli"
    fi
    have debootstrap || packages="$packages debootstrap"
    sh "${0%/*}/containerlab.sh" check || have go || [ -x /usr/local/go/bin/go ] ||
        packages="$packages golang-go"
elif [ "${1:-}" = peers ]; then
    have bird || packages="$packages bird2"
    have keepalived || packages="$packages keepalived"
    have ping || packages="$packages iputils-ping"
else
    [ -x /usr/lib/frr/frrinit.sh ] || packages="$packages frr"
    have ip || packages="$packages iproute2"
    have nft || packages="$packages nftables"
    # The script that bgphealth is compared with in dual-wan needs it.
    have ping || packages="$packages iputils-ping"
    # Units are tested in a systemd of their own; nothing of it is started on this machine.
    [ -x /lib/systemd/systemd ] || packages="$packages systemd"
    # Debian's python3 has the module venv, but it needs ensurepip to make one.
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages="$packages python3-venv"
fi
packages=${packages# }
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    say "please install with this system's package manager: $packages"
    exit 69
fi
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        say "needs root to install: $packages"
        exit 77
    fi
    say "using sudo to install: $packages"
    exec sudo sh "$0" "$@"
fi

# Whether a service is there already: then it is somebody's, and stays as it is.
is_there() {
    if ! command -v systemctl >/dev/null 2>&1; then
        [ -e "/etc/init.d/${1%.*}" ]
        return
    fi
    for units in /etc/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system \
        /lib/systemd/system; do
        [ ! -e "$units/$1" ] || return 0
    done
    return 1
}
before=" "
for unit in frr.service docker.service docker.socket containerd.service bird.service \
    keepalived.service; do
    ! is_there "$unit" || before="$before$unit "
done

policy=/usr/sbin/policy-rc.d
policy_is_ours=no
clean_up() {
    [ "$policy_is_ours" = no ] || rm -f "$policy"
    policy_is_ours=no
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

case " $packages " in
*" frr "* | *" docker.io "* | *" bird2 "* | *" keepalived "*)
    # The packages start their services. A policy of somebody else's stays as it is.
    if [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
        policy_is_ours=yes
        printf '%s\n' '#!/bin/sh' '# lab/setup.sh: these stay stopped on this machine.' \
            'case "${1%.*}" in frr | docker | containerd | bird | keepalived) exit 101 ;; esac' \
            'exit 0' >"$policy"
        chmod 755 "$policy"
    fi
    ;;
esac

say "installing: $packages"
export DEBIAN_FRONTEND=noninteractive
options="-q --no-install-recommends --no-remove" # as of another Docker
install() { apt-get install -y $options $packages; }
if ! apt-get install -s $options $packages >/dev/null 2>&1 || ! install >&2; then
    say "updating the package lists first"
    apt-get update -q >&2
    install >&2
fi

# Stopped and disabled, each with what it is called.
leave_stopped() {
    name=$1
    shift
    for unit; do
        case $before in *" $unit "*) continue ;; esac
        if command -v systemctl >/dev/null 2>&1; then
            systemctl disable -q "$unit" >&2 || :
            [ ! -d /run/systemd/system ] || systemctl stop "$unit" || :
        elif command -v update-rc.d >/dev/null 2>&1; then
            update-rc.d "${unit%.*}" disable >&2 || :
        fi
    done
    say "$name is installed, and left stopped and disabled on this machine"
}
case " $packages " in *" frr "*) leave_stopped FRR frr.service ;; esac
case " $packages " in
*" docker.io "*) leave_stopped Docker docker.service docker.socket containerd.service ;;
esac
case " $packages " in *" bird2 "*) leave_stopped BIRD bird.service ;; esac
case " $packages " in *" keepalived "*) leave_stopped keepalived keepalived.service ;; esac
say "done"
