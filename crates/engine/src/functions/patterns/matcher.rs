//! A matcher with PostgreSQL's rules for which match is taken and what its parts capture.
//!
//! It follows the method of PostgreSQL's own (Henry Spencer's): each node of a tree knows, by simulating an automaton,
//! all the places where a match of it that begins at a place can end; the whole match is the longest (or, where the
//! expression prefers that, the shortest) one at the leftmost place; its parts are then decided from the left, each taking
//! its preferred length that lets the rest match. Back references are checked in that second step. What always holds:
//! the work for one text has a limit, beyond which the expression is refused as too complex.

use std::collections::HashMap;
use std::rc::Rc;

use wharf_values::{SqlError, SqlState};

use super::char_set::CharSet;
use super::syntax::{Assertion, Node, Parsed, Preference};
use crate::functions::call::Result;
use crate::functions::strings::lower_char;

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Matcher {
    programs: Vec<Program>,
    root: Tree,
    captures: usize,
    has_backreference: bool,
    ignore_case: bool,
}

/// Where captures lie: of the whole match at 0, in positions of characters.
pub(super) type Slots = Vec<Option<(usize, usize)>>;

#[derive(Debug)]
struct Program {
    code: Vec<Instruction>,
}

#[derive(Debug)]
enum Instruction {
    Set(CharSet),
    Split(usize, usize),
    Jump(usize),
    Assert(Assertion),
    Look { ahead: bool, negative: bool, program: usize },
    Match,
}

#[derive(Debug)]
struct Tree {
    program: usize,
    shorter: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Nothing inside is of interest.
    Leaf,
    Concat(Box<Tree>, Box<Tree>),
    Alternate(Vec<Tree>),
    Iterate {
        child: Box<Tree>,
        min: usize,
        max: Option<usize>,
    },
    Capture(usize, Box<Tree>),
    Backreference {
        index: usize,
        min: usize,
        max: Option<usize>,
    },
}

/// What PostgreSQL's parser keeps of a node: its preference, whether two preferences clash inside, and what it contains.
#[derive(Clone, Copy, Default)]
struct Flags {
    longer: bool,
    shorter: bool,
    mixed: bool,
    captures: bool,
    backreference: bool,
}

impl Flags {
    fn of(preference: Option<Preference>) -> Flags {
        Flags {
            longer: preference == Some(Preference::Longer),
            shorter: preference == Some(Preference::Shorter),
            ..Flags::default()
        }
    }

    fn union(self, other: Flags) -> Flags {
        Flags {
            longer: self.longer || other.longer,
            shorter: self.shorter || other.shorter,
            mixed: self.mixed || other.mixed,
            captures: self.captures || other.captures,
            backreference: self.backreference || other.backreference,
        }
    }

    /// What a parent inherits: a clash, but no preference.
    fn up(self) -> Flags {
        Flags { longer: false, shorter: false, mixed: self.mixed || (self.longer && self.shorter), ..self }
    }

    /// The flags of a sequence: the first preference is the whole's.
    fn combine(self, next: Flags) -> Flags {
        let first = if self.longer || self.shorter { self } else { next };
        Flags { longer: first.longer, shorter: first.shorter, ..self.union(next).up() }
    }

    fn messy(self) -> bool {
        self.mixed || self.captures || self.backreference
    }
}

/// Instructions of all programs of an expression, at most.
const MAX_INSTRUCTIONS: usize = 200_000;
/// Steps of all simulations for one text, at most.
const MAX_STEPS: u64 = 200_000_000;

fn too_complex() -> SqlError {
    SqlError::new(SqlState::INVALID_REGULAR_EXPRESSION, "invalid regular expression: regular expression is too complex")
}

impl Matcher {
    pub(super) fn new(parsed: &Parsed) -> Result<Matcher> {
        let mut builder = Builder { programs: Vec::new(), instructions: 0 };
        let (root, _) = builder.tree(&parsed.root)?;
        Ok(Matcher {
            programs: builder.programs,
            root,
            captures: parsed.captures,
            has_backreference: parsed.has_backreference,
            ignore_case: parsed.ignore_case,
        })
    }

