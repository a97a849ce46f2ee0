//! Rules that are not read as they are written, but closed (S52).

use crate::{
    explain::tier,
    model::{Action, ClusterPeer, ProtocolMatch},
};

use super::{
    super::{Level, Report, context::Context},
    rules,
};

/// Rules with a peer or a protocol that cannot be enforced.
pub(in super::super) fn check(context: &Context<'_>, report: &mut Report) {
    for located in rules(context) {
        let Some(reason) = tier::closed(located.policy, located.rule) else { continue };
        let unknown = |peer: &ClusterPeer| matches!(peer, ClusterPeer::Unknown { .. });
        let unread = |entry: &ProtocolMatch| matches!(entry, ProtocolMatch::Unknown { .. });
        let field = if let Some(index) = located.rule.peers.iter().position(unknown) {
            located.peer_field(index)
        } else if let Some(index) = located.rule.protocols.iter().position(unread) {
            located.field().field("protocols").index(index)
        } else {
            located.field()
        };
        let read = match located.rule.action {
            Action::Accept => "accepts nothing",
            Action::Deny | Action::Pass => "denies everything",
        };
        report.add(
            located.at(field),
            Level::Error,
            format!("{reason}, so the whole rule {read}"),
            "say it by pods, nodes or networks, or give it a rule of its own",
        );
    }
}
