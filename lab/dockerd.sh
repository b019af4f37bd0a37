#!/bin/sh
# Becomes the lab's own Docker daemon. lab/docker.py starts it in new network and mount namespaces.
#   dockerd.sh DIRECTORY NETNS    NETNS: the network namespace of who starts it, which it must not be
set -eu
directory=$1
if [ "$(readlink /proc/self/ns/net)" = "$2" ]; then
    echo "dockerd.sh: this is the host's own network namespace" >&2
    exit 77
fi
mount --make-rprivate /

# /sys shows the network namespace that it was mounted in; the cgroups stay the machine's.
held=$directory/held
mkdir -p "$held"
mount -t tmpfs tmpfs "$held"
mkdir "$held/cgroup" "$held/etc" "$held/run"
mount --rbind /sys/fs/cgroup "$held/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$held/cgroup" /sys/fs/cgroup

# containerlab writes /etc/hosts and /etc/ssh; a daemon.json there is not meant for this daemon.
cp -a /etc/. "$held/etc"
rm -rf "$held/etc/docker"
mount --bind "$held/etc" /etc

# Sockets, pid files, /run/netns. The lab's own state, which is there by default, stays seen.
mount --rbind /run "$held/run"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns /run/host
mount --rbind "$held/run" /run/host
ln -s /run/host/bgphealth-lab /run/bgphealth-lab

ip link set lo up
exec dockerd --data-root "$directory/docker" --exec-root /run/docker --pidfile /run/docker.pid \
    --host unix:///run/docker.sock --bridge=none --iptables=false --ip6tables=false \
    --userland-proxy=false --log-level=warn
