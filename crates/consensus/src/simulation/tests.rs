//! Runs of the simulation.

use super::PlantedBug;
use super::world::{Report, Tally, simulate};

/// How many seeds every run of the tests tries.
const SEEDS: u64 = 20;

fn run(seed: u64) -> Report {
    simulate(seed, None).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"))
}

#[test]
fn nothing_is_lost_or_torn_whatever_happens() {
    let seeds = std::env::var("WHARF_SIMULATION_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let first = std::env::var("WHARF_SIMULATION_FIRST").map_or(0, |first| first.parse().unwrap());
    let mut sum = Tally::default();
    for seed in first..first + seeds {
        let Report { terms, answered, reads, tally, .. } = run(seed);
        assert!(answered > 20 && reads > 20 && terms > 0, "seed {seed}: {answered} commands and {reads} reads");
        if seeds > SEEDS && seed % 100 == 99 {
            println!("{} seeds", seed + 1 - first);
        }
        sum.crashes += tally.crashes;
        sum.partitions += tally.partitions;
        sum.joined += tally.joined;
        sum.removed += tally.removed;
        sum.transfers += tally.transfers;
        sum.learners += tally.learners;
        sum.snapshots += tally.snapshots;
    }
    println!("{seeds} seeds: {sum:?}");
    // The worlds are not too quiet.
    let Tally { crashes, partitions, joined, removed, transfers, learners, snapshots } = sum;
    let happened = [crashes, partitions, joined, removed, transfers, learners, snapshots];
    assert!(seeds < SEEDS || happened.iter().all(|count| *count > 0), "{sum:?}");
}

/// Seeds that have found something: a leader that started again and led on gave reads that missed what it had answered (30, 1016).
#[test]
fn seeds_that_found_something() {
    for seed in [30, 1016] {
        run(seed);
    }
}

/// For a closer look: `WHARF_SIMULATION_SEED` says which.
#[test]
fn one_seed() {
    let seed = std::env::var("WHARF_SIMULATION_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("{:?}", run(seed));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let report = run(7);
    assert_eq!(report, run(7));
    assert_ne!(report.trace, run(8).trace);
}

/// The first seed that finds a bug.
fn found(bug: PlantedBug) -> (u64, String) {
    let found = (0..50).find_map(|seed| Some((seed, simulate(seed, Some(bug)).err()?)));
    found.unwrap_or_else(|| panic!("no seed finds {bug:?}"))
}

#[test]
fn an_acknowledgement_before_the_flush_is_found() {
    let (seed, violation) = found(PlantedBug::AcknowledgeBeforeFlush);
    println!("seed {seed}: {violation}");
}

#[test]
fn a_read_without_a_read_index_is_found() {
    let (seed, violation) = found(PlantedBug::SkipReadIndex);
    assert!(violation.contains("a read at place"), "seed {seed}: {violation}");
}

#[test]
fn a_replica_that_differs_stops() {
    let expected = "has stopped: the catalog's state after log entry";
    // In some worlds a client reads from it before it is compared with another, and is the first to notice.
    let stops = |seed| simulate(seed, Some(PlantedBug::ApplyMore)).is_err_and(|violation| violation.contains(expected));
    assert!((0..10).any(stops));
}
