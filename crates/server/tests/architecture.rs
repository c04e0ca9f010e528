//! Holds the crate graph to ARCHITECTURE.md: the document is the rule, `cargo metadata` the fact.
//!
//! Two kinds of line are read. `Depends on:` under a crate's heading names its crates of ours, exactly. A line that
//! begins with `**Invariant:**` and speaks of dependencies is one of
//! - only `a`, `b` depend on `x`, `y`
//! - `a`, `b` depend on none of `x`, `y`
//!
//! Any other invariant is prose, held by another test or by reading. What cannot be read as one of these is a failure,
//! so that a reworded line does not silently stop being checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

/// By crate of the workspace, what it depends on outside its tests.
type Graph = BTreeMap<String, BTreeSet<String>>;

#[derive(Debug, PartialEq)]
enum Rule {
    Only { users: Vec<String>, of: Vec<String> },
    NoneOf { users: Vec<String>, of: Vec<String> },
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn architecture() -> String {
    std::fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap()
}

/// Cargo's own account of the workspace.
fn metadata() -> Value {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(repository().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn graph() -> Graph {
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let outside_tests = |package: &Value| -> BTreeSet<String> {
        let dependencies = package["dependencies"].as_array().unwrap();
        dependencies.iter().filter(|one| one["kind"] != "dev").map(name).collect()
    };
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(|package| (name(package), outside_tests(package))).collect()
}

/// The names in backticks.
fn names(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The crates of ours in the order of the code map, each with what its `Depends on:` line says.
fn code_map(document: &str) -> Vec<(String, BTreeSet<String>)> {
    let mut found: Vec<(String, BTreeSet<String>)> = Vec::new();
    for line in document.lines() {
        if let Some(heading) = line.strip_prefix("### `crates/") {
            found.push((format!("wharf-{}", heading.trim_end_matches('`')), BTreeSet::new()));
        } else if let Some(list) = line.strip_prefix("Depends on:") {
            let current = found.last_mut().expect("a Depends on: line stands under a crate's heading");
            current.1 = names(list).into_iter().collect();
        }
    }
    found
}

/// The invariants that speak of dependencies.
fn rules(document: &str) -> Vec<Rule> {
    let invariants = document.lines().filter_map(|line| line.trim().strip_prefix("**Invariant:**"));
    invariants.filter(|line| line.contains(" depend")).map(|line| rule(line.trim())).collect()
}

fn rule(line: &str) -> Rule {
    let parted = line.split_once(" depends on ").or_else(|| line.split_once(" depend on "));
    let (left, right) = parted.unwrap_or_else(|| panic!("cannot read this invariant: {line}"));
    let (users, of) = (names(left), names(right));
    assert!(!users.is_empty() && !of.is_empty(), "this invariant names no crates: {line}");
    if left.starts_with("only ") {
        Rule::Only { users, of }
    } else if right.starts_with("none of ") {
        Rule::NoneOf { users, of }
    } else {
        panic!("cannot read this invariant: {line}")
    }
}

/// What in the graph breaks a rule.
fn breaches(rule: &Rule, graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    let uses = |user: &str, dependency: &str| graph.get(user).is_some_and(|all| all.contains(dependency));
    match rule {
        Rule::Only { users, of } => {
            for dependency in of {
                for user in graph.keys().filter(|user| uses(user, dependency)) {
                    if !users.contains(user) {
                        found.push(format!("{user} depends on {dependency}, which is for {} only", users.join(", ")));
                    }
                }
                for user in users.iter().filter(|user| !uses(user, dependency)) {
                    found.push(format!("{user} does not depend on {dependency}: the line is out of date"));
                }
            }
        }
        Rule::NoneOf { users, of } => {
            for user in users {
                assert!(graph.contains_key(user), "there is no crate {user}");
                let used = of.iter().filter(|dependency| uses(user, dependency));
                found.extend(used.map(|dependency| format!("{user} depends on {dependency}")));
            }
        }
    }
    found
}

#[test]
fn the_code_map_has_every_crate_and_its_arrows() {
    let graph = graph();
    let map = code_map(&architecture());
    let described: BTreeSet<_> = map.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(described, graph.keys().cloned().collect(), "the crates of the code map and of the workspace");
    for (name, described) in &map {
        let ours: BTreeSet<_> = graph[name].iter().filter(|other| graph.contains_key(*other)).cloned().collect();
        assert_eq!(*described, ours, "what {name} depends on: ARCHITECTURE.md and Cargo.toml");
    }
}

#[test]
fn arrows_point_down() {
    let map = code_map(&architecture());
    for (position, (name, dependencies)) in map.iter().enumerate() {
        for dependency in dependencies {
            let below = map.iter().skip(position + 1).any(|(other, _)| other == dependency);
            assert!(below, "{name} depends on {dependency}, which the code map does not put below it");
        }
    }
}

#[test]
fn the_graph_keeps_the_invariants() {
    let graph = graph();
    let rules = rules(&architecture());
    assert!(rules.len() >= 5, "only {} invariants about dependencies were found", rules.len());
    let broken: Vec<_> = rules.iter().flat_map(|rule| breaches(rule, &graph)).collect();
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn a_broken_invariant_is_found() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let graph = Graph::from([("a".to_owned(), set(&["x", "b"])), ("b".to_owned(), set(&["x"]))]);
    assert_eq!(breaches(&rule("only `a`, `b` depend on `x`."), &graph), Vec::<String>::new());
    assert_eq!(breaches(&rule("only `a` depends on `x`."), &graph), ["b depends on x, which is for a only"]);
    assert_eq!(
        breaches(&rule("only `b` depends on `y`."), &graph),
        ["b does not depend on y: the line is out of date"]
    );
    assert_eq!(breaches(&rule("`b` depends on none of `x`, `y`."), &graph), ["b depends on x"]);
    assert_eq!(breaches(&rule("`b` depends on none of `y`."), &graph), Vec::<String>::new());
}