    /// The match that begins at the first place from `from` on, up to and including `last_start`. The slots are filled
    /// when captures are wanted; otherwise only the first is.
    pub(super) fn find(
        &self,
        text: &[char],
        from: usize,
        last_start: usize,
        want_captures: bool,
        slots: &mut Slots,
    ) -> Result<bool> {
        let mut search = Search { matcher: self, text, steps: 0, memo: HashMap::new() };
        for start in from..=last_start {
            let ends = search.ends(self.root.program, start)?;
            let mut index = if self.root.shorter { 0 } else { ends.len().wrapping_sub(1) };
            while let Some(end) = ends.get(index).copied() {
                slots.clear();
                slots.resize(self.captures + 1, None);
                let dissect = want_captures || self.has_backreference;
                if !dissect || search.dissect(&self.root, start, end, slots)? {
                    slots[0] = Some((start, end));
                    return Ok(true);
                }
                index = if self.root.shorter { index + 1 } else { index.wrapping_sub(1) };
            }
        }
        Ok(false)
    }
}

struct Builder {
    programs: Vec<Program>,
    instructions: usize,
}

impl Builder {
    /// The tree of a node, with its flags: PostgreSQL's `parse`, `parsebranch` and `parseqatom`.
    fn tree(&mut self, node: &Node) -> Result<(Tree, Flags)> {
        match node {
            Node::Concat(items) => self.branch(items),
            Node::Alternate(branches) => {
                let mut flags = Flags::of(Some(Preference::Longer));
                let mut children = Vec::with_capacity(branches.len());
                for branch in branches {
                    let (child, inner) = self.tree(branch)?;
                    flags = flags.union(flags.union(inner).up());
                    children.push(child);
                }
                let kind = if flags.messy() { Kind::Alternate(children) } else { Kind::Leaf };
                Ok((self.node(kind, node, flags)?, flags))
            }
            other => self.branch(std::slice::from_ref(other)),
        }
    }

    fn node(&mut self, kind: Kind, pattern: &Node, flags: Flags) -> Result<Tree> {
        Ok(Tree { program: self.compile(pattern)?, shorter: flags.shorter, kind })
    }

    fn branch(&mut self, items: &[Node]) -> Result<(Tree, Flags)> {
        let mut top = Flags::default();
        for (index, item) in items.iter().enumerate() {
            let (atom, min, max, preference) = match item {
                Node::Repeat { inner, min, max, preference } => {
                    (inner.as_ref(), *min as usize, max.map(|max| max as usize), *preference)
                }
                other => (other, 1, Some(1), None),
            };
            let (tree, inner) = match atom {
                Node::Empty | Node::Set(_) | Node::Assert(_) | Node::Look { .. } => (None, Flags::default()),
                Node::Backreference(capture) => {
                    let flags = Flags { backreference: true, ..Flags::default() };
                    let kind = Kind::Backreference { index: *capture, min, max };
                    (Some(self.node(kind, item, flags)?), flags)
                }
                Node::Capture { index, inner } => {
                    let (child, flags) = self.tree(inner)?;
                    let flags = Flags { captures: true, ..flags };
                    (Some(self.node(Kind::Capture(*index, Box::new(child)), inner, flags)?), flags)
                }
                Node::Concat(_) | Node::Alternate(_) | Node::Repeat { .. } => {
                    let (tree, flags) = self.tree(atom)?;
                    (Some(tree), flags)
                }
            };
            let asked = Flags::of(preference);
            let all = top.union(asked).union(inner);
            let special = matches!(atom, Node::Capture { .. } | Node::Backreference(_));
            if !special && !all.up().messy() {
                top = all;
                continue;
            }
            let mut flags = asked.combine(inner);
            let tree = match tree {
                Some(tree) => tree,
                None => self.node(Kind::Leaf, atom, Flags::default())?,
            };
            let mut part = self.quantified(tree, inner, item, atom, (min, max), preference)?;
            if let [_, rest @ ..] = &items[index..]
                && !rest.is_empty()
            {
                let (rest, rest_flags) = self.branch(rest)?;
                flags = flags.union(flags.combine(rest_flags));
                // The preference is the first one's, which union keeps beside the second.
                let first = asked.combine(inner).combine(rest_flags);
                flags = Flags { longer: first.longer, shorter: first.shorter, ..flags };
                let pattern = Node::Concat(items[index..].to_vec());
                part = self.node(Kind::Concat(Box::new(part), Box::new(rest)), &pattern, flags)?;
            }
            if index == 0 {
                return Ok((part, flags));
            }
            let prefix = self.node(Kind::Leaf, &Node::Concat(items[..index].to_vec()), top)?;
            let combined = top.combine(flags);
            let pattern = Node::Concat(items.to_vec());
            let tree = self.node(Kind::Concat(Box::new(prefix), Box::new(part)), &pattern, combined)?;
            return Ok((tree, combined));
        }
        let tree = self.node(Kind::Leaf, &Node::Concat(items.to_vec()), top)?;
        Ok((tree, top))
    }

