//! The eBPF object, built into the binary.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use aya::{Ebpf, EbpfLoader, maps::MapInfo};
use aya_obj::Object;
use policy_common::{address::in_one_form, allow::PortSet, flow::Lifetimes};

use super::{
    error::DataplaneError,
    lifetimes,
    options::{Capacities, Options, UnknownEndpoints},
};

/// What `cargo xtask build` made of `policy-ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("POLICY_BPF_OBJECT"));

/// The same programs, with lines that show each step of a decision.
static TRACING_OBJECT: &[u8] = aya::include_bytes_aligned!(env!("POLICY_BPF_TRACING_OBJECT"));

/// Time between two drop records in the tracing programs: the default of `--max-drop-records`.
const TRACING_INTERVAL: Duration = Duration::from_millis(50);

/// The ring buffer of `aya-log`, and its bytes: the lines of a busy pod for a second, because the kernel
/// leaves out those that do not fit. A power of two.
const TRACING_LINES: (&str, u32) = ("AYA_LOGS", 16 << 20);

/// Maps that hold what is of one load only.
const UNPINNED: [&str; 1] = ["scratch"];

/// Type, sizes, capacity and flags of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    kind: u32,
    key: u32,
    value: u32,
    capacity: u32,
    flags: u32,
}

/// The maps that are pinned, as this agent makes them.
pub(super) fn shapes(options: &Options) -> Result<BTreeMap<String, Shape>, DataplaneError> {
    let broken = |source| DataplaneError::Load { source: Box::new(source) };
    let object = Object::parse(&bytes(options)?).map_err(|error| broken(error.into()))?;
    let chosen = BTreeMap::from(capacities(&options.capacities));
    let maps: BTreeMap<String, aya_obj::Map> = object.maps.into_iter().collect();
    // Those of the sections of globals are of one load only, too.
    let pinned = maps.iter().filter(|(name, map)| {
        !name.starts_with('.') && map.data().is_empty() && !UNPINNED.contains(&name.as_str())
    });
    let shape = |(name, map): (&String, &aya_obj::Map)| {
        let shape = Shape {
            kind: map.map_type(),
            key: map.key_size(),
            value: map.value_size(),
            capacity: chosen.get(name.as_str()).copied().unwrap_or(map.max_entries()),
            flags: map.map_flags(),
        };
        (name.clone(), shape)
    };
    Ok(pinned.map(shape).collect())
}

/// Whether what is pinned in a folder can be used for maps of these shapes: all of it is so, and
/// allow maps are what this agent makes.
pub(super) fn fits(expected: &BTreeMap<String, Shape>, folder: &Path) -> bool {
    are_pinned(expected, folder, |_, expected| expected)
}

/// As [`fits`], of maps with any capacities.
pub(super) fn fits_at_any_size(expected: &BTreeMap<String, Shape>, folder: &Path) -> bool {
    are_pinned(expected, folder, |found, expected| Shape { capacity: found.capacity, ..expected })
}

/// Whether each map is pinned with the shape that `wanted` makes of the found and the expected one.
fn are_pinned(
    expected: &BTreeMap<String, Shape>,
    folder: &Path,
    wanted: impl Fn(Shape, Shape) -> Shape,
) -> bool {
    let read = |name: &str| MapInfo::from_pin(folder.join(name));
    for (name, expected) in expected {
        let Ok(found) = read(name) else { return false };
        let found = Shape {
            kind: found.map_type().map_or(0, |kind| kind as u32),
            key: found.key_size(),
            value: found.value_size(),
            capacity: found.max_entries(),
            flags: found.map_flags(),
        };
        if found != wanted(found, *expected) {
            return false;
        }
    }
    read("allow_0").is_ok_and(|inner| inner.value_size() as usize == size_of::<PortSet>())
}

