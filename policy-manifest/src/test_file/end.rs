//! Ends of connections in test files: the words of sentences, and mappings.
//!
//! ```text
//! web, shop/web, deploy/shop/web, svc/db, host/gate, 10.0.0.7   a name
//! pods app=web,tier!=back in shop                               pods by labels
//! namespace shop, namespaces team=a, every pod                  all pods there
//! 10.0.0.0/8, the internet, everybody                           addresses
//! {podSelector: {…}, namespace: shop}                           pods, written out
//! ```

use std::fmt;

use policy_core::model::{Operator, Requirement, Selector};

use super::{SentenceError, TestEnd, TestNamespaces, sentence};
use crate::{decode::Field, object::selector, problem::Problem, syntax};

/// Words for every pod and every address.
const EVERYBODY: [&str; 6] =
    ["everybody", "everyone", "everything", "anybody", "anyone", "anything"];

/// Decodes an end: a string, which may list several, or a mapping.
pub(super) fn decode(field: &Field<'_>) -> Option<Vec<TestEnd>> {
    if field.is_map() {
        return written_out(field).map(|end| vec![end]);
    }
    let text = field.string()?;
    match sentence::ends(&text) {
        Ok(ends) => Some(ends),
        Err(error) => {
            field.reject(Problem::Sentence(error));
            None
        }
    }
}

/// `podSelector`, `namespace`, `namespaceSelector` or `block`.
fn written_out(field: &Field<'_>) -> Option<TestEnd> {
    let map = field.map()?;
    map.check_only(&["podSelector", "namespace", "namespaceSelector", "block"]);
    if let Some(block) = map.get("block") {
        map.check_only(&["block"]);
        return block.block().map(TestEnd::Block);
    }
    let pods = map.get("podSelector").map(|field| selector::decode(&field));
    let named = map
        .get("namespace")
        .map(|field| field.checked(syntax::is_label, |found| Problem::ObjectName { found }));
    let matching = map.get("namespaceSelector").map(|field| selector::decode(&field));
    let namespaces = match (named, matching) {
        (None, None) if pods.is_none() => {
            field.reject(Problem::Sentence(SentenceError::EmptyEnd));
            return None;
        }
        (Some(_), Some(_)) => {
            field.reject(Problem::OnlyOne { names: "namespace, namespaceSelector".to_owned() });
            return None;
        }
        (None, None) => TestNamespaces::Default,
        (Some(name), None) => TestNamespaces::Named(name?),
        (None, Some(selector)) => TestNamespaces::Matching(selector),
    };
    Some(TestEnd::Pods { pods: pods.unwrap_or_default(), namespaces })
}

/// The end that some words name.
pub(super) fn of_words(words: &[&str]) -> Result<TestEnd, SentenceError> {
    let all = |namespaces| TestEnd::Pods { pods: Selector::default(), namespaces };
    match words {
        [] => Err(SentenceError::NoEnds),
        ["the", "internet"] | ["internet"] => Ok(TestEnd::Internet),
        ["every", "pod"] | ["all", "pods"] => Ok(all(TestNamespaces::Every)),
        ["namespace", name] => Ok(all(TestNamespaces::Named(namespace(name)?))),
        ["namespaces", labels] => Ok(all(TestNamespaces::Matching(labels_of(labels)?))),
        ["pods", labels] => {
            let (pods, namespaces) = (labels_of(labels)?, TestNamespaces::Default);
            Ok(TestEnd::Pods { pods, namespaces })
        }
        ["pods", labels, "in", rest @ ..] => {
            let namespaces = match rest {
                ["every", "namespace"] | ["all", "namespaces"] => TestNamespaces::Every,
                ["namespaces", labels] => TestNamespaces::Matching(labels_of(labels)?),
                ["namespace", name] | [name] => TestNamespaces::Named(namespace(name)?),
                _ => return Err(SentenceError::NotAnEnd { found: words.join(" ") }),
            };
            Ok(TestEnd::Pods { pods: labels_of(labels)?, namespaces })
        }
        [word] if EVERYBODY.contains(word) => Ok(TestEnd::Everybody),
        [word] if syntax::block(word).is_some() => {
            syntax::block(word).map(TestEnd::Block).ok_or(SentenceError::NoEnds)
        }
        [name] if is_name(name) => Ok(TestEnd::Named((*name).to_owned())),
        _ => Err(SentenceError::NotAnEnd { found: words.join(" ") }),
    }
}

fn namespace(name: &str) -> Result<String, SentenceError> {
    let found = || SentenceError::NotAnEnd { found: format!("namespace {name}") };
    syntax::is_label(name).then(|| name.to_owned()).ok_or_else(found)
}

/// An address, or one to three names with `/` between them.
fn is_name(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    syntax::address(text).is_some()
        || (parts.len() <= 3 && parts.iter().all(|part| syntax::is_subdomain(part)))
}

/// `key=value`, `key!=value`, `key` or `!key`, with commas between them.
fn labels_of(text: &str) -> Result<Selector, SentenceError> {
    let requirement = |part: &str| {
        let (key, operator) = if let Some((key, value)) = part.split_once("!=") {
            (key, Operator::NotIn([value.to_owned()].into()))
        } else if let Some((key, value)) = part.split_once('=') {
            (key, Operator::In([value.to_owned()].into()))
        } else if let Some(key) = part.strip_prefix('!') {
            (key, Operator::DoesNotExist)
        } else {
            (part, Operator::Exists)
        };
        let value = match &operator {
            Operator::In(values) | Operator::NotIn(values) => values.first(),
            Operator::Exists | Operator::DoesNotExist => None,
        };
        let is_legal =
            syntax::is_label_key(key) && value.is_none_or(|value| syntax::is_label_value(value));
        is_legal.then(|| Requirement { key: key.to_owned(), operator })
    };
    let parts = text.split(',').map(requirement).collect::<Option<_>>();
    let requirements = parts.ok_or_else(|| SentenceError::NotLabels { found: text.to_owned() })?;
    Ok(Selector { requirements })
}

/// As a sentence has it.
impl fmt::Display for TestEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Block(block) => block.fmt(f),
            Self::Internet => f.write_str("the internet"),
            Self::Everybody => f.write_str("everybody"),
            Self::Pods { pods, namespaces } => {
                let all = pods.requirements.is_empty();
                match (all, namespaces) {
                    (true, TestNamespaces::Named(name)) => write!(f, "namespace {name}"),
                    (true, TestNamespaces::Matching(labels)) => write!(f, "namespaces {labels}"),
                    (true, TestNamespaces::Default | TestNamespaces::Every) => {
                        f.write_str("every pod")
                    }
                    (false, TestNamespaces::Default) => write!(f, "pods {pods}"),
                    (false, TestNamespaces::Every) => write!(f, "pods {pods} in every namespace"),
                    (false, TestNamespaces::Named(name)) => write!(f, "pods {pods} in {name}"),
                    (false, TestNamespaces::Matching(labels)) => {
                        write!(f, "pods {pods} in namespaces {labels}")
                    }
                }
            }
        }
    }
}
