//! A second pod of the node, at an interface of its own.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use policy_common::endpoint::{CLOSED, Endpoint};

use super::{ALLOW_MAP, IFINDEX, Isolated, Rig, SLOT, TC_ACT_UNSPEC, everything};

/// Its interface; a new namespace may have some of the kernel's own at low indexes.
const NEIGHBOUR: u32 = 77;
/// Its addresses.
const NEIGHBOUR4: [u8; 4] = [10, 244, 0, 11];
const NEIGHBOUR6: [u8; 16] = [0xfd, 0, 0, 0x10, 2, 0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11];

impl Rig {
    /// Two pods that may send everything, and receive nothing but replies, in a network namespace of
    /// this thread; each has flow tables of its own, or they share them.
    pub(crate) fn with_neighbour(own_tables: bool) -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace; this needs root");
        let link = format!("link add name pod index {NEIGHBOUR} type veth peer name other");
        let status = Command::new("ip").args(link.split(' ')).status().expect("ip starts");
        assert!(status.success(), "ip cannot make an interface");
        let mut rig = Self::new(Isolated::Both);
        rig.allow(&[everything(0)]);
        rig.isolate_by(CLOSED, ALLOW_MAP);
        let neighbour = Endpoint {
            ifindex: NEIGHBOUR,
            slot: SLOT + 1,
            ingress: CLOSED,
            egress: ALLOW_MAP,
            address4: NEIGHBOUR4,
            address6: NEIGHBOUR6,
            ..Endpoint::default()
        };
        rig.put("endpoints", NEIGHBOUR, neighbour);
        rig.epoch_of(NEIGHBOUR, 2);
        if own_tables {
            rig.own_flow_tables(IFINDEX);
            rig.own_flow_tables(NEIGHBOUR);
        }
        rig
    }

    /// The neighbour sends a frame, which passes.
    pub(crate) fn neighbour_sends(&mut self, frame: &[u8]) {
        assert_eq!(self.act_at(NEIGHBOUR, "from_pod", frame, 0), TC_ACT_UNSPEC);
    }

    /// The neighbour receives a frame from another machine, which passes.
    pub(crate) fn neighbour_receives(&mut self, frame: &[u8]) {
        assert_eq!(self.act_at(NEIGHBOUR, "to_pod", frame, NEIGHBOUR), TC_ACT_UNSPEC);
    }
}