/// As [`load`], with these maps opened where they are pinned in a folder, and pinned there where
/// they are not.
pub(super) fn load_pinned<'a>(
    options: &Options,
    folder: &Path,
    names: impl Iterator<Item = &'a String>,
) -> Result<Ebpf, DataplaneError> {
    load_with(options, names.map(|name| (name.as_str(), folder.join(name))).collect())
}

/// Loads the tracing programs with the maps that are pinned in a folder. With a peer, only packets from
/// or to it have lines.
pub(super) fn load_tracing<'a>(
    peer: Option<IpAddr>,
    folder: &Path,
    names: impl Iterator<Item = &'a String>,
) -> Result<Ebpf, DataplaneError> {
    let peer = peer.map_or([0; 16], in_one_form);
    let (high, low) = peer.split_at(8);
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
    let (high, low) = (word(high), word(low));
    let options = Options { record_interval: TRACING_INTERVAL, ..Options::default() };
    let globals = Globals::new(&options);
    let mut loader = EbpfLoader::new();
    globals.set(&mut loader);
    loader.override_global("TRACE_PEER_HIGH", &high, true);
    loader.override_global("TRACE_PEER_LOW", &low, true);
    let (lines, size) = TRACING_LINES;
    loader.map_max_entries(lines, size);
    for name in names {
        loader.map_pin_path(name.as_str(), folder.join(name));
    }
    loader.load(TRACING_OBJECT).map_err(|source| DataplaneError::Load { source: Box::new(source) })
}

/// Creates the maps; the programs are not loaded yet.
pub(super) fn load(options: &Options) -> Result<Ebpf, DataplaneError> {
    load_with(options, Vec::new())
}

fn load_with(options: &Options, pins: Vec<(&str, PathBuf)>) -> Result<Ebpf, DataplaneError> {
    let globals = Globals::new(options);
    let mut loader = EbpfLoader::new();
    globals.set(&mut loader);
    for (name, capacity) in capacities(&options.capacities) {
        loader.map_max_entries(name, capacity);
    }
    for (name, path) in pins {
        loader.map_pin_path(name, path);
    }
    loader
        .load(&bytes(options)?)
        .map_err(|source| DataplaneError::Load { source: Box::new(source) })
}

/// The globals that the loader sets.
struct Globals {
    lifetimes: Lifetimes,
    tick: u64,
    drop_unknown: u8,
    handle_ipv6: u8,
    record_interval: u64,
}

impl Globals {
    fn new(options: &Options) -> Self {
        Self {
            lifetimes: lifetimes::read(),
            tick: lifetimes::tick(),
            drop_unknown: u8::from(options.unknown_endpoints == UnknownEndpoints::Drop),
            handle_ipv6: u8::from(options.parts.ipv6),
            record_interval: u64::try_from(options.record_interval.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        loader.override_global("LIFETIMES", &self.lifetimes, true);
        loader.override_global("CLOCK_TICK", &self.tick, true);
        loader.override_global("DROP_UNKNOWN", &self.drop_unknown, true);
        loader.override_global("HANDLE_IPV6", &self.handle_ipv6, true);
        loader.override_global("RECORD_INTERVAL", &self.record_interval, true);
    }
}

fn bytes(options: &Options) -> Result<Cow<'static, [u8]>, DataplaneError> {
    let Some(path) = &options.object else { return Ok(OBJECT.into()) };
    let object = fs::read(path);
    let object =
        object.map_err(|source| DataplaneError::ReadObject { path: path.clone(), source })?;
    Ok(object.into())
}

/// Capacities that are chosen at load.
fn capacities(chosen: &Capacities) -> [(&'static str, u32); 8] {
    [
        ("identities", chosen.addresses),
        ("pods", chosen.addresses),
        // One more, which stands between the families.
        ("blocks", chosen.blocks + 1),
        ("frontends", chosen.frontends),
        ("flows4", chosen.flows),
        ("flows6", chosen.flows),
        ("new_flows4", chosen.new_flows),
        ("new_flows6", chosen.new_flows),
    ]
}
