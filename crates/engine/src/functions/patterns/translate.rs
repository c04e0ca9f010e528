//! Expressions of PostgreSQL as expressions of the `regex` crate, and for which of them both find the same match.
//!
//! The languages agree, so whether and where a match begins is always the same. Which of the matches that begin there
//! is taken is not: PostgreSQL takes the longest (or shortest) of all, the crate the first in the order of its
//! alternatives. [`same_match`] proves agreement for the expressions people mostly write; the others go to
//! [`super::matcher`]. What always holds: a "yes" is a proof, a "no" only costs time.

use super::char_set::CharSet;
use super::syntax::{Assertion, Node, Preference};

/// The expression in the crate's syntax, with the same captures; `None` for what the crate does not have.
pub(super) fn translate(node: &Node) -> Option<String> {
    let mut out = String::new();
    write_node(node, &mut out)?;
    Some(out)
}

fn write_node(node: &Node, out: &mut String) -> Option<()> {
    match node {
        Node::Empty => out.push_str("(?:)"),
        Node::Set(set) => write_set(set, out),
        Node::Assert(assertion) => out.push_str(match assertion {
            Assertion::Start => r"\A",
            Assertion::End => r"\z",
            Assertion::LineStart => "(?m:^)",
            Assertion::LineEnd => "(?m:$)",
            Assertion::WordStart => r"\b{start}",
            Assertion::WordEnd => r"\b{end}",
            Assertion::WordBoundary => r"\b",
            Assertion::NotWordBoundary => r"\B",
        }),
        Node::Look { .. } | Node::Backreference(_) => return None,
        Node::Concat(items) => {
            out.push_str("(?:");
            for item in items {
                write_node(item, out)?;
            }
            out.push(')');
        }
        Node::Alternate(branches) => {
            out.push_str("(?:");
            for (index, branch) in branches.iter().enumerate() {
                if index > 0 {
                    out.push('|');
                }
                write_node(branch, out)?;
            }
            out.push(')');
        }
        Node::Repeat { inner, min, max, preference } => {
            out.push_str("(?:");
            write_node(inner, out)?;
            out.push(')');
            match max {
                Some(max) => out.push_str(&format!("{{{min},{max}}}")),
                None => out.push_str(&format!("{{{min},}}")),
            }
            if *preference == Some(Preference::Shorter) {
                out.push('?');
            }
        }
        Node::Capture { inner, .. } => {
            out.push('(');
            write_node(inner, out)?;
            out.push(')');
        }
    }
    Some(())
}

fn write_set(set: &CharSet, out: &mut String) {
    if *set == CharSet::any() {
        out.push_str("(?s:.)");
        return;
    }
    if let Some(letter) = set.single().filter(char::is_ascii_alphanumeric) {
        out.push(letter);
        return;
    }
    if set.is_empty() {
        out.push_str(r"[^\x{0}-\x{10FFFF}]");
        return;
    }
    out.push('[');
    for (from, to) in set.ranges() {
        // Surrogates are no characters, and cannot be the end of a range.
        let from = if (0xd800..=0xdfff).contains(from) { 0xe000 } else { *from };
        let to = if (0xd800..=0xdfff).contains(to) { 0xd7ff } else { *to };
        if from <= to {
            out.push_str(&format!(r"\x{{{from:X}}}-\x{{{to:X}}}"));
        }
    }
    out.push(']');
}

/// How many ways a part can match at a place, and in which order the crate tries them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ways {
    /// One length. `prefers` where PostgreSQL counts the part as one that prefers longer matches all the same.
    Fixed { length: u32, prefers: bool },
    /// At most one that the rest of the expression can follow.
    Determined,
    /// Several, the longest first.
    Descending,
    /// Several, the shortest first.
    Ascending,
}

/// What can follow a part: the characters, and whether nothing need follow.
#[derive(Clone)]
struct Follow {
    set: CharSet,
    anything: bool,
}

impl Follow {
    fn excludes(&self, set: &CharSet) -> bool {
        !self.anything && !self.set.intersects(set)
    }
}

/// Whether the crate's match, with its captures, is the one PostgreSQL takes.
pub(super) fn same_match(root: &Node) -> bool {
    let end = Follow { set: CharSet::empty(), anything: true };
    let items = match root {
        Node::Concat(items) => items.as_slice(),
        other => std::slice::from_ref(other),
    };
    if items.last() == Some(&Node::Assert(Assertion::End)) {
        return anchored(items, &end);
    }
    // The crate's first match is then the longest, or the shortest where PostgreSQL takes that.
    sequence(items, &end).is_some()
}

