//! Ends of connections in sentences.
//!
//! ```text
//! web, shop/web, deploy/shop/web, svc/db, host/gate, 10.0.0.7   a name
//! pods app=web,tier!=back in shop                               pods by labels
//! namespace shop, namespaces team=a, every pod                  all pods there
//! 10.0.0.0/8, the internet, everybody                           addresses
//! ```

use std::fmt;

use policy_core::model::{Operator, Requirement, Selector};

use super::{TestEnd, TestNamespaces, error::SentenceError};
use crate::syntax;

/// Words for every pod and every address.
const EVERYBODY: [&str; 6] =
    ["everybody", "everyone", "everything", "anybody", "anyone", "anything"];

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
