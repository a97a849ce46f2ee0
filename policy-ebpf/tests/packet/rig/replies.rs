//! Replies to what the pod may not send.

use aya::{TestRun as _, TestRunOptions, programs::SchedClassifier};
use policy_common::{
    drops::Direction,
    endpoint::{Endpoint, flags},
};

use super::{ALLOW_MAP, IFINDEX, Isolated, POD4, POD6, Rig, SLOT};

const TC_ACT_SHOT: u32 = 2;
const TC_ACT_REDIRECT: u32 = 7;

impl Rig {
    /// As `new`, with an endpoint that is isolated both ways and asks for replies.
    pub(crate) fn rejecting() -> Self {
        let mut rig = Self::new(Isolated::Both);
        rig.reject_with(0);
        rig
    }

    /// Writes the endpoint, isolated both ways, with replies and with these flags.
    pub(crate) fn reject_with(&mut self, more: u32) {
        self.endpoint(Endpoint {
            ifindex: IFINDEX,
            slot: SLOT,
            ingress: ALLOW_MAP,
            egress: ALLOW_MAP,
            flags: flags::REJECT | more,
            address4: POD4,
            address6: POD6,
            ..Endpoint::default()
        });
    }

    /// The reply to a frame that the pod sends and that is dropped; `None` if there is no reply.
    pub(crate) fn reply(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        self.reply_of("from_pod", Direction::Egress, frame)
    }

    /// As `reply`, of a frame to the pod.
    pub(crate) fn reply_to_received(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        self.reply_of("to_pod", Direction::Ingress, frame)
    }

    fn reply_of(&mut self, name: &str, way: Direction, frame: &[u8]) -> Option<Vec<u8>> {
        let before: u64 = self.dropped(way).iter().sum();
        let mut context = [0_u8; 192];
        context[36..40].copy_from_slice(&(IFINDEX + 1).to_ne_bytes());
        context[40..44].copy_from_slice(&IFINDEX.to_ne_bytes());
        let mut out = vec![0; 1 << 16];
        let program: &SchedClassifier = self.ebpf.program(name).unwrap().try_into().unwrap();
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let ran = program.test_run(options).expect("a frame that the kernel takes");
        out.truncate(ran.data_size_out.try_into().unwrap());
        assert_eq!(self.dropped(way).iter().sum::<u64>(), before + 1, "it counts as dropped");
        assert!(self.record().is_some(), "and has a record");
        match ran.return_value {
            TC_ACT_REDIRECT => Some(out),
            TC_ACT_SHOT => {
                assert_eq!(out, frame, "a packet without a reply is not changed");
                None
            }
            other => panic!("{name} returned {other}"),
        }
    }
}
