//! The rules of the linter: code, name, and what `policyctl lint --explain CODE` prints.
//!
//! A new rule gets the next free code, an entry here, and a `check` function in the module of its
//! subject, another one in `tiers` if it is for cluster-wide policies too; its tests are in
//! `policyctl/tests/findings`.

use super::{
    api_server, balancers, context::Context, covered_policies, default_deny, dns, families,
    finding::Report, ip_blocks, mesh, metadata, named_ports, never_matches, node_addresses,
    opened_excepts, partial_services, policy_types, redundant, selectors, service_ports,
    split_selectors, tiers,
};

/// A rule of the linter.
#[derive(Clone, Copy)]
pub struct LintRule {
    /// Stable code, as `NP001`; never given to another rule.
    pub code: &'static str,
    /// What it finds, in a few words with dashes.
    pub name: &'static str,
    /// What it finds, in one line.
    pub summary: &'static str,
    /// Why that matters and what to do, for a reader who has the finding before them.
    pub explanation: &'static str,
    /// For network policies, and for cluster-wide ones.
    pub(super) checks: &'static [fn(&Context<'_>, &mut Report)],
}

/// Code of the rule for named ports that resolve nowhere.
pub(super) const UNRESOLVED_PORT: &str = "NP007";

/// Every rule, by code.
pub const RULES: &[LintRule] = &[
    LintRule {
        code: "NP001",
        name: "subject-selects-no-pod",
        summary: "podSelector of a policy selects no pod",
        explanation: "A policy applies to the pods of its own namespace that spec.podSelector selects. \
            One that selects none protects nothing: often a label is misspelt, or the policy is in another namespace than its pods. \
            Pods with hostNetwork are never selected: they have the addresses of their node. \
            Not checked where the manifests hold no pods.",
        checks: &[selectors::subject, tiers::selectors::subject],
    },
    LintRule {
        code: "NP002",
        name: "peer-matches-nothing",
        summary: "selector of a peer matches no namespace or no pod",
        explanation: "A peer with selectors that match nothing allows nothing. \
            podSelector alone selects pods of the policy's own namespace; for other namespaces put a namespaceSelector into the same item. \
            A namespace has the label kubernetes.io/metadata.name with its name; other labels must be set. \
            Pods are not checked where the manifests hold none, nor namespaces where the manifests define none. \
            Namespaces that every cluster has, such as kube-system, need no manifest.",
        checks: &[selectors::peers, tiers::selectors::peers],
    },
    LintRule {
        code: "NP003",
        name: "can-never-match",
        summary: "a selector, block or port that can never match",
        explanation: "Whatever the cluster holds, this entry matches nothing: its requirements exclude each other, \
            its excepts together leave nothing of the block, or the API server would refuse the entry.",
        checks: &[never_matches::check, tiers::selectors::never],
    },
    LintRule {
        code: "NP004",
        name: "shadowed-peer",
        summary: "a peer that adds nothing to another one of the same policy",
        explanation: "Rules only add up, so an entry that another one covers, at the same ports, changes nothing. \
            It does no harm, but it often shows that the other entry is wider than its author means. \
            Compared is the form of selectors, blocks and ports, entry by entry.",
        checks: &[redundant::peers],
    },
    LintRule {
        code: "NP005",
        name: "egress-without-dns",
        summary: "egress is isolated and reaches no DNS server",
        explanation: "Once a policy isolates egress, DNS needs a rule too: port 53 over UDP and TCP. \
            Without it connections by name fail, although their own rules are right. \
            A policy without any egress rule denies everything on purpose and is not reported.",
        checks: &[dns::unreachable],
    },
    LintRule {
        code: "NP006",
        name: "node-local-dns-not-matched",
        summary: "the DNS pods are allowed, but not the node-local DNS cache that answers",
        explanation: "With a node-local DNS cache, pods send their queries to an address of their node, usually 169.254.20.10. \
            That address belongs to no pod with its own network, so no selector matches it: it needs an ipBlock. \
            Checked where the manifests hold a pod with the label k8s-app=node-local-dns.",
        checks: &[dns::node_local],
    },
    LintRule {
        code: UNRESOLVED_PORT,
        name: "unresolved-named-port",
        summary: "a named port that resolves nowhere",
        explanation: "A named port is resolved on the destination pod: the selected pod for ingress, the peer for egress. \
            Name and protocol must both match. A name that no such pod has allows nothing, and addresses outside of the cluster have no named ports.",
        checks: &[named_ports::check, tiers::selectors::named_ports],
    },
    LintRule {
        code: "NP008",
        name: "block-covers-cluster",
        summary: "an ipBlock that covers addresses of pods or Services",
        explanation: "ipBlock is for addresses outside of the cluster. It matches addresses of pods too, but these change with every restart. \
            A connection to a Service is judged by the backends, never by the cluster IP, so a block around cluster IPs allows no Service, \
            and no connection comes from a cluster IP. \
            External addresses of Services are the subject of NP025, and the cluster IP of the API server that of NP022. \
            A block of a whole family is only a note: 0.0.0.0/0 includes all pods.",
        checks: &[ip_blocks::check, tiers::networks::pods],
    },
    LintRule {
        code: "NP009",
        name: "except-outside-block",
        summary: "an except outside of its block",
        explanation: "An except only subtracts from its own block, and never denies what another peer, rule or policy allows. \
            The API server refuses an except outside of the block, so nothing else of such manifests is checked.",
        checks: &[never_matches::excepts],
    },
    LintRule {
        code: "NP010",
        name: "nodes-partly-excepted",
        summary: "the node network is excepted, but other addresses of the nodes stay open",
        explanation: "ipBlock is literal. A node answers at every address that it has: internal and external ones, in both families, \
            and those of its gateways, bridges and tunnels, of which manifests show at most the podCIDRs. \
            To keep pods away from the nodes, except all of these addresses, or allow what is needed instead of everything but the nodes.",
        checks: &[node_addresses::check],
    },
    LintRule {
        code: "NP011",
        name: "service-partly-allowed",
        summary: "a Service with both allowed and denied backends",
        explanation: "Egress to a Service is judged by its backends, at their own port. \
            Connections to a Service with allowed and denied backends go to the allowed ones alone, which then carry the whole load of that pod.",
        checks: &[partial_services::check],
    },
    LintRule {
        code: "NP012",
        name: "policy-types-contradict-rules",
        summary: "policyTypes contradict the rules",
        explanation: "Rules of a direction that policyTypes lacks are ignored. \
            Without policyTypes a policy is always for Ingress, and for Egress if it has egress rules: \
            a policy with egress rules alone then isolates ingress too.",
        checks: &[policy_types::check],
    },
    LintRule {
        code: "NP013",
        name: "and-split-into-two-items",
        summary: "two list items where one with both selectors was probably meant",
        explanation: "namespaceSelector and podSelector in one item must both hold. In two items (one more dash) either is enough: \
            every pod of those namespaces, and those pods of the policy's own namespace.",
        checks: &[split_selectors::check],
    },
    LintRule {
        code: "NP014",
        name: "no-default-deny",
        summary: "a namespace without default deny",
        explanation: "Pods that no policy selects are open. A policy with an empty podSelector and no rules isolates every pod of the namespace, \
            including one that is created tomorrow with labels that no other policy selects.",
        checks: &[default_deny::check],
    },
    LintRule {
        code: "NP015",
        name: "metadata-reachable",
        summary: "a metadata address of the cloud is reachable",
        explanation: "169.254.169.254 (fd00:ec2::254) hands out credentials of the node to every process that can reach it. \
            Egress to everything includes it, and so does egress of a pod that no policy isolates: the finding names these too. \
            Except it, unless the pod needs it; where it is the DNS server as well, allow it at port 53 by a rule of its own.",
        checks: &[metadata::check, tiers::networks::metadata],
    },
    LintRule {
        code: "NP016",
        name: "equal-policies",
        summary: "a policy that means the same as another one",
        explanation: "Policies only add up, so the second of two equal policies changes nothing. \
            Whoever edits one of them later finds that the other one still allows the connection.",
        checks: &[redundant::policies],
    },
    LintRule {
        code: "NP017",
        name: "closed-rule",
        summary: "a rule of a cluster-wide policy that cannot be enforced as written, and is treated as denying",
        explanation: "A peer or protocol of a ClusterNetworkPolicy that cannot be enforced, such as domainNames, closes the whole rule: \
            a rule that accepts then accepts nothing, one that denies or passes denies everything. \
            This applies to the other peers of the rule too, so put the entry at least into a rule of its own.",
        checks: &[tiers::closed::check],
    },
    LintRule {
        code: "NP018",
        name: "rule-behind-another",
        summary: "a rule of a cluster-wide policy that never decides, because an earlier one matches all of it",
        explanation: "Rules of a tier are evaluated in order: by priority of their policies, then as they are listed; the first rule that matches a connection decides. \
            A rule that matches nothing beyond what an earlier one matches never decides. \
            A rule of the tier Baseline comes after every Admin rule that accepts or denies. \
            Compared is the form of selectors, networks and ports, rule by rule.",
        checks: &[tiers::order::hidden],
    },
    LintRule {
        code: "NP019",
        name: "equal-priorities-contradict",
        summary: "two cluster-wide policies of one priority that contradict each other",
        explanation: "The API does not define which of two policies of the same tier and priority is evaluated first; this project goes by name, another may not. \
            Where the two contradict each other on a connection of a pod that both select, its verdict is not defined. \
            Checked where the manifests hold pods that both select.",
        checks: &[tiers::priority::check],
    },
    LintRule {
        code: "NP020",
        name: "baseline-overridden",
        summary: "a Baseline policy that network policies always override",
        explanation: "The tier Baseline is evaluated only for pods that no NetworkPolicy selects in that direction. \
            Where each pod that the policy selects has one, the policy has no effect today; it would have one for a new pod without a NetworkPolicy. \
            Use the tier Admin for what must hold whatever network policies say.",
        checks: &[tiers::order::overridden],
    },
    LintRule {
        code: "NP021",
        name: "mesh-port-shut",
        summary: "the port of a service mesh is not allowed",
        explanation: "Pods of a mesh connect over the port of the mesh, whatever port the application has: \
            15008 in Istio's ambient mode, 4143 in Linkerd. \
            A rule for the port of the application needs that port over TCP beside it, for ingress and for egress. \
            Checked in namespaces with the label istio.io/dataplane-mode=ambient, or with linkerd.io/inject=enabled as a label or an annotation. \
            A default deny alone is a note.",
        checks: &[mesh::check],
    },
    LintRule {
        code: "NP022",
        name: "api-server-by-cluster-ip",
        summary: "the API server is allowed by its cluster IP alone",
        explanation: "A connection to a Service is judged by its backends, and those of default/kubernetes are the addresses of the API server, \
            at its own port, usually 6443. \
            No selector matches them: allow them by an ipBlock, at that port. That opens the Service too, and nothing else of these machines. \
            Where the manifests lack the Service, the usual cluster IPs of the API server are recognised.",
        checks: &[api_server::check],
    },
    LintRule {
        code: "NP023",
        name: "one-family-only",
        summary: "a block for every address of one family, and none for the other",
        explanation: "0.0.0.0/0 matches no IPv6 address, and ::/0 no IPv4 address. \
            A pod with addresses of both families often connects over IPv6 first, and that is denied. \
            Checked where running pods, or the nodes, have addresses of both families.",
        checks: &[families::check],
    },
    LintRule {
        code: "NP024",
        name: "port-of-the-service",
        summary: "the port of a Service where that of its backends is meant",
        explanation: "A policy judges a connection at the port of the pod, which is the targetPort of the Service. \
            A rule for the port of the Service matches nothing if no pod serves it. \
            Checked where the manifests hold the Service and its pods.",
        checks: &[service_ports::check],
    },
    LintRule {
        code: "NP025",
        name: "block-of-own-load-balancer",
        summary: "an ipBlock of a load balancer or external IP of the cluster's own Services",
        explanation: "A pod's connection to an external address of a Service of its own cluster is translated on its node, and judged by the backends too: \
            allow these by their labels as well as the block. \
            As a source such an address never appears: what comes through a load balancer has the address of the client or of a node.",
        checks: &[balancers::check],
    },
    LintRule {
        code: "NP026",
        name: "policy-adds-nothing",
        summary: "a policy that adds nothing to another one",
        explanation: "Policies only add up. A policy has no effect if another one selects at least the same pods, for the same directions, \
            and has a rule that covers each of its rules. \
            Whoever edits it later finds that nothing changes. A policy without rules is only a note. \
            Compared is the form of selectors, blocks and ports, rule by rule.",
        checks: &[covered_policies::check],
    },
    LintRule {
        code: "NP027",
        name: "except-opened",
        summary: "an except that another rule opens",
        explanation: "An except only subtracts from its own block, and denies nothing that another block of the same pods allows. \
            Reported is a block around the excepted one, or equal to it at the same ports. \
            A rule for a part of it, or for one port of exactly the excepted block, is taken as meant.",
        checks: &[opened_excepts::check],
    },
    LintRule {
        code: "NP028",
        name: "suppression-without-effect",
        summary: "a suppression without a reason, or one that suppresses nothing",
        explanation: "A comment or annotation that suppresses a finding needs its code and a reason: without a reason it is not applied. \
            One that suppresses nothing is left over from a finding that no longer exists, and would hide the next one.",
        checks: &[],
    },
];
