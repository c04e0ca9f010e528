//! Cycles of dependencies between transactions.
//!
//! A history is one of snapshot isolation when no cycle is made of edges "must come before" (`ww`, `wr`, and `time`: ended before the
//! other began), each followed by at most one edge `rw` (read what the other has overwritten); see Cerone and Gotsman, "Analysing
//! Snapshot Isolation". With `time` among them, it is strong snapshot isolation: a transaction sees all that was answered before
//! it began. Two `rw` in a row are write skew, which snapshot isolation allows.

use std::collections::{BTreeMap, VecDeque};

/// Why one transaction must come before another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// It wrote what the other has overwritten.
    WriteWrite(String),
    /// It wrote what the other has read.
    WriteRead(String),
    /// It ended before the other began.
    Time,
    /// It read what the other has overwritten.
    ReadWrite(String),
}

/// Dependencies between transactions, which are numbers.
#[derive(Debug, Default)]
pub(super) struct Graph {
    before: Vec<BTreeMap<usize, Why>>,
    overwritten: Vec<BTreeMap<usize, Why>>,
}

impl Graph {
    /// Without edges.
    pub(super) fn new(nodes: usize) -> Graph {
        Graph { before: vec![BTreeMap::new(); nodes], overwritten: vec![BTreeMap::new(); nodes] }
    }

    /// Adds an edge, unless it goes from a node to itself.
    pub(super) fn add(&mut self, from: usize, to: usize, why: Why) {
        if from == to {
            return;
        }
        let edges = if matches!(why, Why::ReadWrite(_)) { &mut self.overwritten } else { &mut self.before };
        edges[from].entry(to).or_insert(why);
    }

    /// The nodes that are reached by an edge that is no `rw` and at most one `rw` after it.
    fn next(&self, from: usize) -> impl Iterator<Item = usize> + '_ {
        let through = |between: &usize| self.overwritten[*between].keys().copied();
        self.before[from].keys().flat_map(move |between| std::iter::once(*between).chain(through(between)))
    }

    /// A cycle, as short as one that goes through its first node can be; with what each edge is.
    pub(super) fn cycle(&self) -> Option<Vec<(usize, Why)>> {
        let start = self.in_a_cycle()?;
        let mut came_from = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for next in self.next(node) {
                if next == start {
                    return Some(self.explain(start, node, &came_from));
                }
                came_from.entry(next).or_insert_with(|| {
                    queue.push_back(next);
                    node
                });
            }
        }
        None
    }

    /// A node that is in a cycle: what is left when nodes without successors are taken away, again and again.
    fn in_a_cycle(&self) -> Option<usize> {
        let count = self.before.len();
        let mut successors = vec![0_usize; count];
        let mut predecessors = vec![Vec::new(); count];
        for (from, many) in successors.iter_mut().enumerate() {
            for to in self.next(from) {
                *many += 1;
                predecessors[to].push(from);
            }
        }
        let mut ends: Vec<usize> = (0..count).filter(|node| successors[*node] == 0).collect();
        while let Some(end) = ends.pop() {
            for from in &predecessors[end] {
                successors[*from] -= 1;
                if successors[*from] == 0 {
                    ends.push(*from);
                }
            }
        }
        // Those that are left lead into a cycle: so many steps from any of them end in one.
        let mut node = (0..count).find(|node| successors[*node] > 0)?;
        for _ in 0..count {
            node = self.next(node).find(|next| successors[*next] > 0)?;
        }
        Some(node)
    }

    fn explain(&self, start: usize, last: usize, came_from: &BTreeMap<usize, usize>) -> Vec<(usize, Why)> {
        let mut nodes = vec![start, last];
        while *nodes.last().expect("two were put in") != start {
            let node = nodes[nodes.len() - 1];
            nodes.push(came_from[&node]);
        }
        nodes.reverse();
        if last == start {
            nodes = vec![start, start];
        }
        let mut cycle = Vec::new();
        for pair in nodes.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            if let Some(why) = self.before[from].get(&to) {
                cycle.push((from, why.clone()));
                continue;
            }
            let between = self.before[from].iter().find(|(between, _)| self.overwritten[**between].contains_key(&to));
            let (between, why) = between.expect("the edge was found by these two");
            cycle.push((from, why.clone()));
            cycle.push((*between, self.overwritten[*between][&to].clone()));
        }
        cycle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(usize, usize, &str)]) -> Graph {
        let mut graph = Graph::new(5);
        for (from, to, kind) in edges {
            let why = match *kind {
                "ww" => Why::WriteWrite("k".to_owned()),
                "wr" => Why::WriteRead("k".to_owned()),
                "rw" => Why::ReadWrite("k".to_owned()),
                _ => Why::Time,
            };
            graph.add(*from, *to, why);
        }
        graph
    }

    #[test]
    fn cycles_that_snapshot_isolation_forbids_are_found() {
        for (edges, length) in [
            (&[(0, 1, "ww"), (1, 0, "ww")][..], 2),
            (&[(0, 1, "wr"), (1, 2, "ww"), (2, 0, "wr")], 3),
            (&[(3, 4, "wr"), (4, 3, "rw")], 2),
            (&[(0, 1, "time"), (1, 2, "rw"), (2, 3, "wr"), (3, 0, "rw"), (4, 0, "ww")], 4),
        ] {
            let cycle = graph(edges).cycle();
            assert_eq!(cycle.as_ref().map(Vec::len), Some(length), "{edges:?}: {cycle:?}");
        }
    }

    #[test]
    fn write_skew_and_plain_orders_are_allowed() {
        assert_eq!(graph(&[(0, 1, "rw"), (1, 0, "rw")]).cycle(), None);
        assert_eq!(graph(&[(0, 1, "ww"), (1, 2, "rw"), (2, 0, "rw")]).cycle(), None);
        assert_eq!(graph(&[(0, 1, "ww"), (0, 2, "wr"), (1, 2, "time"), (2, 3, "rw")]).cycle(), None);
        assert_eq!(graph(&[(1, 1, "rw")]).cycle(), None);
    }
}
