//! Whether a text that cannot be read names a kind of policies.

use policy_core::model::Kind;

use crate::FOREIGN_KINDS;

/// Whether a text has `kind: NetworkPolicy` or the kind of another policy, in YAML or JSON.
///
/// The text may not be YAML, so that this is a search, not a look-up: a comment counts too.
pub(crate) fn policy(text: &str) -> bool {
    text.match_indices("kind").any(|(at, key)| {
        let value = text[at + key.len()..].trim_start_matches(['"', '\'']).trim_start();
        let Some(value) = value.strip_prefix(':') else { return false };
        let value = value.trim_start_matches([' ', '\t', '"', '\'']);
        let end = value.find(|letter: char| !letter.is_ascii_alphanumeric());
        is_policy(&value[..end.unwrap_or(value.len())])
    })
}

/// Whether a kind, or the items of a list kind, are policies.
fn is_policy(kind: &str) -> bool {
    let of_list = kind.strip_suffix("List").unwrap_or(kind);
    Kind::from_name(of_list).is_some_and(Kind::is_policy)
        || FOREIGN_KINDS.iter().any(|foreign| foreign.kind == of_list)
}

#[cfg(test)]
mod tests {
    use super::policy;

    #[test]
    fn policies_are_found_in_any_form() {
        #[rustfmt::skip]
        let cases = [
            ("in YAML",            "a: [\nkind: NetworkPolicy\n",          true),
            ("in a list",          "- kind: 'NetworkPolicy'",              true),
            ("in JSON",            "{\"kind\" : \"NetworkPolicyList\"",    true),
            ("of another project", "kind: CiliumNetworkPolicy # x",        true),
            ("another kind",       "kind: Deployment\nname: NetworkPolicy", false),
            ("a longer word",      "kind: NetworkPolicyReport",            false),
            ("no value",           "kind",                                 false),
        ];
        for (claim, text, want) in cases {
            assert_eq!(policy(text), want, "{claim}");
        }
    }
}
