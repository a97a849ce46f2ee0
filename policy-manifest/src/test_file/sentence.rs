//! Sentences of test files.
//!
//! ```text
//! ENDS [can] reach[es] ENDS [on PORTS]         each of them may connect
//! ENDS cannot reach ENDS [on PORTS]            none of them may
//! nobody reaches ENDS [but ENDS] [on PORTS]    nobody else may; the same as only … reaches …
//! ENDS reaches nobody [but ENDS] [on PORTS]    the same in the other direction
//! only ENDS reaches ENDS, ENDS reaches only ENDS
//! ```
//!
//! `and`, or a comma with a space behind it, separates ends and ports.

use policy_core::{desired::Ports, model::Protocol};

use super::{Claim, Expected, TestEnd, end, error::SentenceError};

/// A word, and whether a comma follows it.
struct SentenceWord<'a> {
    text: &'a str,
    ends_part: bool,
}

/// Reads a sentence.
pub(super) fn parse(text: &str) -> Result<Claim, SentenceError> {
    let words = words(text);
    let (left, denies, right) = split_at_verb(&words).ok_or(SentenceError::NoVerb)?;
    let (right, ports) = take_part(right, &["on"]);
    let (right, but) = take_part(right, &["but", "except"]);
    // `on` may stand on either side of `but`.
    let (but, ports_of_but) = match but {
        Some(but) => {
            let (but, ports) = take_part(but, &["on"]);
            (Some(but), ports)
        }
        None => (None, None),
    };
    let (ports, but) = match (ports, but) {
        (Some(ports), None) => {
            let (ports, but) = take_part(ports, &["but", "except"]);
            (Some(ports), but)
        }
        (ports, but) => (ports.or(ports_of_but), but),
    };
    let ports = ports.map(ports_of).transpose()?;
    let but = but.map(ends_of).transpose()?;
    claim(left, right, denies, but, ports)
}

/// The claim of the parts of a sentence.
fn claim(
    left: &[SentenceWord<'_>],
    right: &[SentenceWord<'_>],
    denies: bool,
    but: Option<Vec<TestEnd>>,
    ports: Option<Ports>,
) -> Result<Claim, SentenceError> {
    let (only_left, left) = without_only(left);
    let (only_right, right) = without_only(right);
    let (nobody_left, nobody_right) = (is_nobody(left), is_nobody(right));
    let contradiction = |first, second| Err(SentenceError::Contradiction { first, second });
    match (denies, only_left || only_right, nobody_left || nobody_right) {
        (true, true, _) => return contradiction("cannot", "only"),
        (true, _, true) => return contradiction("cannot", "nobody"),
        (_, true, true) => return contradiction("only", "nobody"),
        _ if only_left && only_right => return contradiction("only", "only"),
        _ if nobody_left && nobody_right => return contradiction("nobody", "nobody"),
        (_, _, false) if but.is_some() => return Err(SentenceError::ButWithoutNobody),
        _ => {}
    }
    let everybody = || vec![TestEnd::Everybody];
    let (from, to, expected) = match (nobody_left, nobody_right, but) {
        (true, _, None) => (everybody(), ends_of(right)?, Expected::Deny),
        (true, _, Some(but)) => (but, ends_of(right)?, Expected::OnlyFrom),
        (_, true, None) => (ends_of(left)?, everybody(), Expected::Deny),
        (_, true, Some(but)) => (ends_of(left)?, but, Expected::OnlyTo),
        (false, false, _) => {
            let expected = match (denies, only_left, only_right) {
                (true, ..) => Expected::Deny,
                (_, true, _) => Expected::OnlyFrom,
                (_, _, true) => Expected::OnlyTo,
                (false, false, false) => Expected::Allow,
            };
            (ends_of(left)?, ends_of(right)?, expected)
        }
    };
    Ok(Claim { from, to, ports, expected })
}

/// The ends that a text lists.
pub(super) fn ends(text: &str) -> Result<Vec<TestEnd>, SentenceError> {
    ends_of(&words(text))
}

/// Reads a port: `80`, `53/UDP`, `8000-8010/TCP` or `ICMP`; TCP where there is no protocol.
pub(super) fn port(text: &str) -> Option<Ports> {
    if text.eq_ignore_ascii_case("icmp") {
        return Some(Ports { other_protocols: true, ..Ports::default() });
    }
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "TCP"));
    let protocol =
        Protocol::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(protocol))?;
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| {
        let number = text.parse().ok().filter(|number: &u16| *number != 0)?;
        (number.to_string() == text).then_some(number)
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then(|| Ports::from_ranges([(protocol, first, last)]))
}

fn words(text: &str) -> Vec<SentenceWord<'_>> {
    let words = text.split_whitespace().map(|word| match word.strip_suffix(',') {
        Some(text) => SentenceWord { text, ends_part: true },
        None => SentenceWord { text: word, ends_part: false },
    });
    words.collect()
}

/// What is before the verb, whether the verb denies, and what is after it.
fn split_at_verb<'w, 'a>(
    words: &'w [SentenceWord<'a>],
) -> Option<(&'w [SentenceWord<'a>], bool, &'w [SentenceWord<'a>])> {
    let text = |at: usize| words.get(at).map_or("", |word| word.text);
    let verb = words.iter().position(|word| matches!(word.text, "reach" | "reaches"))?;
    let (first, denies) = match (text(verb.wrapping_sub(2)), text(verb.wrapping_sub(1))) {
        ("can", "not") => (verb - 2, true),
        (_, "cannot" | "can't") => (verb - 1, true),
        (_, "can") => (verb - 1, false),
        _ => (verb, false),
    };
    Some((&words[..first], denies, &words[verb + 1..]))
}

