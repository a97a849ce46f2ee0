//! The world that packets are judged in, as plain values: pods, policies, Services, addresses.
//!
//! The generator makes a [`World`] and steps that change it; the model reads it as it is, and the
//! rig writes it to the maps of the loaded programs.

use std::net::IpAddr;

use crate::addresses::{Block, LOCAL_PODS, pod_has};
use crate::protocol;

/// Whom a rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A rule without `from` or `to` (S11).
    Anybody,
    /// One pod, at both of its addresses.
    Pod(usize),
    /// A block, without what an `except` takes out of it (S18, S19).
    Block {
        /// Number of the block in [`crate::addresses::BLOCKS`].
        block: usize,
        /// Number of the block that is left out.
        except: Option<usize>,
    },
}

/// Ports of one protocol, both ends included; all of a protocol where `ports` is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// IP protocol number.
    pub protocol: u8,
    /// First and last port.
    pub ports: Option<(u16, u16)>,
}

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whom it names.
    pub peer: Peer,
    /// Its ports; every protocol where there is no list (S21).
    pub ports: Option<Vec<Ports>>,
}

/// What the policies of one direction of a pod allow, in sum.
pub type Policy = Vec<Rule>;

/// A pod of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Number of the policy that isolates it for ingress.
    pub ingress: Option<usize>,
    /// Number of the policy that isolates it for egress.
    pub egress: Option<usize>,
    /// It is about to be isolated: everything passes and is recorded (S30).
    pub tracking: bool,
    /// The opt-out of S46.
    pub may_spoof: bool,
    /// Its interface is a port of the bridge.
    pub on_bridge: bool,
}

/// Everything that a verdict depends on, apart from flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// The policies that pods refer to by number.
    pub policies: Vec<Policy>,
    /// The pods of this node, in the order of [`crate::addresses::PODS`].
    pub pods: [Pod; LOCAL_PODS],
}

impl Pod {
    /// A pod that nothing selects.
    pub const OPEN: Self =
        Self { ingress: None, egress: None, tracking: false, may_spoof: false, on_bridge: false };

    /// Whether a policy selects it in some direction.
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        self.ingress.is_some() || self.egress.is_some()
    }
}

/// Whether a policy allows a peer at a port. `port` is that of the connection's destination; it
/// matters only to protocols that have ports.
#[must_use]
pub fn allows(policy: &Policy, peer: IpAddr, protocol: u8, port: u16) -> bool {
    policy.iter().any(|rule| names(rule.peer, peer) && opens(rule, protocol, port))
}

/// Whether a policy allows a peer whatever the ports are.
#[must_use]
pub fn allows_every_port(policy: &Policy, peer: IpAddr, protocol: u8) -> bool {
    let has_ports = matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    policy.iter().any(|rule| {
        names(rule.peer, peer)
            && rule.ports.as_ref().is_none_or(|list| {
                has_ports && list.iter().any(|one| one.protocol == protocol && one.ports.is_none())
            })
    })
}

/// Whether a peer of a rule has an address.
#[must_use]
pub fn names(peer: Peer, address: IpAddr) -> bool {
    match peer {
        Peer::Anybody => true,
        Peer::Pod(pod) => pod_has(pod, address),
        Peer::Block { block, except } => {
            let contains = |number| Block::numbered(number).contains(address);
            contains(block) && !except.is_some_and(contains)
        }
    }
}

/// Whether the ports of a rule have a port.
fn opens(rule: &Rule, protocol: u8, port: u16) -> bool {
    let Some(list) = &rule.ports else { return true };
    list.iter().any(|one| {
        one.protocol == protocol
            && one.ports.is_none_or(|(first, last)| first <= port && port <= last)
    })
}
