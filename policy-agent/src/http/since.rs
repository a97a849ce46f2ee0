//! The time in a request for flows.
//!
//! Input: the query of the URL, `since=5m` or `since=2026-03-01T09:30:00Z`. Output: the time. A duration
//! is taken from the node's clock, so that a caller with another clock gets what it asks for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

/// Why a query is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum SinceError {
    #[error("there is no parameter {name}; write ?since=5m or ?since=2026-03-01T09:30:00Z")]
    Unknown { name: String },
    #[error(
        "{value} is neither a duration nor a time; write since=5m or since=2026-03-01T09:30:00Z"
    )]
    Value { value: String },
}

/// The time that a query names; `None` where it names none.
pub(super) fn of_query(query: &str, now: Timestamp) -> Result<Option<Timestamp>, SinceError> {
    let mut since = None;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name != "since" {
            return Err(SinceError::Unknown { name: name.to_owned() });
        }
        let time = value.parse().ok().or_else(|| ago(value, now));
        since = Some(time.ok_or_else(|| SinceError::Value { value: value.to_owned() })?);
    }
    Ok(since)
}

fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let duration: SignedDuration = text.parse().ok()?;
    let duration = Duration::try_from(duration).ok()?;
    Some(now.checked_sub(duration).unwrap_or(Timestamp::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_duration_or_a_timestamp() {
        let now: Timestamp = "2026-03-01T09:30:00Z".parse().unwrap_or_default();
        #[rustfmt::skip]
        let cases = [
            // query                            time
            ("",                                Some(None)),
            ("since=5m",                        Some(Some("2026-03-01T09:25:00Z"))),
            ("since=1h30m",                     Some(Some("2026-03-01T08:00:00Z"))),
            ("since=2026-03-01T09:00:00.5Z",    Some(Some("2026-03-01T09:00:00.5Z"))),
            ("since=2026-03-01",                None),
            ("since=-5m",                       None),
            ("since=",                          None),
            ("until=5m",                        None),
        ];
        for (query, want) in cases {
            let found = of_query(query, now).map(|time| time.map(|time| time.to_string()));
            assert_eq!(found.ok(), want.map(|time| time.map(str::to_owned)), "{query}");
        }
    }
}