/// An expression that ends at the end of the text has one length at each start, so only the captures depend on the
/// order; PostgreSQL decides them node by node from the left, where a node is a part with captures, or a run without.
fn anchored(items: &[Node], end: &Follow) -> bool {
    let follows = follows(items, end);
    let mut run: Vec<Ways> = Vec::new();
    for (item, follow) in items.iter().zip(&follows) {
        let Some(ways) = ways(item, follow) else { return false };
        if has_capture(item) {
            if combine(&run).is_none() {
                return false;
            }
            run.clear();
        } else {
            run.push(ways);
        }
    }
    combine(&run).is_some()
}

/// What follows each of the items.
fn follows(items: &[Node], end: &Follow) -> Vec<Follow> {
    let mut follows = vec![end.clone(); items.len()];
    let mut follow = end.clone();
    for (item, slot) in items.iter().zip(&mut follows).rev() {
        *slot = follow.clone();
        let (set, nullable) = first(item);
        if nullable {
            follow.set.add(&set);
        } else {
            follow = Follow { set, anything: false };
        }
    }
    follows
}

fn sequence(items: &[Node], follow: &Follow) -> Option<Ways> {
    let each = items.iter().zip(follows(items, follow)).map(|(item, follow)| ways(item, &follow));
    combine(&each.collect::<Option<Vec<_>>>()?)
}

/// The ways of a sequence: one part may have several, if what comes after it has one length.
fn combine(each: &[Ways]) -> Option<Ways> {
    let mut open = None;
    let mut total = Some(0);
    let mut prefers_longer = false;
    for ways in each {
        match ways {
            Ways::Fixed { length, prefers } => {
                total = total.map(|total| total + length);
                prefers_longer |= prefers;
            }
            _ if open.is_some() => return None,
            Ways::Determined => {
                total = None;
                prefers_longer = true;
            }
            Ways::Descending => open = Some(*ways),
            // The first preference is that of PostgreSQL's whole match.
            Ways::Ascending if prefers_longer => return None,
            Ways::Ascending => open = Some(*ways),
        }
    }
    Some(match (open, total) {
        (Some(ways), _) => ways,
        (None, Some(length)) => Ways::Fixed { length, prefers: prefers_longer },
        (None, None) => Ways::Determined,
    })
}

fn ways(node: &Node, follow: &Follow) -> Option<Ways> {
    match node {
        Node::Empty | Node::Assert(_) => Some(Ways::Fixed { length: 0, prefers: false }),
        Node::Set(_) => Some(Ways::Fixed { length: 1, prefers: false }),
        Node::Look { .. } | Node::Backreference(_) => None,
        Node::Capture { inner, .. } => ways(inner, follow),
        Node::Concat(items) => sequence(items, follow),
        Node::Alternate(branches) => alternation(branches, follow),
        Node::Repeat { inner, min, max, preference } => repetition(inner, *min, *max, *preference, follow),
    }
}

/// Branches of which at most one can match at a place.
fn alternation(branches: &[Node], follow: &Follow) -> Option<Ways> {
    let mut all: Option<Ways> = None;
    for (index, branch) in branches.iter().enumerate() {
        let (set, nullable) = first(branch);
        if nullable {
            return None;
        }
        for other in &branches[..index] {
            if first(other).0.intersects(&set) && !literals_exclude_each_other(branch, other) {
                return None;
            }
        }
        let ways = match ways(branch, follow)? {
            Ways::Fixed { length, .. } => Ways::Fixed { length, prefers: true },
            Ways::Ascending => return None,
            other => other,
        };
        all = Some(match all {
            None => ways,
            Some(old) if old == ways => old,
            Some(Ways::Descending) => Ways::Descending,
            Some(_) if ways == Ways::Descending => Ways::Descending,
            Some(_) => Ways::Determined,
        });
    }
    all
}

/// Two strings of which neither begins with the other.
fn literals_exclude_each_other(left: &Node, right: &Node) -> bool {
    fn literal(node: &Node) -> Option<Vec<&CharSet>> {
        match node {
            Node::Set(set) => Some(vec![set]),
            Node::Concat(items) => {
                items.iter().map(|item| if let Node::Set(set) = item { Some(set) } else { None }).collect()
            }
            _ => None,
        }
    }
    match (literal(left), literal(right)) {
        (Some(left), Some(right)) => left.iter().zip(&right).any(|(left, right)| !left.intersects(right)),
        _ => false,
    }
}

