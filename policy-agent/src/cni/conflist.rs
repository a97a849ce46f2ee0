//! Adds the chained plugin to a CNI configuration and removes it, as text: no other byte changes.
//!
//! The text is parsed to find where entries start and end, and then cut or extended there. Parsing and
//! writing it from its parsed form would lose the order, spaces and numbers of its owner:
//!
//! ```text
//! before   {"cniVersion": "1.0.0", "plugins": [{"type": "ptp"} ]}
//! with     {"cniVersion": "1.0.0", "plugins": [{"type": "ptp"},
//!              {"type": "policy-cni"} ]}
//! without  {"cniVersion": "1.0.0", "plugins": [{"type": "ptp"} ]}
//! ```

use std::{collections::BTreeMap, ops::Range};

use policy_cni::{PLUGIN, VERSIONS};
use serde_json::value::RawValue;
use thiserror::Error;

/// Why the plugin cannot be added to a configuration or removed from it.
#[derive(Debug, Error)]
pub enum ConflistError {
    /// It is not a JSON object of a configuration.
    #[error("it is not a CNI configuration")]
    Json(#[source] serde_json::Error),
    /// It is a configuration of a single plugin.
    #[error(
        "it has no list of plugins; convert it to a list, in a file with a name that ends in .conflist"
    )]
    NoList,
    /// There is no plugin to be chained to.
    #[error("its list of plugins is empty")]
    Empty,
    /// Its version has no chaining, or is newer than the plugin.
    #[error("it has CNI version {version:?}, and the plugin supports {}", VERSIONS.join(", "), version = .0)]
    Version(String),
}

/// Keys of lists of plugins: of a configuration, and of a plugin that delegates to others (multus).
const LISTS: [&str; 2] = ["plugins", "delegates"];

/// The fields of a JSON object.
type Fields<'a> = BTreeMap<&'a str, &'a RawValue>;

/// An entry of a list, and where it is in the text.
struct PluginEntry<'a> {
    range: Range<usize>,
    fields: Fields<'a>,
}

impl PluginEntry<'_> {
    fn is_own(&self) -> bool {
        is_own(&self.fields)
    }
}

/// The text with `entry` after all other plugins, or in place of an older entry of the plugin.
///
/// # Errors
///
/// Where the text is not a list that the plugin can be chained to.
pub(super) fn with(text: &str, entry: &str) -> Result<String, ConflistError> {
    let object = object(text)?;
    let version = object.get("cniVersion").map(|version| serde_json::from_str(version.get()));
    let version: String = version.transpose().map_err(ConflistError::Json)?.unwrap_or_default();
    if !VERSIONS.contains(&version.as_str()) {
        return Err(ConflistError::Version(version));
    }
    let entries = entries(text, object.get("plugins").ok_or(ConflistError::NoList)?)?;
    let mut own = entries.iter().filter(|entry| entry.is_own());
    if let Some(PluginEntry { range, .. }) = own.next() {
        return Ok([&text[..range.start], entry, &text[range.end..]].concat());
    }
    let last = entries.last().ok_or(ConflistError::Empty)?.range.end;
    Ok([&text[..last], ",\n    ", entry, &text[last..]].concat())
}

/// The text without any entry of the plugin, also in the lists of other plugins; `None` where there is
/// none. The version does not matter.
///
/// # Errors
///
/// Where the text is not a configuration, or is one of this plugin alone.
pub(super) fn without(text: &str) -> Result<Option<String>, ConflistError> {
    let object = object(text)?;
    if is_own(&object) {
        return Err(ConflistError::NoList);
    }
    let mut cuts = Vec::new();
    find_cuts(text, &object, &mut cuts)?;
    cuts.sort_by_key(|cut| cut.start);
    let (mut without, mut done) = (String::new(), 0);
    for cut in &cuts {
        without.push_str(&text[done..cut.start]);
        done = cut.end;
    }
    without.push_str(&text[done..]);
    Ok((!cuts.is_empty()).then_some(without))
}

/// Finds the ranges to cut from the lists of an object, and from the lists of their entries: each entry
/// of the plugin together with the comma before it, or the comma after it where no entry before it
/// stays.
fn find_cuts(
    text: &str,
    object: &Fields,
    cuts: &mut Vec<Range<usize>>,
) -> Result<(), ConflistError> {
    for list in LISTS.iter().filter_map(|key| object.get(key)) {
        let entries = entries(text, list)?;
        // `kept` is the end of the last entry that stays:
        //   [a, own, b]     from the end of a to the end of own: `, own`
        //   [own, a]        from the start of own to the start of a: `own, `
        //   [a, own, own]   `, own` twice, each with the comma before it
        let mut kept: Option<usize> = None;
        for (entry, next) in entries.iter().zip(entries.iter().skip(1).map(Some).chain([None])) {
            let range = &entry.range;
            if !entry.is_own() {
                find_cuts(text, &entry.fields, cuts)?;
                kept = Some(range.end);
            } else if let Some(end) = &mut kept {
                cuts.push(*end..range.end);
                *end = range.end;
            } else {
                cuts.push(range.start..next.map_or(range.end, |next| next.range.start));
            }
        }
    }
    Ok(())
}

fn object(text: &str) -> Result<Fields<'_>, ConflistError> {
    serde_json::from_str(text).map_err(ConflistError::Json)
}

fn is_own(fields: &Fields) -> bool {
    let kind = fields.get("type").map(|kind| serde_json::from_str::<String>(kind.get()));
    matches!(kind, Some(Ok(kind)) if kind == PLUGIN)
}

fn entries<'a>(text: &str, list: &&'a RawValue) -> Result<Vec<PluginEntry<'a>>, ConflistError> {
    let plugins: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(ConflistError::Json)?;
    plugins.into_iter().map(|plugin| entry(text, plugin.get())).collect()
}