/// Splits at the first of some words, without the word.
fn take_part<'w, 'a>(
    words: &'w [SentenceWord<'a>],
    separators: &[&str],
) -> (&'w [SentenceWord<'a>], Option<&'w [SentenceWord<'a>]>) {
    match words.iter().position(|word| separators.contains(&word.text)) {
        Some(at) => (&words[..at], Some(&words[at + 1..])),
        None => (words, None),
    }
}

fn without_only<'w, 'a>(words: &'w [SentenceWord<'a>]) -> (bool, &'w [SentenceWord<'a>]) {
    match words {
        [SentenceWord { text: "only", .. }, rest @ ..] => (true, rest),
        _ => (false, words),
    }
}

fn is_nobody(words: &[SentenceWord<'_>]) -> bool {
    match words {
        [one] => matches!(one.text, "nobody" | "nothing"),
        [no, one] => no.text == "no" && one.text == "one",
        _ => false,
    }
}

/// The parts of a list, as the words of each.
fn parts<'a>(words: &[SentenceWord<'a>]) -> Vec<Vec<&'a str>> {
    let mut parts = vec![Vec::new()];
    let separate = |parts: &mut Vec<Vec<&'a str>>| {
        if parts.last().is_none_or(|last| !last.is_empty()) {
            parts.push(Vec::new());
        }
    };
    for word in words {
        if word.text == "and" {
            separate(&mut parts);
            continue;
        }
        if let Some(last) = parts.last_mut().filter(|_| !word.text.is_empty()) {
            last.push(word.text);
        }
        if word.ends_part {
            separate(&mut parts);
        }
    }
    if parts.len() > 1 && parts.last().is_some_and(Vec::is_empty) {
        parts.pop();
    }
    parts
}

fn ends_of(words: &[SentenceWord<'_>]) -> Result<Vec<TestEnd>, SentenceError> {
    parts(words).iter().map(|part| end::of_words(part)).collect()
}

fn ports_of(words: &[SentenceWord<'_>]) -> Result<Ports, SentenceError> {
    let listed = parts(words);
    let texts = listed.iter().map(|part| match part.as_slice() {
        // `on port 80`, `on ports 80 and 443`
        ["port" | "ports", rest @ ..] => rest.join(" "),
        words => words.join(" "),
    });
    // `80,443` without a space is a list too.
    let ports = texts.flat_map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>());
    let ports = ports.map(|text| port(&text).ok_or(SentenceError::NotAPort { found: text }));
    Ok(Ports::union(&ports.collect::<Result<Vec<_>, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::{SentenceError, parse};

    #[test]
    fn sentences_have_one_meaning() {
        #[rustfmt::skip]
        let cases = [
            ("frontend can reach backend on 80",            "frontend can reach backend on 80/TCP"),
            ("frontend reaches backend",                    "frontend can reach backend"),
            ("web can't reach db on 53/udp and 80",         "web cannot reach db on 80/TCP, 53/UDP"),
            ("web can not reach db on ports 8000-8010, ICMP", "web cannot reach db on 8000-8010/TCP, ICMP"),
            ("nobody reaches db",                           "everybody cannot reach db"),
            ("nobody reaches db but backend",               "only backend can reach db"),
            ("nobody can reach db on 5432 but backend and shop/job", "only backend and shop/job can reach db on 5432/TCP"),
            ("nobody reaches db but backend on 5432,5433",  "only backend can reach db on 5432-5433/TCP"),
            ("only backend reaches db",                     "only backend can reach db"),
            ("web reaches nothing but svc/kube-dns on 53/UDP", "web can reach only svc/kube-dns on 53/UDP"),
            ("web can reach only db, deploy/shop/cache",    "web can reach only db and deploy/shop/cache"),
            ("pods app=web,!old in shop can reach namespace b and namespaces team=a", "pods app=web,!old in shop can reach namespace b and namespaces team=a"),
            ("every pod cannot reach 169.254.169.254/32 and the internet", "every pod cannot reach 169.254.169.254/32 and the internet"),
        ];
        for (text, want) in cases {
            let claim = parse(text);
            assert_eq!(claim.as_ref().map(ToString::to_string), Ok(want.to_owned()), "{text}");
            let second = claim.and_then(|claim| parse(&claim.to_string()));
            assert_eq!(second, parse(text), "{text}: its own words mean the same");
        }
    }

    #[test]
    fn what_is_no_sentence_is_refused() {
        let not_an_end = |found: &str| SentenceError::NotAnEnd { found: found.to_owned() };
        let not_a_port = |found: &str| SentenceError::NotAPort { found: found.to_owned() };
        #[rustfmt::skip]
        let cases = [
            ("web -> db",                       SentenceError::NoVerb),
            ("can reach db",                    SentenceError::NoEnds),
            ("web can reach",                   SentenceError::NoEnds),
            ("web can reach db on",             not_a_port("")),
            ("web can reach db on http",        not_a_port("http")),
            ("web can reach db on 0",           not_a_port("0")),
            ("web can reach db on 90-80",       not_a_port("90-80")),
            ("the web can reach db",            not_an_end("the web")),
            ("pods a=b=c can reach db",         SentenceError::NotLabels { found: "a=b=c".to_owned() }),
            ("web can reach db but cache",      SentenceError::ButWithoutNobody),
            ("nobody cannot reach db",          SentenceError::Contradiction { first: "cannot", second: "nobody" }),
            ("only web reaches nobody",         SentenceError::Contradiction { first: "only", second: "nobody" }),
        ];
        for (text, want) in cases {
            assert_eq!(parse(text), Err(want), "{text}");
        }
    }
}
