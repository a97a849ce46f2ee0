//! The truth table as JSON, as text, and against expectations.

use policy_core::{
    explain::{DecidingPolicy, DirectionVerdict, Explanation},
    model::{Family, ObjectName, Protocol},
};
use policy_manifest::{Source, read, read_expectations};
use policy_probe::{
    Outcome, Probe, Row, Selection, Style, Table, Verdict, check, choose, json, text,
};

fn half(allowed: bool, by: Vec<DecidingPolicy>) -> DirectionVerdict {
    DirectionVerdict { allowed, by: by.into() }
}

fn by(policy: &str, rule: Option<usize>) -> DecidingPolicy {
    let (namespace, name) = policy.split_once('/').expect("a namespace");
    DecidingPolicy { policy: ObjectName::new(namespace, name).into(), rule }
}

fn probe(from: &str, to: &str, port: u16, family: Family) -> Probe {
    let address = match family {
        Family::Ipv4 => "192.0.2.1",
        Family::Ipv6 => "2001:db8::1",
    };
    let address = address.parse().expect("an address");
    Probe {
        from: from.parse().expect("an end"),
        to: to.parse().expect("an end"),
        port,
        protocol: Protocol::Tcp,
        family,
        source: address,
        destination: address,
    }
}

fn row(probe: &Probe, allowed: bool, outcome: Option<Outcome>) -> Row {
    let explanation = Explanation { ingress: half(allowed, vec![]), egress: half(true, vec![]) };
    Row::new(probe, &explanation, outcome)
}

fn four(from: &str, to: &str, port: u16, allowed: bool) -> Row {
    row(&probe(from, to, port, Family::Ipv4), allowed, None)
}

#[test]
fn the_schema_is_that_of_the_contract() {
    let explanation = Explanation {
        ingress: half(false, vec![by("b/deny", None)]),
        egress: half(true, vec![by("a/web", Some(2))]),
    };
    let rows =
        vec![Row::new(&probe("a/p", "b/q", 80, Family::Ipv4), &explanation, Some(Outcome::Lost))];
    let table = Table { probes: rows };
    let compact = serde_json::to_string(&table).expect("JSON");
    assert_eq!(
        compact,
        r#"{"probes":[{"from":"a/p","to":"b/q","family":"IPv4","protocol":"TCP","port":80,"ingress":"deny","egress":"allow","verdict":"lost","by":{"ingress":[{"kind":"NetworkPolicy","namespace":"b","name":"deny","rule":null}],"egress":[{"kind":"NetworkPolicy","namespace":"a","name":"web","rule":2}]}}]}"#
    );
    assert_eq!(serde_json::from_str::<Table>(&compact).expect("its own JSON"), table);
    assert_eq!(
        serde_json::from_str::<Table>(&json(&table).expect("JSON")).expect("the same"),
        table
    );
}

#[test]
fn s3_a_probe_is_allowed_only_if_both_directions_allow_it() {
    #[rustfmt::skip]
    let cases = [
        // ingress, egress, both
        (true,  true,  Outcome::Allow),
        (true,  false, Outcome::Deny),
        (false, true,  Outcome::Deny),
        (false, false, Outcome::Deny),
    ];
    for (ingress, egress, want) in cases {
        let explanation =
            Explanation { ingress: half(ingress, vec![]), egress: half(egress, vec![]) };
        let row = Row::new(&probe("a/p", "b/q", 80, Family::Ipv4), &explanation, None);
        assert_eq!(row.verdict, want);
        assert!(row.agrees());
        assert_eq!(row.ingress == Verdict::Allow, ingress);
        assert_eq!(row.egress == Verdict::Allow, egress);
    }
}

#[test]
fn a_lost_probe_agrees_with_nothing() {
    let probe = probe("a/p", "b/q", 80, Family::Ipv4);
    assert!(!row(&probe, false, Some(Outcome::Lost)).agrees());
    assert!(!row(&probe, true, Some(Outcome::Lost)).agrees());
    assert!(!row(&probe, true, Some(Outcome::Deny)).agrees());
}

fn mismatches(rows: &[Row], expect: &str) -> Vec<String> {
    let source = Source { name: "e".into(), text: expect.into() };
    let expectations = read_expectations(&source).expect("expectations");
    check(rows, &expectations).iter().map(ToString::to_string).collect()
}