    /// A messy atom with its quantifier.
    fn quantified(
        &mut self,
        atom: Tree,
        inner: Flags,
        item: &Node,
        pattern: &Node,
        (min, max): (usize, Option<usize>),
        preference: Option<Preference>,
    ) -> Result<Tree> {
        if matches!(atom.kind, Kind::Backreference { .. }) {
            return Ok(atom);
        }
        let asked = Flags::of(preference);
        let same_preference = preference.is_none()
            || !(inner.longer || inner.shorter || inner.mixed)
            || (!inner.mixed && (asked.longer, asked.shorter) == (inner.longer, inner.shorter));
        if (min, max) == (1, Some(1)) && same_preference {
            return Ok(atom);
        }
        let flags = asked.combine(inner);
        if !inner.captures && !inner.backreference {
            return self.node(Kind::Leaf, item, flags);
        }
        if min > 0 && !inner.backreference {
            // Only the last repetition's captures are seen: all the others are one part without interest.
            let others = Node::Repeat {
                inner: Box::new(pattern.clone()),
                min: min as u32 - 1,
                max: max.map(|max| max as u32 - 1),
                preference,
            };
            let others = self.node(Kind::Leaf, &others, Flags { mixed: false, ..flags })?;
            return self.node(Kind::Concat(Box::new(others), Box::new(atom)), item, flags);
        }
        self.node(Kind::Iterate { child: Box::new(atom), min, max }, item, flags)
    }

    fn compile(&mut self, pattern: &Node) -> Result<usize> {
        let mut code = Vec::new();
        self.emit(pattern, &mut code)?;
        code.push(Instruction::Match);
        self.instructions += code.len();
        if self.instructions > MAX_INSTRUCTIONS {
            return Err(too_complex());
        }
        self.programs.push(Program { code });
        Ok(self.programs.len() - 1)
    }

