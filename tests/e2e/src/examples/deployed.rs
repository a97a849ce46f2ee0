//! Creates an example's objects on the cluster: pods that serve the probed ports, and policies.
//!
//! Pods get the test image and a server for each port that is declared or probed, so that only a
//! policy can deny a probe. Addresses and nodes are translated by [`Mapping`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service as KubeService};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use policy_core::model::{ObjectName, Protocol};
use policy_manifest::End;
use policy_probe::Probe;
use serde_json::{Value, json};
use testbed::client::Client;
use testbed::process::Service;
use testbed::{network, until};
use xtask::image::POD_IMAGE;

use super::example::Example;
use super::mapping::{Mapping, Pods, items_of, parsed};
use crate::cluster::TestCluster;

/// The label of every object that a test creates.
const LABEL: &str = "policy-e2e";

/// Namespaces that exist in every cluster.
const STANDING: [&str; 3] = ["default", "kube-system", "kube-public"];

/// How long pods may take to become ready, and a definition to be served.
const START: Duration = Duration::from_mins(2);

/// An example on a cluster.
pub(super) struct DeployedExample<'a> {
    pub(super) cluster: &'a TestCluster,
    pub(super) example: &'a Example,
    mapping: Mapping,
    pods: Pods,
    namespaces: BTreeSet<String>,
}

impl<'a> DeployedExample<'a> {
    /// Creates everything, and waits until the pods are ready.
    pub(super) fn deploy(cluster: &'a TestCluster, example: &'a Example) -> Result<Self> {
        let mapping = Mapping::new(&cluster.client, &example.manifests)?;
        let named =
            example.objects.iter().filter_map(|object| object["metadata"]["namespace"].as_str());
        let namespaces = named.map(ToOwned::to_owned).collect();
        let mut deployed = Self { cluster, example, mapping, pods: Pods::default(), namespaces };
        deployed.hosts()?;
        deployed.make_namespaces()?;
        let objects = example.objects.iter();
        let pods: Vec<_> = objects.filter_map(|object| deployed.pod_or_service(object)).collect();
        // A namespace accepts pods only once its service account exists.
        let mut failure = None;
        until("the pods' objects", || {
            failure = cluster.client.apply(&pods).err();
            failure.is_none()
        })
        .map_err(|late| failure.take().map_or(late, Into::into))?;
        for namespace in &deployed.namespaces {
            let pods = cluster.client.namespaced::<Pod>(namespace);
            if !pods.list(LABEL)?.is_empty() {
                pods.ready(LABEL, START)?;
            }
        }
        deployed.read_addresses()?;
        let policies = example.objects.iter().filter(|object| is_policy(object));
        let policies: Vec<_> = policies.map(|policy| deployed.policy(policy)).collect();
        cluster.client.apply(&policies)?;
        Ok(deployed)
    }

    /// Removes everything.
    pub(super) fn remove(self) -> Result<()> {
        let client = &self.cluster.client;
        let policies = self.example.objects.iter().filter(|object| is_policy(object));
        // The others end with their namespaces.
        let cluster_wide = policies.filter(|policy| policy["metadata"]["namespace"].is_null());
        client.delete(&cluster_wide.cloned().collect::<Vec<_>>())?;
        for namespace in &self.namespaces {
            client.namespaced::<Pod>(namespace).delete_all(LABEL)?;
        }
        client.cluster_wide::<Namespace>().delete_all(LABEL)?;
        let Some(layout) = &self.cluster.local else { return Ok(()) };
        for name in self.example.manifests.hosts.keys() {
            Service::find(layout, &network::host(name))?.end()?;
            network::remove_host(layout, name)?;
        }
        Ok(())
    }

