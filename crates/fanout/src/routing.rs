//! Which node reads what: always the same one as long as the nodes are the same, so that its caches have it.
//!
//! Rendezvous hashing: of all nodes a part of a file is read by the one for which the hash of both is the highest. When a node comes or
//! goes, only the parts that it gains or loses move.

use std::hash::{DefaultHasher, Hash, Hasher};

use url::Url;

/// The nodes, by their places in the list, in the order in which a part of a file prefers them.
pub(crate) fn preferred(nodes: &[Url], path: &str, begins: i64) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..nodes.len()).collect();
    ranked.sort_by_cached_key(|index| {
        // The hasher's keys are fixed: every node comes to the same order.
        let mut hasher = DefaultHasher::new();
        (nodes[*index].as_str(), path, begins).hash(&mut hasher);
        std::cmp::Reverse(hasher.finish())
    });
    ranked
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn nodes(names: &[&str]) -> Vec<Url> {
        names.iter().map(|name| Url::parse(&format!("http://{name}/")).unwrap()).collect()
    }

    #[test]
    fn a_node_that_goes_moves_only_what_it_had() {
        let (all, fewer) = (nodes(&["a", "b", "c"]), nodes(&["a", "b"]));
        let mut shares = [0; 3];
        for part in 0..300 {
            let before = preferred(&all, "t/data.parquet", part)[0];
            shares[before] += 1;
            if before != 2 {
                assert_eq!(preferred(&fewer, "t/data.parquet", part)[0], before);
            }
        }
        assert!(shares.iter().all(|share| *share > 50), "{shares:?}");
    }
}
