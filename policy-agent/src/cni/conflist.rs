//! A list of plugins as text: the chained plugin put into it and taken out of it, and not a byte of
//! what others wrote changed.

use std::{collections::BTreeMap, ops::Range};

use policy_cni::{PLUGIN, VERSIONS};
use serde_json::value::RawValue;
use thiserror::Error;

/// Why the plugin cannot be put into a configuration.
#[derive(Debug, Error)]
pub enum ConflistError {
    /// It is no JSON object with what is needed.
    #[error("it is no CNI configuration")]
    Json(#[source] serde_json::Error),
    /// It is of one plugin, and has no list.
    #[error("it has no list of plugins; make it one, with the file name ending in .conflist")]
    NoList,
    /// There is nothing to be chained to.
    #[error("its list of plugins is empty")]
    Empty,
    /// Its version has no chaining, or is of the future.
    #[error("it is of CNI version {0:?}, and the plugin knows {VERSIONS:?}")]
    Version(String),
}

/// An entry of the list.
struct Entry {
    range: Range<usize>,
    is_own: bool,
}

/// The text with `entry` behind all other plugins, or in place of an older one of its kind.
///
/// # Errors
///
/// Where the text is no list that the plugin can be chained to.
pub(super) fn with(text: &str, entry: &str) -> Result<String, ConflistError> {
    let object = object(text)?;
    let version = object.get("cniVersion").map(|version| serde_json::from_str(version.get()));
    let version: String = version.transpose().map_err(ConflistError::Json)?.unwrap_or_default();
    if !VERSIONS.contains(&version.as_str()) {
        return Err(ConflistError::Version(version));
    }
    let entries = entries(text, &object)?;
    let mut own = entries.iter().filter(|entry| entry.is_own);
    if let Some(Entry { range, .. }) = own.next() {
        return Ok([&text[..range.start], entry, &text[range.end..]].concat());
    }
    let last = entries.last().ok_or(ConflistError::Empty)?.range.end;
    Ok([&text[..last], ",\n    ", entry, &text[last..]].concat())
}

/// The text without any entry of the plugin; `None` where it has none. Any version will do.
///
/// # Errors
///
/// Where the text is no list of plugins.
pub(super) fn without(text: &str) -> Result<Option<String>, ConflistError> {
    let entries = entries(text, &object(text)?)?;
    if !entries.iter().any(|entry| entry.is_own) {
        return Ok(None);
    }
    let begin = entries.first().map_or(0, |first| first.range.start);
    let end = entries.last().map_or(0, |last| last.range.end);
    let mut without = text[..begin].to_owned();
    let mut is_first = true;
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| !entry.is_own) {
        // Each with what stood between it and the one before it.
        let before = index.checked_sub(1).and_then(|before| entries.get(before));
        let start = before.filter(|_| !is_first).map_or(entry.range.start, |it| it.range.end);
        without.push_str(&text[start..entry.range.end]);
        is_first = false;
    }
    without.push_str(&text[end..]);
    Ok(Some(without))
}

fn object(text: &str) -> Result<BTreeMap<&str, &RawValue>, ConflistError> {
    serde_json::from_str(text).map_err(ConflistError::Json)
}

fn entries(text: &str, object: &BTreeMap<&str, &RawValue>) -> Result<Vec<Entry>, ConflistError> {
    let list = object.get("plugins").ok_or(ConflistError::NoList)?.get();
    let plugins: Vec<&RawValue> = serde_json::from_str(list).map_err(ConflistError::Json)?;
    plugins.into_iter().map(|plugin| entry(text, plugin.get())).collect()
}

fn entry(text: &str, plugin: &str) -> Result<Entry, ConflistError> {
    let start = plugin.as_ptr().addr() - text.as_ptr().addr();
    let fields: BTreeMap<&str, &RawValue> =
        serde_json::from_str(plugin).map_err(ConflistError::Json)?;
    let kind = fields.get("type").map(|kind| serde_json::from_str::<String>(kind.get()));
    let is_own = matches!(kind, Some(Ok(kind)) if kind == PLUGIN);
    Ok(Entry { range: start..start + plugin.len(), is_own })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = r#"{"type": "policy-cni"}"#;

    #[test]
    fn what_is_put_in_and_taken_out_leaves_not_a_byte() {
        #[rustfmt::skip]
        let lists = [
            "{\"cniVersion\": \"1.0.0\", \"plugins\": [{\"type\": \"ptp\"}]}",
            "{\n  \"plugins\" : [\n {\"type\":\"ptp\", \"x\":  [1 ,2]} ,\n\t{\"type\": \"portmap\"}\n ] ,\n \"cniVersion\":\"0.3.1\", \"name\": \"\\u0061\"\n}\n\n",
        ];
        for before in lists {
            let with = with(before, OWN).expect(before);
            assert_eq!(super::with(&with, OWN).expect("again"), with, "twice is once");
            assert!(with.find("ptp") < with.find("policy-cni"), "{with}");
            assert_eq!(without(&with).expect(&with).as_deref(), Some(before));
            assert_eq!(without(before).expect(before), None);
        }
    }

    #[test]
    fn an_older_entry_is_replaced_where_it_stands() {
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
    fn what_became_of_a_later_version_is_taken_out_of_it() {
        let text = format!(r#"{{"cniVersion": "2.0.0", "plugins": [{{"type": "a"}}, {OWN}]}}"#);
        let gone = r#"{"cniVersion": "2.0.0", "plugins": [{"type": "a"}]}"#;
        assert_eq!(without(&text).expect("a list").as_deref(), Some(gone));
    }

    #[test]
    fn what_is_no_list_is_refused_with_what_it_lacks() {
        #[rustfmt::skip]
        let cases = [
            ("half",        "{\"cniVersion\": \"1.0.0\", \"plugins\": [{\"ty",                    "no CNI configuration"),
            ("one plugin",  "{\"cniVersion\": \"1.0.0\", \"type\": \"ptp\"}",                     "no list"),
            ("empty",       "{\"cniVersion\": \"1.0.0\", \"plugins\": []}",                       "empty"),
            ("old",         "{\"cniVersion\": \"0.2.0\", \"plugins\": [{\"type\": \"ptp\"}]}",    "0.2.0"),
            ("no version",  "{\"plugins\": [{\"type\": \"ptp\"}]}",                               "version"),
            ("an array",    "[]",                                                                 "no CNI configuration"),
            ("wrong types", "{\"cniVersion\": \"1.0.0\", \"plugins\": {}}",                       "no CNI configuration"),
        ];
        for (claim, text, want) in cases {
            let error = with(text, OWN).expect_err(claim).to_string();
            assert!(error.contains(want), "{claim}: {error}");
        }
    }
}
