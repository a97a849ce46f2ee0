//! Configuration of containerd, kubelet, kube-proxy and the CNI of a node.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::layout::{Layout, Node, PODS};
use crate::{Cni, Proxy, Shape, images, write as write_file};

/// Writes all of it into the node's home.
pub(super) fn write(layout: &Layout, node: &Node, options: &Shape) -> Result<()> {
    let home = layout.node(&node.name);
    let json = [
        ("etc/cni/net.d/10-pods.conflist", cni(node, options.cni)),
        ("kubelet.json", kubelet(layout, node)),
        ("kube-proxy.json", proxy(layout, node, options.proxy)),
    ];
    for (file, value) in json {
        write_file(&home.join(file), serde_json::to_string_pretty(&value)?)?;
    }
    write_file(&home.join("containerd.toml"), containerd(&home))
}

fn cni(node: &Node, cni: Cni) -> Value {
    let ranges: Vec<_> = node.pods.iter().map(|subnet| json!([{"subnet": subnet}])).collect();
    let ipam = json!({
        "type": "host-local",
        "ranges": ranges,
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    });
    let first = match cni {
        Cni::Ptp => json!({"type": "ptp", "ipam": ipam}),
        Cni::Bridge => json!({
            "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": ipam,
        }),
    };
    let ports = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    json!({"cniVersion": "0.4.0", "name": "pods", "plugins": [first, ports]})
}

fn containerd(home: &Path) -> String {
    let (root, pause) = (home.join("containerd"), images::pod_name());
    format!(
        r#"version = 2
root = "{root}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
"#,
        root = root.display()
    )
}

fn kubelet(layout: &Layout, node: &Node) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", layout.prefixed(&node.name)),
        "enforceNodeAllocatable": [],
        "failCgroupV1": false,
        "failSwapOn": false,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDomain": "cluster.local",
        "clusterDNS": [],
        // The disk is the machine's; a node must evict nothing because it is full.
        "evictionHard": {"memory.available": "50Mi"},
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": false,
        "volumePluginDir": "/run/kubelet-plugins",
        "maxPods": 250,
        // Tests kill containers a hundred times; a long back-off would only make them wait.
        "featureGates": {"KubeletCrashLoopBackOffMax": true},
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        // With the usual limits tests would measure the kubelet's rate limiter.
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "registryPullQPS": 0,
        "serializeImagePulls": false,
    })
}

fn proxy(layout: &Layout, node: &Node, mode: Proxy) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": match mode { Proxy::Nftables => "nftables", Proxy::Iptables => "iptables" },
        "hostnameOverride": node.name,
        "clientConnection": {"kubeconfig": layout.kubeconfig("admin")},
        "clusterCIDR": PODS,
        // The size of the table is a setting of the whole machine.
        "conntrack": {"maxPerCore": 0},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    })
}