fn entry<'a>(text: &str, plugin: &'a str) -> Result<PluginEntry<'a>, ConflistError> {
    let start = plugin.as_ptr().addr() - text.as_ptr().addr();
    Ok(PluginEntry { range: start..start + plugin.len(), fields: object(plugin)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = r#"{"type": "policy-cni"}"#;

    #[test]
    fn adding_and_removing_the_plugin_gives_the_same_bytes() {
        #[rustfmt::skip]
        let lists = [
            "{\"cniVersion\": \"1.0.0\", \"plugins\": [{\"type\": \"ptp\"}]}",
            "{\n  \"plugins\" : [\n {\"type\":\"ptp\", \"x\":  [1 ,2]} ,\n\t{\"type\": \"portmap\"}\n ] ,\n \"cniVersion\":\"0.3.1\", \"name\": \"\\u0061\"\n}\n\n",
        ];
        for before in lists {
            let with = with(before, OWN).expect(before);
            assert_eq!(super::with(&with, OWN).expect("a list"), with, "twice is once");
            assert!(with.find("ptp") < with.find("policy-cni"), "{with}");
            assert_eq!(without(&with).expect(&with).as_deref(), Some(before));
            assert_eq!(without(before).expect(before), None);
        }
    }

    #[test]
    fn an_older_entry_is_replaced_in_its_place() {
        let text = |own: &str| {
            format!(
                r#"{{"cniVersion": "1.1.0", "plugins": [{{"type": "a"}}, {own}, {{"type": "b"}}]}}"#
            )
        };
        let old = text(r#"{"fail": "open", "type": "policy-cni"}"#);
        assert_eq!(with(&old, OWN).expect("a list"), text(OWN));
        let gone = r#"{"cniVersion": "1.1.0", "plugins": [{"type": "a"}, {"type": "b"}]}"#;
        assert_eq!(without(&old).expect("a list").as_deref(), Some(gone));
        let first =
            format!(r#"{{"cniVersion": "1.1.0", "plugins": [{OWN}, {OWN}, {{"type": "b"}}]}}"#);
        let gone = r#"{"cniVersion": "1.1.0", "plugins": [{"type": "b"}]}"#;
        assert_eq!(without(&first).expect("a list").as_deref(), Some(gone));
    }

    #[test]
    fn the_plugin_is_removed_from_the_delegates_of_another_plugin() {
        let multus = |own: &str| {
            format!(
                r#"{{"cniVersion": "0.3.1", "name": "multus-cni-network", "type": "multus",
  "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig",
  "delegates": [ {{"cniVersion": "1.0.0", "plugins": [{{"type": "ptp"}} {own} ] }} , {{"type": "a"}} ]}}"#
            )
        };
        let with = multus(&format!(", {OWN}"));
        let gone = multus("").replace("}  ]", "} ]");
        assert_eq!(without(&with).expect("a list").as_deref(), Some(&*gone));
        assert_eq!(without(&gone).expect("a list"), None);
        let list = format!(r#"{{"plugins": [{OWN}, {with}, {OWN}, {{"type": "b"}}, {OWN}]}}"#);
        let gone = format!(r#"{{"plugins": [{gone}, {{"type": "b"}}]}}"#);
        assert_eq!(without(&list).expect("a list"), Some(gone));
    }

    #[test]
    fn a_text_that_only_mentions_the_plugin_has_no_entry_of_it() {
        #[rustfmt::skip]
        let cases = [
            r#"{"cniVersion": "0.3.1", "type": "ptp", "note": "before policy-cni"}"#,
            r#"{"plugins": [{"type": "ptp", "args": {"type": "policy-cni"}}, {"type": ["policy-cni"]}]}"#,
            r#"{"type": "multus", "delegates": [{"type": "ptp", "name": "policy-cni"}]}"#,
        ];
        for text in cases {
            assert_eq!(without(text).expect(text), None, "{text}");
        }
        let alone = r#"{"cniVersion": "1.0.0", "type": "policy\u002dcni"}"#;
        assert!(matches!(without(alone), Err(ConflistError::NoList)), "it needs the program");
    }

    #[test]
    fn the_plugin_is_removed_from_a_configuration_of_a_later_version() {
        let text = format!(r#"{{"cniVersion": "2.0.0", "plugins": [{{"type": "a"}}, {OWN}]}}"#);
        let gone = r#"{"cniVersion": "2.0.0", "plugins": [{"type": "a"}]}"#;
        assert_eq!(without(&text).expect("a list").as_deref(), Some(gone));
    }

    #[test]
    fn a_text_that_is_not_a_list_is_refused_with_a_reason() {
        #[rustfmt::skip]
        let cases = [
            ("half",        "{\"cniVersion\": \"1.0.0\", \"plugins\": [{\"ty",                    "not a CNI configuration"),
            ("one plugin",  "{\"cniVersion\": \"1.0.0\", \"type\": \"ptp\"}",                     "no list"),
            ("empty",       "{\"cniVersion\": \"1.0.0\", \"plugins\": []}",                       "empty"),
            ("old",         "{\"cniVersion\": \"0.2.0\", \"plugins\": [{\"type\": \"ptp\"}]}",    "0.2.0"),
            ("no version",  "{\"plugins\": [{\"type\": \"ptp\"}]}",                               "version"),
            ("an array",    "[]",                                                                 "not a CNI configuration"),
            ("wrong types", "{\"cniVersion\": \"1.0.0\", \"plugins\": {}}",                       "not a CNI configuration"),
        ];
        for (claim, text, want) in cases {
            let error = with(text, OWN).expect_err(claim).to_string();
            assert!(error.contains(want), "{claim}: {error}");
        }
    }
}
