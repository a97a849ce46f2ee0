//! NP017: rules of cluster-wide policies that are replaced by a denial, because a part of them
//! cannot be enforced (S52).

use crate::{
    explain::tier,
    model::{Action, ClusterPeer},
};

use super::{
    super::{
        context::Context,
        finding::{Level, Report},
    },
    rules,
};

/// Rules with a peer that cannot be enforced, or of a policy with such a subject.
pub(in super::super) fn check(context: &Context<'_>, report: &mut Report) {
    for located in rules(context) {
        let Some(reason) = tier::closed(located.policy, located.rule) else { continue };
        let unknown_peer = |peer: &ClusterPeer| matches!(peer, ClusterPeer::Unknown(_));
        let path = if let Some(index) = located.rule.peers.iter().position(unknown_peer) {
            located.peer_path(index)
        } else {
            located.path()
        };
        let effect = match located.rule.action {
            Action::Accept => "accepts nothing",
            Action::Deny | Action::Pass => "denies everything",
        };
        report.add(
            located.at(path),
            Level::Error,
            format!("{reason}, so the whole rule {effect}"),
            "use pods, nodes or networks instead, or put the entry into a rule of its own",
        );
    }
}