fn repetition(
    inner: &Node,
    min: u32,
    max: Option<u32>,
    preference: Option<Preference>,
    follow: &Follow,
) -> Option<Ways> {
    let (set, nullable) = first(inner);
    if preference == Some(Preference::Shorter) {
        let simple = matches!(inner, Node::Set(_));
        return (simple && max != Some(min)).then_some(Ways::Ascending);
    }
    if nullable {
        return None;
    }
    let separate = follow.excludes(&set);
    if (min, max) == (0, Some(1)) {
        let inner_ways = ways(inner, follow)?;
        return match inner_ways {
            Ways::Fixed { .. } | Ways::Determined if separate => Some(Ways::Determined),
            Ways::Fixed { .. } | Ways::Descending => Some(Ways::Descending),
            Ways::Determined | Ways::Ascending => None,
        };
    }
    // Only the last repetition's captures count, and they must not remember an earlier one's.
    let captures_well = match inner {
        Node::Capture { inner, .. } => !has_capture(inner),
        other => !has_capture(other),
    };
    if !captures_well {
        return None;
    }
    let mut again = follow.clone();
    again.set.add(&set);
    match ways(inner, &again)? {
        Ways::Fixed { length, prefers } => Some(match max {
            // `{m,m}` has a preference of its own, `{m}` that of what it repeats.
            Some(max) if max == min => Ways::Fixed { length: length * min, prefers: prefers || preference.is_some() },
            _ if separate => Ways::Determined,
            _ => Ways::Descending,
        }),
        Ways::Determined if separate => Some(Ways::Determined),
        _ => None,
    }
}

fn has_capture(node: &Node) -> bool {
    match node {
        Node::Capture { .. } => true,
        Node::Concat(items) | Node::Alternate(items) => items.iter().any(has_capture),
        Node::Repeat { inner, .. } | Node::Look { inner, .. } => has_capture(inner),
        Node::Empty | Node::Set(_) | Node::Assert(_) | Node::Backreference(_) => false,
    }
}

/// The characters a part can begin with, and whether it can match nothing.
fn first(node: &Node) -> (CharSet, bool) {
    match node {
        Node::Empty | Node::Look { .. } => (CharSet::empty(), true),
        Node::Set(set) => (set.clone(), false),
        // Nothing can follow the end of the text.
        Node::Assert(Assertion::End) => (CharSet::empty(), false),
        Node::Assert(Assertion::LineEnd) => (CharSet::of('\n'), false),
        Node::Assert(_) => (CharSet::empty(), true),
        Node::Backreference(_) => (CharSet::any(), true),
        Node::Capture { inner, .. } => first(inner),
        Node::Repeat { inner, min, .. } => {
            let (set, nullable) = first(inner);
            (set, nullable || *min == 0)
        }
        Node::Concat(items) => {
            let mut set = CharSet::empty();
            for item in items {
                let (more, nullable) = first(item);
                set.add(&more);
                if !nullable {
                    return (set, false);
                }
            }
            (set, true)
        }
        Node::Alternate(branches) => {
            let mut set = CharSet::empty();
            let mut nullable = false;
            for branch in branches {
                let (more, empty) = first(branch);
                set.add(&more);
                nullable |= empty;
            }
            (set, nullable)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::syntax::{Options, parse};
    use super::*;

    fn same(pattern: &str) -> bool {
        same_match(&parse(pattern, Options::default()).unwrap().root)
    }

    #[test]
    fn everyday_expressions_are_proved() {
        for pattern in [
            "foo",
            "[0-9]+",
            r"^(\d+)-(\d+)$",
            r"(\w+)@(\w+)",
            r"^https?://(?:www\.)?([^/]+)/.*$",
            "^(.*)-([0-9]+)$",
            "(jpg|jpeg|png)$",
            "<.*?>",
            "^(.*?)-(.*)$",
            "a(bc)*d",
        ] {
            assert!(same(pattern), "{pattern}");
        }
    }

    #[test]
    fn expressions_on_which_the_engines_differ_are_not() {
        for pattern in
            ["foo|foobar", "(a|ab)(c|bcd)(d*)", "a?(ab)?", "a.*?b.*c", r"(a)\1", "((a)|b)*", "(a*)*", "a*?b*"]
        {
            assert!(!same(pattern), "{pattern}");
        }
    }
}