#[test]
fn expectations_are_checked() {
    let six = row(&probe("a/p", "b/q", 80, Family::Ipv6), false, None);
    let lost = row(&probe("a/p", "b/r", 80, Family::Ipv4), false, Some(Outcome::Lost));
    let rows = [
        four("a/p", "b/q", 80, true),
        six,
        four("b/q", "a/p", 81, true),
        four("a/p", "host/h", 1, true),
        lost,
    ];
    #[rustfmt::skip]
    let cases: [(&str, &str, &[&str]); 8] = [
        ("met in one family",           "expect: [{from: a/p, to: b/q, port: 80/TCP, family: IPv4, verdict: allow}]", &[]),
        ("not met in the other",        "expect: [{from: a/p, to: b/q, port: 80/TCP, verdict: allow}]",
            &["a/p -> b/q 80/TCP IPv6: deny, expected allow (e:1:10)"]),
        ("another protocol is no row",  "expect: [{from: a/p, to: b/q, port: 80/UDP, verdict: allow}]",
            &["a/p -> b/q 80/UDP: not probed, expected allow (e:1:10)"]),
        ("another port is no row",      "expect: [{from: a/p, to: b/q, port: 8/TCP, family: IPv6, verdict: deny}]",
            &["a/p -> b/q 8/TCP IPv6: not probed, expected deny (e:1:10)"]),
        ("direction matters",           "expect: [{from: b/q, to: a/p, port: 80/TCP, verdict: allow}]",
            &["b/q -> a/p 80/TCP: not probed, expected allow (e:1:10)"]),
        ("lost is not denied",          "expect: [{from: a/p, to: b/r, port: 80/TCP, verdict: deny}]",
            &["a/p -> b/r 80/TCP IPv4: lost, expected deny (e:1:10)"]),
        ("default speaks of pods",      "default: deny",
            &["a/p -> b/q 80/TCP IPv4: allow, expected deny (default)",
              "b/q -> a/p 81/TCP IPv4: allow, expected deny (default)",
              "a/p -> b/r 80/TCP IPv4: lost, expected deny (default)"]),
        ("but not of listed ones",      "default: deny\nexpect:\n- {from: a/p, to: b/q, port: 80/TCP, family: IPv4, verdict: allow}",
            &["b/q -> a/p 81/TCP IPv4: allow, expected deny (default)",
              "a/p -> b/r 80/TCP IPv4: lost, expected deny (default)"]),
    ];
    for (claim, expect, want) in cases {
        assert_eq!(mismatches(&rows, expect), want, "{claim}");
    }
}

/// The table that the three-tier example must give.
fn three_tier() -> (Table, String) {
    let source = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
    let manifests =
        read(&[source("three-tier.yaml", include_str!("../../examples/three-tier.yaml"))]);
    let expect = include_str!("../../examples/three-tier.expect.yaml");
    let expectations = read_expectations(&source("e", expect)).expect("expectations");
    let probes = choose(&manifests.expect("manifests"), &Selection::default(), Some(&expectations));
    let allowed = |probe: &Probe| {
        let listed = expectations.listed.iter().find(|listed| {
            (&listed.from, &listed.to, listed.port) == (&probe.from, &probe.to, probe.port)
        });
        listed.is_some_and(|listed| listed.verdict == Verdict::Allow)
    };
    let rows =
        probes.expect("probes").iter().map(|probe| row(probe, allowed(probe), None)).collect();
    (Table { probes: rows }, expect.to_owned())
}

#[test]
fn the_three_tier_example_as_a_matrix() {
    let (table, expect) = three_tier();
    assert_eq!(mismatches(&table.probes, &expect), [""; 0]);
    let want = "
FROM \\ TO       backend/  backend/  database/  database/  frontend/  other/    host/
                api       api       mysql      mysql      web        stranger  metadata
                80/TCP    8080/TCP  22/TCP     3306/TCP   80/TCP     80/TCP    80/TCP
backend/api     ·         ·         ✗          ✓          ✗          ✗         ·
database/mysql  ✗         ✗         ·          ·          ✗          ✗         ·
frontend/web    ✓         ✗         ✗          ✗          ·          ✗         ✗
other/stranger  ✗         ✗         ✗          ✗          ✗          ·         ✓

✓ allowed   ✗ denied   · not probed

38 probes, 5 allowed, 33 denied
";
    assert_eq!(text(&table, &[], Style::default()), want.trim_start());
}

