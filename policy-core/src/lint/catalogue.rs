//! The rules, and what they are for.

use super::{
    Rule, and, blocks, dns, metadata, namespaces, never, nodes, ports, selectors, services, shadow,
    tiers, types,
};

/// Every rule, by code.
pub const RULES: &[Rule] = &[
    Rule {
        code: "NP001",
        name: "subject-selects-no-pod",
        summary: "podSelector of a policy selects no pod",
        explanation: "A policy applies to the pods of its own namespace that spec.podSelector selects. \
            One that selects none protects nothing: often the label is misspelt, or the policy lies in another namespace than its pods. \
            Pods with hostNetwork are never selected: they have the addresses of their node. \
            Not checked where the manifests hold no pods.",
        check: selectors::subject,
    },
    Rule {
        code: "NP002",
        name: "peer-matches-nothing",
        summary: "selector of a peer matches no namespace or no pod",
        explanation: "A peer whose selectors match nothing allows nothing. \
            podSelector alone means pods of the policy's own namespace; for others it needs a namespaceSelector beside it. \
            A namespace has the label kubernetes.io/metadata.name with its name; other labels must be set. \
            Pods are not checked where the manifests hold none.",
        check: selectors::peers,
    },
    Rule {
        code: "NP003",
        name: "can-never-match",
        summary: "a selector, block or port that can never match",
        explanation: "Whatever the cluster holds, this entry matches nothing: requirements that exclude one another, \
            excepts that together leave nothing of their block, or an entry that the API server would refuse.",
        check: never::check,
    },
    Rule {
        code: "NP004",
        name: "shadowed-peer",
        summary: "a peer that adds nothing to another one of the same policy",
        explanation: "Rules only add up, so an entry that lies wholly within another one, at the same ports, changes nothing. \
            Harmless by itself, it often shows that the wider one is wider than was meant.",
        check: shadow::peers,
    },
    Rule {
        code: "NP005",
        name: "egress-without-dns",
        summary: "egress is isolated and reaches no DNS server",
        explanation: "Once a policy isolates egress, looking up names needs a rule too, by UDP and TCP at port 53. \
            Without it connections by name fail, although their rules are right. \
            A policy without any egress rule shuts everything on purpose and is not meant.",
        check: dns::unreachable,
    },
    Rule {
        code: "NP006",
        name: "node-local-dns-not-matched",
        summary: "the DNS pods are allowed, and not the node-local cache that answers",
        explanation: "With a node-local DNS cache pods ask an address of their node, usually 169.254.20.10. \
            It belongs to no pod with a network of its own, so no selector matches it: it takes an ipBlock. \
            Checked where the manifests hold a pod with the label k8s-app=node-local-dns.",
        check: dns::node_local,
    },
    Rule {
        code: "NP007",
        name: "unresolved-named-port",
        summary: "a named port that resolves nowhere",
        explanation: "A named port is resolved on the pod that is the destination: the selected pod for ingress, the peer for egress. \
            Name and protocol must both match. A name that no such pod has allows nothing, and outside of the cluster a name never means anything.",
        check: ports::named,
    },
    Rule {
        code: "NP008",
        name: "block-covers-cluster",
        summary: "an ipBlock that covers addresses of pods or Services",
        explanation: "ipBlock is for addresses outside of the cluster. It matches pods' addresses too, but these change with every restart. \
            A Service is judged by the backends behind it, never by its cluster IP, so a block around cluster IPs allows no Service, \
            nor does any connection come from one. \
            An external IP or that of a load balancer needs a block and its backends as well; it is found where a pod may not reach those. \
            A block around everything is only noted: 0.0.0.0/0 means all pods, too.",
        check: blocks::check,
    },
    Rule {
        code: "NP009",
        name: "except-outside-block",
        summary: "an except outside of its block",
        explanation: "An except only subtracts from its own block, and never denies what another peer, rule or policy allows. \
            The API server refuses one that lies outside, so nothing else of such manifests is checked.",
        check: never::excepts,
    },
    Rule {
        code: "NP010",
        name: "nodes-partly-excepted",
        summary: "the node network is excepted and other addresses of the nodes stay open",
        explanation: "ipBlock is literal. A node answers at every address it has: internal and external ones, in both families, \
            and those of its gateways, bridges and tunnels, which manifests tell by podCIDRs at most. \
            To keep pods off the nodes except all of them, or allow what is needed instead of everything but the nodes.",
        check: nodes::check,
    },
    Rule {
        code: "NP011",
        name: "service-partly-allowed",
        summary: "a Service whose backends are allowed only in part",
        explanation: "Egress to a Service is judged by the backends behind it, at their own port. \
            Which backend a connection gets is only chosen later, so a Service with an allowed and a denied one is shut for that pod.",
        check: services::partial,
    },
    Rule {
        code: "NP012",
        name: "policy-types-contradict-rules",
        summary: "policyTypes contradict the rules",
        explanation: "Rules of a direction that policyTypes leaves out are ignored. \
            Where policyTypes is absent it means Ingress always, and Egress if there are egress rules: \
            a policy that has only egress rules then isolates ingress as well.",
        check: types::check,
    },
    Rule {
        code: "NP013",
        name: "and-split-into-two-items",
        summary: "two list items where one with both selectors was likely meant",
        explanation: "namespaceSelector and podSelector in one item must both hold. In two items (one more dash) either is enough: \
            every pod of those namespaces, and those pods of the policy's own namespace.",
        check: and::check,
    },
    Rule {
        code: "NP014",
        name: "no-default-deny",
        summary: "a namespace without default deny",
        explanation: "Pods that no policy selects are open. A policy with an empty podSelector and no rules isolates every pod of the namespace, \
            also one that is created tomorrow with labels that no other policy knows.",
        check: namespaces::default_deny,
    },
    Rule {
        code: "NP015",
        name: "metadata-reachable",
        summary: "a metadata address of the cloud is reachable",
        explanation: "169.254.169.254 (fd00:ec2::254) hands out credentials of the node to whoever can reach it. \
            Egress to everything includes it; except it, unless the pod needs it.",
        check: metadata::check,
    },
    Rule {
        code: "NP016",
        name: "equal-policies",
        summary: "a policy that says the same as another one",
        explanation: "Policies only add up, so the second one of two that are equal changes nothing. \
            Whoever edits one of them will find that the other one still allows.",
        check: shadow::equal,
    },
    Rule {
        code: "NP017",
        name: "closed-rule",
        summary: "a rule of a cluster-wide policy that is not read as it is written, but closed",
        explanation: "A peer or protocol of a ClusterNetworkPolicy that cannot be enforced, as domainNames, closes the whole rule: \
            one that accepts then accepts nothing, one that denies or passes denies everything. \
            Other peers of the same rule suffer with it, so give it a rule of its own at least.",
        check: tiers::closed::check,
    },
    Rule {
        code: "NP018",
        name: "rule-behind-another",
        summary: "a rule of a cluster-wide policy that never has its turn",
        explanation: "Rules of a tier are asked in order: by priority of their policies, then as they stand; the first one that means a connection has the word. \
            A rule that means nothing beyond what an earlier one means never decides. \
            A rule of the tier Baseline is behind every Admin rule that accepts or denies. \
            Compared is the form of selectors, networks and ports, rule by rule.",
        check: tiers::order::behind,
    },
    Rule {
        code: "NP019",
        name: "equal-priorities-contradict",
        summary: "two cluster-wide policies of one priority that contradict one another",
        explanation: "Which of two policies of the same tier and priority is asked first is left open by the API; here it goes by name, elsewhere maybe not. \
            Where they contradict one another on a connection of a pod that both select, its verdict is not defined. \
            Checked where the manifests hold pods that both select.",
        check: tiers::priority::check,
    },
    Rule {
        code: "NP020",
        name: "baseline-overridden",
        summary: "a Baseline policy that network policies always override",
        explanation: "The tier Baseline is asked only for pods that no NetworkPolicy selects in that direction. \
            Where each pod that it selects has one, it has no effect today; it still would for a new pod without. \
            What must hold whatever network policies say belongs into the tier Admin.",
        check: tiers::order::overridden,
    },
];
