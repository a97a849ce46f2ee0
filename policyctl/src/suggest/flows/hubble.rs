//! Flows of Hubble, as `hubble observe -o json` prints them: `{"flow": {…}}`, or the flow itself.

use std::net::IpAddr;

use policy_core::model::{Labels, Protocol, Workload};
use policy_manifest::Place;
use serde_json::Value;

use super::{ObservedEnd, ObservedFlow, ObservedProtocol};

/// Before labels that come from Kubernetes.
const KUBERNETES: &str = "k8s:";

/// Before labels that Cilium adds.
const CILIUM: &str = "io.cilium.";

/// The same for labels of a pod's namespace.
const NAMESPACE: &str = "io.kubernetes.pod.namespace";

/// The connection of a flow, or why it is none; `None` where a line is no flow of Hubble.
pub(super) fn read(
    line: &str,
    place: &Place,
    with_denied: bool,
) -> Option<Result<ObservedFlow, &'static str>> {
    let line: Value = serde_json::from_str(line).ok()?;
    let flow = line.get("flow").unwrap_or(&line);
    let addresses = flow.get("IP")?;
    let is = |name: &str, value: &str| flow[name].as_str() == Some(value);
    if flow["is_reply"].as_bool() == Some(true) {
        return Some(Err("a reply"));
    }
    if !with_denied && (is("verdict", "DROPPED") || is("verdict", "ERROR")) {
        return Some(Err("denied (--with-denied allows these too)"));
    }
    let address = |name: &str| addresses[name].as_str()?.parse::<IpAddr>().ok();
    Some(Ok(ObservedFlow {
        from: end(&flow["source"], address("source")),
        to: end(&flow["destination"], address("destination")),
        protocol: protocol(&flow["l4"]),
        place: place.clone(),
    }))
}

fn protocol(l4: &Value) -> ObservedProtocol {
    for protocol in Protocol::ALL {
        let port = l4[protocol.name()]["destination_port"].as_u64();
        if let Some(port) = port.and_then(|port| u16::try_from(port).ok()) {
            return ObservedProtocol::Port(protocol, port);
        }
    }
    let name = l4.as_object().and_then(|map| map.keys().next()).map_or("unknown", String::as_str);
    ObservedProtocol::Other(name.to_owned())
}

fn end(endpoint: &Value, address: Option<IpAddr>) -> ObservedEnd {
    let text = |name: &str| {
        let text = endpoint[name].as_str().unwrap_or_default();
        Some(text.to_owned()).filter(|text| !text.is_empty())
    };
    let labels = endpoint["labels"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let labels = labels.filter_map(|label| label.strip_prefix(KUBERNETES)?.split_once('='));
    let own = labels.filter(|(key, _)| !key.starts_with(CILIUM) && *key != NAMESPACE);
    let labels: Labels = own.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let workload = &endpoint["workloads"][0];
    let workload = workload["kind"].as_str().zip(workload["name"].as_str());
    ObservedEnd {
        name: None,
        address,
        namespace: text("namespace"),
        pod: text("pod_name"),
        labels,
        workload: workload
            .map(|(kind, name)| Workload { kind: kind.to_owned(), name: name.to_owned() }),
    }
}
