#!/bin/sh
# The first process of a node. Its home is the first argument, its name the second; the others
# are what kubelet and kube-proxy are started with.
set -e
home=$1 name=$2 kubernetes=$3

# The node's own view of /sys, /run and bpffs; the cgroup tree stays the machine's.
mount --rbind /sys/fs/cgroup "$home/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$home/cgroup" /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tmpfs -o mode=755 tmpfs /run
for folder in /etc/cni /opt/cni /var/lib/cni /var/log; do
    mkdir -p "$folder"
    mount --bind "$home$folder" "$folder"
done
mount --make-rshared /
hostname "$name"

# Starts a service again whenever it ends.
keep() {
    log=$home/$1.log
    shift
    while :; do
        "$@" >>"$log" 2>&1 || true
        sleep 1
    done
}

keep containerd containerd --config "$home/containerd.toml" &
until ctr version >/dev/null 2>&1; do sleep 0.1; done
keep kubelet "$kubernetes" kubelet --kubeconfig "$home.kubeconfig" --config "$home/kubelet.json" \
    --hostname-override "$name" --root-dir "$home/kubelet" --node-ip "$4" --v 2 &
keep kube-proxy "$kubernetes" kube-proxy --config "$home/kube-proxy.json" &
touch /run/node-started
# The first process of a namespace must wait for orphans.
while :; do wait; done
