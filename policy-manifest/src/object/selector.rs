//! Label selectors (`meta/v1` `LabelSelector`).

use policy_core::model::{Operator, Requirement, Selector, Sorted};

use super::metadata;
use crate::{
    decode::{Field, Map},
    problem::Problem,
    syntax,
};

/// Decodes a selector, without the parts that are not legal; the log has their errors.
pub(crate) fn decode(field: &Field<'_>) -> Selector {
    let Some(selector) = field.map() else {
        return Selector::default();
    };
    selector.check_only(&["matchLabels", "matchExpressions"]);
    let labels = selector.map("matchLabels");
    let labels = labels.iter().flat_map(|labels| requirements_of(metadata::label_map(labels)));
    let expressions = selector.list("matchExpressions");
    let expressions = expressions.iter().filter_map(Field::map).filter_map(|map| expression(&map));
    Selector { requirements: labels.chain(expressions).collect() }
}

/// Each pair as `key In [value]`.
fn requirements_of(
    labels: impl IntoIterator<Item = (String, String)>,
) -> impl Iterator<Item = Requirement> {
    labels
        .into_iter()
        .map(|(key, value)| Requirement { key, operator: Operator::In([value].into()) })
}

#[derive(Clone, Copy)]
enum Word {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

const WORDS: [(&str, Word); 4] = [
    ("In", Word::In),
    ("NotIn", Word::NotIn),
    ("Exists", Word::Exists),
    ("DoesNotExist", Word::DoesNotExist),
];

fn expression(map: &Map<'_>) -> Option<Requirement> {
    map.check_only(&["key", "operator", "values"]);
    let key = map
        .require("key")
        .and_then(|field| field.checked(syntax::is_label_key, |found| Problem::LabelKey { found }));
    let word = map.require("operator").and_then(|field| field.word(&WORDS));
    let values = map.get("values").map(|field| (field.list(), field));
    let strings: Sorted<String> = values
        .iter()
        .flat_map(|(items, _)| items)
        .filter_map(|item| {
            item.checked(syntax::is_label_value, |found| Problem::LabelValue { found })
        })
        .collect();
    let empty = values.as_ref().is_none_or(|(items, _)| items.is_empty());
    let operator = word?;
    match (operator, &values) {
        (Word::In, _) if empty => map.reject(Problem::OperatorNeedsValues { operator: "In" }),
        (Word::NotIn, _) if empty => map.reject(Problem::OperatorNeedsValues { operator: "NotIn" }),
        (Word::Exists, Some((_, field))) if !empty => {
            field.reject(Problem::OperatorTakesNoValues { operator: "Exists" });
        }
        (Word::DoesNotExist, Some((_, field))) if !empty => {
            field.reject(Problem::OperatorTakesNoValues { operator: "DoesNotExist" });
        }
        _ => {}
    }
    let operator = match operator {
        Word::In => Operator::In(strings),
        Word::NotIn => Operator::NotIn(strings),
        Word::Exists => Operator::Exists,
        Word::DoesNotExist => Operator::DoesNotExist,
    };
    Some(Requirement { key: key?, operator })
}
