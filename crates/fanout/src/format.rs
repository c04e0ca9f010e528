//! The format of what nodes send each other, by name: plans, sessions and errors.
//!
//! What always holds: nodes whose formats have different names give each other no work. The name has everything that writes or
//! reads what travels: our codec and the functions it names, which are those of a version of Wharf, and the libraries below it.

use std::sync::LazyLock;

/// Counts the changes of what this crate and the engine write down.
const REVISION: u32 = 5;
/// The version of `datafusion-distributed`; a test holds it to the one that is built.
const LIBRARY: &str = "4.0.0";

static NAME: LazyLock<String> = LazyLock::new(|| {
    let (wharf, datafusion) = (env!("CARGO_PKG_VERSION"), datafusion::DATAFUSION_VERSION);
    format!("{REVISION}; wharf {wharf}, datafusion {datafusion}, datafusion-distributed {LIBRARY}")
});

/// The name of this node's format.
pub(crate) fn name() -> &'static str {
    &NAME
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_library_is_the_one_that_is_built() {
        let lock = std::fs::read_to_string("../../Cargo.lock").unwrap();
        let found = lock.split("\n\n").find(|package| package.contains("name = \"datafusion-distributed\"\n")).unwrap();
        assert!(found.contains(&format!("version = \"{LIBRARY}\"\n")), "{found}");
    }
}
