//! Faults: parts of objects that are not enforced as they are written, and what is enforced
//! instead.
//!
//! The compiler returns them beside its result; the agent reports them in `/status`, Events and
//! logs. A fault never opens anything: what is enforced instead allows less (S17, S52).
//!
//! ```text
//! NetworkPolicy web/allow: spec.ingress[0].ports[1]: endPort 79 is below port 80; allows nothing
//! kind          object     field                     problem                      effect
//! ```

use std::{fmt, net::IpAddr};

use ipnetwork::IpNetwork;

use crate::model::{FieldPath, ObjectName, ObjectRef, UnknownPeer};

/// A part of an object that is not enforced as it is written. The rest of the object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The object.
    pub object: ObjectRef,
    /// The part.
    pub field: FieldPath,
    /// What is wrong with it.
    pub problem: Problem,
    /// What is enforced instead.
    pub effect: Effect,
}

/// What is wrong with a part of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// The selector of the policy's pods cannot be read.
    UnreadableSubject,
    /// A peer that is not known or cannot be enforced.
    UnknownPeer(UnknownPeer),
    /// `endPort` is below `port`.
    EndPortBelow {
        /// `port`.
        first: u16,
        /// `endPort`.
        last: u16,
    },
    /// IPv4 addresses written as IPv6 (`::ffff:0:0/96`): no packet carries such an address.
    MappedBlock(IpNetwork),
    /// An entry of `except` that is not a proper part of `cidr`.
    ExceptOutside {
        /// The entry.
        except: IpNetwork,
        /// `cidr`.
        cidr: IpNetwork,
    },
    /// Several pods have the same address.
    SharedAddress {
        /// The address.
        address: IpAddr,
        /// The pods, by name.
        pods: Vec<ObjectName>,
    },
}

/// What is enforced instead of a part that cannot be enforced as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// A peer matches no address.
    MatchesNothing,
    /// An entry of `ports` allows no port.
    AllowsNothing,
    /// An entry of `except` takes away only addresses that are in `cidr` too.
    ExceptsOverlap,
    /// A `NetworkPolicy` isolates every pod of its namespace; none of its rules allows anything.
    IsolatesNamespace,
    /// A `ClusterNetworkPolicy` selects every pod. Its `Accept` rules match nothing, all others
    /// deny everything.
    SelectsEveryPod,
    /// A rule with the action `Accept` matches nothing.
    RuleMatchesNothing,
    /// A rule with the action `Deny` or `Pass` denies everything.
    RuleDeniesEverything,
    /// Of the peers of policies, only those match the address that match each of its pods.
    MatchedByCommonPeers,
}

/// One line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, field, problem, effect } = self;
        write!(f, "{} {object}: {field}: {problem}; {effect}", object.kind())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnreadableSubject => f.write_str("the selector cannot be read"),
            Self::UnknownPeer(reason) => reason.fmt(f),
            Self::EndPortBelow { first, last } => {
                write!(f, "endPort {last} is below port {first}")
            }
            Self::MappedBlock(block) => {
                write!(f, "{block} holds IPv4 addresses written as IPv6")
            }
            Self::ExceptOutside { except, cidr } => {
                write!(f, "{except} is not a part of {cidr}")
            }
            Self::SharedAddress { address, pods } => {
                let names: Vec<_> = pods.iter().map(ToString::to_string).collect();
                write!(f, "{address} is the address of {}", names.join(" and "))
            }
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MatchesNothing => "matches nothing",
            Self::AllowsNothing => "allows nothing",
            Self::ExceptsOverlap => "excludes only the addresses that are in both",
            Self::IsolatesNamespace => "isolates every pod of its namespace and allows nothing",
            Self::SelectsEveryPod => {
                "selects every pod; rules that accept match nothing, others deny everything"
            }
            Self::RuleMatchesNothing => "the rule matches nothing",
            Self::RuleDeniesEverything => "the rule denies everything",
            Self::MatchedByCommonPeers => "is matched only by the peers that match all of them",
        })
    }
}
