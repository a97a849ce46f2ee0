//! The budget of drop records per sender, so that one noisy pod hides no other pod's drops.
//!
//! A token bucket: a burst of `RECORD_BURST` records, then one per `RECORD_INTERVAL`. Example with
//! a burst of 100 and an interval of 10 ms: 1,000 drops at once give 100 records; the first drop
//! 10 ms later gives one more, and that record says that 900 had none.
//! Drops without a record are still counted in `drops`.

use aya_ebpf::bindings::BPF_NOEXIST;
use policy_common::{
    drops::{RecordBudget, RecordCharge},
    limits::RECORD_BURST,
};

use crate::maps::RECORD_BUDGETS;

/// Takes one token at time `now`, in nanoseconds; there is one more each `interval`, or always where
/// that is 0. If there is one, returns the number of drops without a record since the last record.
///
/// CPUs do not wait for one another: two tokens taken at the same moment may count as one.
#[inline(always)]
pub(crate) fn take(charge: &RecordCharge, now: u64, interval: u64) -> Option<u32> {
    let Some(budget) = find(charge) else {
        let full = RecordBudget { since: now, left: RECORD_BURST - 1, withheld: 0 };
        let _ = RECORD_BUDGETS.insert(charge, full, u64::from(BPF_NOEXIST));
        return Some(0);
    };
    if interval == 0 {
        return Some(core::mem::take(&mut budget.withheld));
    }
    let gained = now.saturating_sub(budget.since) / interval;
    let mut left = budget.left;
    if gained >= u64::from(RECORD_BURST) {
        (left, budget.since) = (RECORD_BURST, now);
    } else if gained > 0 {
        left = (left + gained as u32).min(RECORD_BURST);
        budget.since += gained * interval;
    }
    if left == 0 {
        budget.withheld = budget.withheld.saturating_add(1);
        return None;
    }
    budget.left = left - 1;
    Some(core::mem::take(&mut budget.withheld))
}

/// Counts a record that did not fit into the ring buffer, and the drops that it stood for, as
/// withheld.
#[inline(always)]
pub(crate) fn give_back(charge: &RecordCharge, withheld: u32) {
    if let Some(budget) = find(charge) {
        budget.withheld = budget.withheld.saturating_add(withheld).saturating_add(1);
    }
}

#[inline(always)]
fn find(charge: &RecordCharge) -> Option<&'static mut RecordBudget> {
    let pointer = RECORD_BUDGETS.get_ptr_mut(charge)?;
    // SAFETY: the kernel keeps the element readable and writable while the program runs. Other
    // CPUs write it too: each field is one aligned word, and any value of it is a valid one.
    Some(unsafe { &mut *pointer })
}