    fn emit(&mut self, node: &Node, code: &mut Vec<Instruction>) -> Result<()> {
        if code.len() > MAX_INSTRUCTIONS {
            return Err(too_complex());
        }
        match node {
            Node::Empty => {}
            Node::Set(set) => code.push(Instruction::Set(set.clone())),
            Node::Assert(assertion) => code.push(Instruction::Assert(*assertion)),
            Node::Look { ahead, negative, inner } => {
                let program = self.compile(inner)?;
                code.push(Instruction::Look { ahead: *ahead, negative: *negative, program });
            }
            // What it refers to is not known here: anything, to be checked later.
            Node::Backreference(_) => self.emit_loop(&Node::Set(CharSet::any()), code)?,
            Node::Capture { inner, .. } => self.emit(inner, code)?,
            Node::Concat(items) => {
                for item in items {
                    self.emit(item, code)?;
                }
            }
            Node::Alternate(branches) => {
                let mut jumps = Vec::new();
                for (index, branch) in branches.iter().enumerate() {
                    let last = index + 1 == branches.len();
                    let split = code.len();
                    if !last {
                        code.push(Instruction::Split(split + 1, 0));
                    }
                    self.emit(branch, code)?;
                    if !last {
                        jumps.push(code.len());
                        code.push(Instruction::Jump(0));
                        code[split] = Instruction::Split(split + 1, code.len());
                    }
                }
                for jump in jumps {
                    code[jump] = Instruction::Jump(code.len());
                }
            }
            Node::Repeat { inner, min, max, .. } => {
                for _ in 0..*min {
                    self.emit(inner, code)?;
                }
                match max {
                    None => self.emit_loop(inner, code)?,
                    Some(max) => {
                        let mut splits = Vec::new();
                        for _ in *min..*max {
                            splits.push(code.len());
                            code.push(Instruction::Jump(0));
                            self.emit(inner, code)?;
                        }
                        for split in splits {
                            code[split] = Instruction::Split(split + 1, code.len());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn emit_loop(&mut self, inner: &Node, code: &mut Vec<Instruction>) -> Result<()> {
        let split = code.len();
        code.push(Instruction::Jump(0));
        self.emit(inner, code)?;
        code.push(Instruction::Jump(split));
        code[split] = Instruction::Split(split + 1, code.len());
        Ok(())
    }
}

/// The work for one text.
struct Search<'a> {
    matcher: &'a Matcher,
    text: &'a [char],
    steps: u64,
    memo: HashMap<(usize, usize), Rc<Vec<usize>>>,
}

impl Search<'_> {
    /// All the places, ascending, where a match of a program that begins at `begin` can end.
    fn ends(&mut self, program: usize, begin: usize) -> Result<Rc<Vec<usize>>> {
        if let Some(ends) = self.memo.get(&(program, begin)) {
            return Ok(Rc::clone(ends));
        }
        let matcher = self.matcher;
        let code = &matcher.programs[program].code;
        let mut ends = Vec::new();
        let mut current = States::new(code.len());
        let mut next = States::new(code.len());
        let mut position = begin;
        self.follow(code, 0, position, &mut current)?;
        loop {
            if current.matched {
                ends.push(position);
            }
            let Some(letter) = self.text.get(position).copied() else { break };
            if current.list.is_empty() {
                break;
            }
            next.clear();
            for index in 0..current.list.len() {
                let state = current.list[index];
                if let Instruction::Set(set) = &code[state]
                    && set.contains(letter)
                {
                    self.follow(code, state + 1, position + 1, &mut next)?;
                }
            }
            std::mem::swap(&mut current, &mut next);
            position += 1;
        }
        let ends = Rc::new(ends);
        self.memo.insert((program, begin), Rc::clone(&ends));
        Ok(ends)
    }

    /// Adds the states reached from one without reading a character.
    fn follow(&mut self, code: &[Instruction], state: usize, position: usize, states: &mut States) -> Result<()> {
        let mut pending = std::mem::take(&mut states.pending);
        pending.push(state);
        while let Some(state) = pending.pop() {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(too_complex());
            }
            if std::mem::replace(&mut states.seen[state], true) {
                continue;
            }
            states.visited.push(state);
            match &code[state] {
                Instruction::Set(_) => states.list.push(state),
                Instruction::Match => states.matched = true,
                Instruction::Jump(to) => pending.push(*to),
                Instruction::Split(first, second) => {
                    pending.push(*second);
                    pending.push(*first);
                }
                Instruction::Assert(assertion) => {
                    if holds(*assertion, self.text, position) {
                        pending.push(state + 1);
                    }
                }
                Instruction::Look { ahead, negative, program } => {
                    let found = if *ahead {
                        !self.ends(*program, position)?.is_empty()
                    } else {
                        let mut found = false;
                        for start in (0..=position).rev() {
                            if self.ends(*program, start)?.binary_search(&position).is_ok() {
                                found = true;
                                break;
                            }
                        }
                        found
                    };
                    if found != *negative {
                        pending.push(state + 1);
                    }
                }
            }
        }
        states.pending = pending;
        Ok(())
    }

    fn can_end(&mut self, tree: &Tree, begin: usize, end: usize) -> Result<bool> {
        Ok(self.ends(tree.program, begin)?.binary_search(&end).is_ok())
    }

    /// Decides the parts of a node that is known to match a stretch as far as its automaton can tell.
    fn dissect(&mut self, tree: &Tree, begin: usize, end: usize, slots: &mut Slots) -> Result<bool> {
        match &tree.kind {
            Kind::Leaf => Ok(true),
            Kind::Capture(index, child) => {
                let matched = self.dissect(child, begin, end, slots)?;
                if matched {
                    slots[*index] = Some((begin, end));
                }
                Ok(matched)
            }
            Kind::Backreference { index, min, max } => Ok(self.repeats(*index, (*min, *max), begin, end, slots)),
            Kind::Alternate(branches) => {
                for branch in branches {
                    if self.can_end(branch, begin, end)? && self.dissect(branch, begin, end, slots)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Kind::Concat(left, right) => {
                let middles = self.ends(left.program, begin)?;
                let count = middles.partition_point(|middle| *middle <= end);
                for index in 0..count {
                    let middle = middles[if left.shorter { index } else { count - 1 - index }];
                    if self.can_end(right, middle, end)?
                        && self.dissect(left, begin, middle, slots)?
                        && self.dissect(right, middle, end, slots)?
                    {
                        return Ok(true);
                    }
                    clear(left, slots);
                    clear(right, slots);
                }
                Ok(false)
            }
            Kind::Iterate { child, min, max } => self.iterate(child, (*min, *max), begin, end, slots),
        }
    }

    /// PostgreSQL's `citerdissect` and `creviterdissect`: a stretch divided into matches of a child.
    fn iterate(
        &mut self,
        child: &Tree,
        (min, max): (usize, Option<usize>),
        begin: usize,
        end: usize,
        slots: &mut Slots,
    ) -> Result<bool> {
        if min == 0 && begin == end {
            return Ok(true);
        }
        let min = min.max(1);
        let max = max.unwrap_or(usize::MAX).min(end - begin).max(min);
        // Explored depth first: the places where each repetition ends, and which of its ends are still to be tried.
        let mut points = vec![begin];
        let mut choices: Vec<Vec<usize>> = vec![self.choices(child, begin, end, 1, (min, max))?];
        while let Some(open) = choices.last_mut() {
            let Some(point) = open.pop() else {
                choices.pop();
                points.pop();
                continue;
            };
            points.truncate(choices.len());
            points.push(point);
            let count = points.len() - 1;
            if point == end && count >= min {
                let mut good = true;
                for window in points.windows(2) {
                    clear(child, slots);
                    if !self.dissect(child, window[0], window[1], slots)? {
                        good = false;
                        break;
                    }
                }
                if good {
                    return Ok(true);
                }
                continue;
            }
            if count < max {
                let more = self.choices(child, point, end, count + 1, (min, max))?;
                choices.push(more);
            }
        }
        Ok(false)
    }

    /// The ends to try for one repetition, the preferred one last; empty repetitions only where they are needed.
    fn choices(
        &mut self,
        child: &Tree,
        from: usize,
        end: usize,
        count: usize,
        (min, _): (usize, usize),
    ) -> Result<Vec<usize>> {
        let ends = self.ends(child.program, from)?;
        let needs_empty = count < min && min - count >= end - from;
        let mut choices = ends
            .iter()
            .copied()
            .filter(|point| *point <= end && (*point > from || needs_empty || (from == end && count <= min)))
            .collect::<Vec<_>>();
        if child.shorter {
            choices.reverse();
        }
        Ok(choices)
    }

    /// Whether a stretch is so many copies of what a capture holds.
    fn repeats(
        &self,
        index: usize,
        (min, max): (usize, Option<usize>),
        begin: usize,
        end: usize,
        slots: &Slots,
    ) -> bool {
        let Some((from, to)) = slots.get(index).copied().flatten() else { return false };
        let unit = &self.text[from..to];
        let stretch = &self.text[begin..end];
        if stretch.is_empty() && min == 0 {
            return true;
        }
        if unit.is_empty() {
            return stretch.is_empty();
        }
        let count = stretch.len() / unit.len();
        let same = |left: char, right: char| {
            left == right || (self.matcher.ignore_case && lower_char(left) == lower_char(right))
        };
        stretch.len().is_multiple_of(unit.len())
            && count >= min
            && max.is_none_or(|max| count <= max)
            && stretch.chunks(unit.len()).all(|copy| copy.iter().zip(unit).all(|(left, right)| same(*left, *right)))
    }
}

/// Forgets what the captures of a tree held.
fn clear(tree: &Tree, slots: &mut Slots) {
    match &tree.kind {
        Kind::Leaf | Kind::Backreference { .. } => {}
        Kind::Capture(index, child) => {
            slots[*index] = None;
            clear(child, slots);
        }
        Kind::Iterate { child, .. } => clear(child, slots),
        Kind::Concat(left, right) => {
            clear(left, slots);
            clear(right, slots);
        }
        Kind::Alternate(branches) => branches.iter().for_each(|branch| clear(branch, slots)),
    }
}

fn is_word(letter: Option<&char>) -> bool {
    letter.is_some_and(|letter| letter.is_alphanumeric() || *letter == '_')
}

fn holds(assertion: Assertion, text: &[char], position: usize) -> bool {
    let before = position.checked_sub(1).and_then(|index| text.get(index));
    let after = text.get(position);
    match assertion {
        Assertion::Start => before.is_none(),
        Assertion::End => after.is_none(),
        Assertion::LineStart => before.is_none_or(|letter| *letter == '\n'),
        Assertion::LineEnd => after.is_none_or(|letter| *letter == '\n'),
        Assertion::WordStart => !is_word(before) && is_word(after),
        Assertion::WordEnd => is_word(before) && !is_word(after),
        Assertion::WordBoundary => is_word(before) != is_word(after),
        Assertion::NotWordBoundary => is_word(before) == is_word(after),
    }
}

/// The states of an automaton at one place.
struct States {
    list: Vec<usize>,
    seen: Vec<bool>,
    visited: Vec<usize>,
    /// Where [`Search::follow`] keeps what it has still to look at.
    pending: Vec<usize>,
    matched: bool,
}

impl States {
    fn new(count: usize) -> States {
        States { list: Vec::new(), seen: vec![false; count], visited: Vec::new(), pending: Vec::new(), matched: false }
    }

    fn clear(&mut self) {
        for state in self.visited.drain(..) {
            self.seen[state] = false;
        }
        self.list.clear();
        self.matched = false;
    }
}
