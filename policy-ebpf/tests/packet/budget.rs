//! Drop records: who sends has a share of them, and every drop is counted.

use std::{thread::sleep, time::Duration};

use policy_common::limits::RECORD_BURST;

use crate::{
    craft::{OUT, udp},
    rig::Rig,
};

/// Long enough that none is gained while a burst is sent.
const INTERVAL: Duration = Duration::from_secs(2);

#[test]
fn a_noisy_interface_has_so_many_records_and_all_of_its_drops_are_counted() {
    let mut rig = Rig::with_record_interval(INTERVAL.as_nanos().try_into().unwrap());
    let frame = udp(OUT);
    let (mut counted, mut reported) = (0, 0);
    for _ in 0..3 * RECORD_BURST {
        let (count, record) = rig.dropped_as_sent(&frame);
        counted += count;
        reported += u32::from(record.is_some());
        assert_eq!(
            record.map_or(0, |record| record.withheld),
            0,
            "none is missing before the last"
        );
    }
    assert_eq!((counted, reported), (u64::from(3 * RECORD_BURST), RECORD_BURST));
    sleep(INTERVAL);
    let (_, record) = rig.dropped_as_sent(&frame);
    assert_eq!(record.expect("one more by now").withheld, 2 * RECORD_BURST);
    assert_eq!(rig.dropped_as_sent(&frame), (1, None), "and one only");
}

#[test]
fn without_an_interval_every_drop_has_its_record() {
    let mut rig = Rig::with_record_interval(0);
    for _ in 0..3 * RECORD_BURST {
        let (_, record) = rig.dropped_as_sent(&udp(OUT));
        assert_eq!(record.expect("a record").withheld, 0);
    }
}

#[test]
fn what_is_sent_to_a_pod_hides_nothing_that_the_pod_sends() {
    let mut rig = Rig::with_record_interval(INTERVAL.as_nanos().try_into().unwrap());
    for _ in 0..2 * RECORD_BURST {
        assert_eq!(rig.dropped_as_received(&udp(OUT.back())).0, 1);
    }
    assert!(rig.dropped_as_sent(&udp(OUT)).1.is_some());
}