#[test]
fn a_narrow_terminal_gets_matrices_by_port_that_fit() {
    let (table, _) = three_tier();
    let drawn = text(&table, &[], Style { colour: false, width: Some(56), ..Style::default() });
    assert!(drawn.lines().all(|line| line.chars().count() <= 56), "{drawn}");
    let ports = |drawn: &str| -> Vec<String> {
        let lines = drawn.lines().filter(|line| line.contains("/TCP"));
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(ports(&drawn), ["22/TCP", "80/TCP 80/TCP 80/TCP 80/TCP", "3306/TCP 8080/TCP"]);
    let tight = text(&table, &[], Style { colour: false, width: Some(40), ..Style::default() });
    let want = ["22/TCP", "80/TCP 80/TCP", "80/TCP 80/TCP", "3306/TCP 8080/TCP"];
    assert_eq!(ports(&tight), want, "{tight}");
    let narrower = text(&table, &[], Style { colour: false, width: Some(1), ..Style::default() });
    assert_eq!(narrower.matches("FROM \\ TO").count(), 7, "{narrower}");
}

#[test]
fn families_that_differ_and_what_disagrees_are_marked() {
    let mut table = three_tier().0;
    let rows = &mut table.probes;
    let at = |rows: &[Row], from: &str, to: &str, family| {
        let found = rows.iter().position(|row| {
            row.from.to_string() == from && row.to.to_string() == to && row.family == family
        });
        found.expect("a row")
    };
    let differing = at(rows, "frontend/web", "backend/api", Family::Ipv6);
    rows[differing].ingress = Verdict::Deny;
    rows[differing].verdict = Outcome::Deny;
    let lost = at(rows, "frontend/web", "host/metadata", Family::Ipv4);
    rows[lost].verdict = Outcome::Lost;
    rows[lost].by.egress = policy_probe::Deciders::default();
    let drawn = text(&table, &[], Style { of_wire: true, ..Style::default() });
    let want = "
frontend/web    ✓4 ✗6     ✗         ✗          ✗          ·          ✗         ?!
";
    assert!(drawn.contains(want), "{drawn}");
    let want = "
✓ allowed   ✗ denied   ? lost   4 IPv4   6 IPv6   ! wire and compiler disagree   · not probed

Wire and compiler disagree:
FROM          TO             PORT    FAMILY  WIRE  COMPILER  BY
frontend/web  host/metadata  80/TCP  IPv4    lost  deny      no policy

38 probes, 4 allowed, 33 denied, 1 lost, 1 disagree
";
    assert!(drawn.ends_with(want), "{drawn}");
}

#[test]
fn a_few_probes_are_a_list_with_those_that_decided() {
    let denied = Explanation {
        ingress: half(false, vec![by("b/deny", None), by("b/other", None)]),
        egress: half(true, vec![by("a/web", Some(2))]),
    };
    let allowed = Explanation {
        ingress: half(true, vec![by("b/in", Some(0))]),
        egress: half(true, vec![by("a/web", Some(1)), by("a/web", Some(2))]),
    };
    let open = Explanation { ingress: half(true, vec![]), egress: half(true, vec![]) };
    let rows = vec![
        Row::new(&probe("a/p", "b/q", 80, Family::Ipv4), &denied, None),
        Row::new(&probe("a/p", "b/q", 8080, Family::Ipv6), &allowed, None),
        Row::new(&probe("a/p", "host/h", 443, Family::Ipv4), &open, None),
    ];
    let want = "
FROM  TO      PORT      FAMILY  VERDICT  BY
a/p   b/q     80/TCP    IPv4    deny     ingress: no rule of b/deny, no rule of b/other
a/p   b/q     8080/TCP  IPv6    allow    egress: a/web rule 1, a/web rule 2; ingress: b/in rule 0
a/p   host/h  443/TCP   IPv4    allow    no policy

3 probes, 2 allowed, 1 denied
";
    assert_eq!(text(&Table { probes: rows }, &[], Style::default()), want.trim_start());
}

#[test]
fn mismatches_stand_below_the_table() {
    let rows = vec![four("a/p", "b/q", 80, true)];
    let source = Source { name: "e".into(), text: "default: deny".into() };
    let mismatches = check(&rows, &read_expectations(&source).expect("expectations"));
    let drawn = text(&Table { probes: rows }, &mismatches, Style::default());
    let want = "
Not as expected:
  a/p -> b/q 80/TCP IPv4: allow, expected deny (default)

1 probe, 1 allowed, 0 denied
";
    assert!(drawn.ends_with(want), "{drawn}");
}

#[test]
fn colours_only_where_asked_for() {
    let table = Table { probes: vec![four("a/p", "b/q", 80, true)] };
    assert!(!text(&table, &[], Style::default()).contains('\u{1b}'));
    assert!(text(&table, &[], Style { colour: true, ..Style::default() }).contains('\u{1b}'));
}
