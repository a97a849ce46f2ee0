//! The truth table in the form that programs read.
//!
//! Input: a [`Probe`], what the compiler explains about it, and what the wire did. Output: a [`Row`].
//! `policyctl` has no wire, so its rows have the compiler's verdict as the outcome.

mod deciders;
mod outcome;

use policy_core::{
    explain::{DirectionVerdict, Explanation},
    model::{Family, Protocol},
};
use policy_manifest::{End, Verdict};
use serde::{Deserialize, Serialize};

pub use deciders::Deciders;
pub use outcome::Outcome;

use crate::Probe;

/// A truth table; serialised, the schema that every command with `-o json` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// One row per probe.
    pub probes: Vec<Row>,
}

/// A probe, its outcome, and what the compiler says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Who opens the connection.
    #[serde(with = "end")]
    pub from: End,
    /// Who it is for.
    #[serde(with = "end")]
    pub to: End,
    /// `IPv4` or `IPv6`.
    #[serde(with = "family")]
    pub family: Family,
    /// `TCP`, `UDP` or `SCTP`.
    #[serde(with = "protocol")]
    pub protocol: Protocol,
    /// The port, as the initiator sees it.
    pub port: u16,
    /// The compiler's verdict on ingress to the destination.
    pub ingress: Verdict,
    /// The compiler's verdict on egress from the source.
    pub egress: Verdict,
    /// What happened to the probe.
    pub verdict: Outcome,
    /// Which policies decided, according to the compiler.
    pub by: DecidersByDirection,
}

/// Deciding policies by direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidersByDirection {
    /// Those of the destination.
    pub ingress: Deciders,
    /// Those of the source.
    pub egress: Deciders,
}

impl Row {
    /// The row of a probe; without an `outcome` from the wire the compiler's verdict is the
    /// outcome.
    #[must_use]
    pub fn new(probe: &Probe, explanation: &Explanation, outcome: Option<Outcome>) -> Self {
        Self::of(probe.clone(), explanation.clone(), outcome)
    }

    /// The same without copies: there may be many rows, each with many policies.
    #[must_use]
    pub fn of(probe: Probe, explanation: Explanation, outcome: Option<Outcome>) -> Self {
        let expected = if explanation.allowed() { Outcome::Allow } else { Outcome::Deny };
        Self {
            from: probe.from,
            to: probe.to,
            family: probe.family,
            protocol: probe.protocol,
            port: probe.port,
            ingress: verdict(&explanation.ingress),
            egress: verdict(&explanation.egress),
            verdict: outcome.unwrap_or(expected),
            by: DecidersByDirection {
                ingress: explanation.ingress.by.into(),
                egress: explanation.egress.by.into(),
            },
        }
    }

    /// The compiler's verdict: a connection is allowed only if both directions allow it (S3).
    #[must_use]
    pub fn expected(&self) -> Verdict {
        match (self.ingress, self.egress) {
            (Verdict::Allow, Verdict::Allow) => Verdict::Allow,
            (Verdict::Deny, _) | (_, Verdict::Deny) => Verdict::Deny,
        }
    }

    /// Which policies decided, in words; on a denied probe those of the directions that deny it, as
    /// `ingress: no rule of backend/backend`.
    #[must_use]
    pub fn decided_by(&self) -> String {
        let directions =
            [("egress", self.egress, &self.by.egress), ("ingress", self.ingress, &self.by.ingress)];
        let deciding = directions
            .into_iter()
            .filter(|(_, verdict, deciders)| *verdict == self.expected() && !deciders.is_empty());
        let parts: Vec<String> = deciding
            .map(|(direction, verdict, deciders)| {
                let names: Vec<String> = deciders
                    .iter()
                    .map(|by| by.describe_briefly(verdict == Verdict::Allow))
                    .collect();
                format!("{direction}: {}", names.join(", "))
            })
            .collect();
        if parts.is_empty() { "no policy".to_owned() } else { parts.join("; ") }
    }

    /// Whether the outcome is what the compiler says.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.verdict == self.expected().into()
    }
}

fn verdict(of: &DirectionVerdict) -> Verdict {
    if of.allowed { Verdict::Allow } else { Verdict::Deny }
}

/// Ends as text.
mod end {
    use policy_manifest::End;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(end: &End, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(end)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<End, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Families in the API's words.
mod family {
    use policy_core::model::Family;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(family: &Family, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(family.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Family, D::Error> {
        let text = String::deserialize(from)?;
        [Family::Ipv4, Family::Ipv6]
            .into_iter()
            .find(|family| family.name() == text)
            .ok_or_else(|| D::Error::unknown_variant(&text, &["IPv4", "IPv6"]))
    }
}

/// Protocols in the API's words.
mod protocol {
    use policy_core::model::Protocol;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(protocol: &Protocol, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(protocol.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Protocol, D::Error> {
        let text = String::deserialize(from)?;
        Protocol::ALL
            .into_iter()
            .find(|protocol| protocol.name() == text)
            .ok_or_else(|| D::Error::unknown_variant(&text, &["TCP", "UDP", "SCTP"]))
    }
}