    /// The address in the cluster of one end of a probe.
    fn address(&self, end: &End, in_example: IpAddr) -> Option<IpAddr> {
        match end {
            End::Host(_) => Some(in_example),
            End::Address(address) => {
                Some(self.mapping.address(&self.example.manifests, *address, &self.pods))
            }
            End::Pod(_) | End::Service(_) => {
                let own = self.pods.addresses.get(end)?;
                own.iter().find(|own| own.is_ipv4() == in_example.is_ipv4()).copied()
            }
        }
    }

    /// The address and port on this cluster that a probe is sent to.
    pub(super) fn destination(&self, probe: &Probe) -> Result<SocketAddr> {
        let address = self.address(&probe.to, probe.destination);
        let address = address.with_context(|| format!("{} has no such address", probe.to))?;
        Ok(SocketAddr::new(address, probe.port))
    }

    /// The source address of a probe's packets.
    pub(super) fn source(&self, probe: &Probe) -> Option<IpAddr> {
        self.address(&probe.from, probe.source)
    }

    /// Source addresses that a node may give to a pod's packets.
    pub(super) fn node_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let nodes = self.mapping.nodes.values().flat_map(|node| node.addresses.iter().copied());
        nodes.chain(self.pods.by_node.values().copied())
    }

    fn make_namespaces(&self) -> Result<()> {
        let own = self.namespaces.iter().filter(|name| !STANDING.contains(&name.as_str()));
        let objects = own.map(|name| {
            let labels = self.example.manifests.snapshot.namespaces.get(name);
            let mut labels: BTreeMap<String, String> = labels
                .map(|namespace| {
                    let labels = namespace.labels.iter();
                    labels.map(|(key, value)| (key.clone(), value.clone())).collect()
                })
                .unwrap_or_default();
            labels.insert(LABEL.to_owned(), self.example.name.clone());
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        });
        let objects: Vec<_> = objects.collect();
        // `create`, not `apply`: a namespace that exists already does not belong to the test.
        Ok(self.cluster.client.create(&objects)?)
    }

    fn pod_or_service(&self, object: &Value) -> Option<Value> {
        let metadata = &object["metadata"];
        let name = ObjectName::new(metadata["namespace"].as_str()?, metadata["name"].as_str()?);
        match object["kind"].as_str()? {
            "Pod" => Some(self.pod(object, &name)),
            "Service" if name.namespace != "default" => {
                let mut spec = object["spec"].clone();
                let fields = spec.as_object_mut()?;
                let addresses = fields.remove("clusterIPs");
                fields.remove("clusterIP");
                fields.remove("ipFamilies");
                let families = addresses.map_or(1, |addresses| items_of(&addresses).len());
                let policy = if families > 1 { "RequireDualStack" } else { "SingleStack" };
                spec["ipFamilyPolicy"] = policy.into();
                Some(
                    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}),
                )
            }
            // The cluster creates EndpointSlices itself and has its own API server.
            _ => None,
        }
    }

    fn pod(&self, object: &Value, name: &ObjectName) -> Value {
        let mut labels = object["metadata"]["labels"].clone();
        labels[LABEL] = "pod".into();
        let spec = &object["spec"];
        let ports: Vec<_> = items_of(&spec["containers"])
            .iter()
            .flat_map(|one| items_of(&one["ports"]))
            .cloned()
            .collect();
        let node = spec["nodeName"].as_str().and_then(|node| self.mapping.nodes.get(node));
        let mut arguments = vec!["serve".to_owned()];
        arguments.extend(self.served(&End::Pod(name.clone()), &ports));
        let mut pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name.name, "namespace": name.namespace, "labels": labels},
            "spec": {
                "hostNetwork": spec["hostNetwork"].as_bool().unwrap_or(false),
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 1,
                "tolerations": [{"operator": "Exists"}],
                "containers": [{
                    "name": "pod",
                    "image": POD_IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "args": arguments,
                    "env": [{"name": "POD_NAME", "value": name.to_string()}],
                    // Another pod may declare the same port of the node.
                    "ports": if spec["hostNetwork"] == true { Vec::new() } else { ports },
                }],
            },
        });
        if let Some(node) = node {
            pod["spec"]["nodeName"] = node.name.as_str().into();
        }
        pod
    }

    /// Ports that the pod declares or that are probed, so that only a policy can deny a probe.
    fn served(&self, end: &End, ports: &[Value]) -> BTreeSet<String> {
        let declared = ports.iter().map(|port| {
            let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
            (port["containerPort"].to_string(), protocol)
        });
        let probed = self.example.probes.iter().filter(|(probe, _)| probe.to == *end);
        let probed =
            probed.map(|(probe, _)| (probe.port.to_string(), probe.protocol.name().to_owned()));
        let all = declared.chain(probed).filter(|(_, protocol)| protocol != Protocol::Sctp.name());
        all.map(|(port, protocol)| [port, protocol].join("/")).collect()
    }

    /// Reads the addresses that pods and Services received.
    fn read_addresses(&mut self) -> Result<()> {
        let client = &self.cluster.client;
        for pod in client.everywhere::<Pod>().list(LABEL)? {
            let name = name_of(&pod.metadata).context("a pod without a name")?;
            let (spec, status) = (pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
            let own = parsed(status.pod_ips.unwrap_or_default().into_iter().map(|own| own.ip));
            if spec.host_network != Some(true)
                && let (Some(node), Some(first)) = (spec.node_name, own.first())
            {
                self.pods.by_node.insert(node, *first);
            }
            self.pods.addresses.insert(End::Pod(name), own);
        }
        for service in client.everywhere::<KubeService>().list("")? {
            let name = name_of(&service.metadata).context("a Service without a name")?;
            let own = service.spec.unwrap_or_default().cluster_ips.unwrap_or_default();
            self.pods.addresses.insert(End::Service(name), parsed(own));
        }
        Ok(())
    }

    fn policy(&self, object: &Value) -> Value {
        let mut object = object.clone();
        self.translate(&mut object["spec"]);
        object
    }

    fn translate(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                *text = self.mapping.block(&self.example.manifests, text, &self.pods);
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.translate(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.translate(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn hosts(&self) -> Result<()> {
        let hosts = &self.example.manifests.hosts;
        let Some(layout) = &self.cluster.local else { return Ok(()) };
        for (name, host) in hosts {
            network::add_host(layout, name, &host.addresses)?;
            let end = End::Host(name.clone());
            let mut serve = network::inside(layout, &network::host(name));
            serve.arg(super::pod_program()?).arg("serve").args(self.served(&end, &[]));
            Service::start(layout, &network::host(name), serve.env("POD_NAME", end.to_string()))?;
        }
        Ok(())
    }
}

/// Creates the definition of cluster-wide policies, so that they can be applied.
pub(crate) fn define_cluster_policies(client: &Client) -> Result<()> {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = json!({
        "name": "v1alpha2", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
    });
    let group = "policy.networking.k8s.io";
    let plural = "clusternetworkpolicies";
    let name = [plural, group].join(".");
    client.apply(&[json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": name,
            // The API server protects the names of this API group.
            "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
        },
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {"plural": plural, "singular": "clusternetworkpolicy", "kind": "ClusterNetworkPolicy"},
            "versions": [version],
        },
    })])?;
    let is_established = |definition: Option<&CustomResourceDefinition>| {
        let status = definition.and_then(|definition| definition.status.as_ref());
        let conditions = status.and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|all| {
            all.iter().any(|one| one.type_ == "Established" && one.status == "True")
        })
    };
    Ok(client.cluster_wide().wait(&name, START, "established", is_established)?)
}

fn is_policy(object: &Value) -> bool {
    matches!(object["kind"].as_str(), Some("NetworkPolicy" | "ClusterNetworkPolicy"))
}

fn name_of(metadata: &ObjectMeta) -> Option<ObjectName> {
    Some(ObjectName::new(metadata.namespace.as_deref()?, metadata.name.as_deref()?))
}
