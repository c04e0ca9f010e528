//! PostgreSQL's regular expressions (chapter 9.7.3 of its manual) read into a tree.
//!
//! What always holds: what PostgreSQL refuses is refused here with its message and `2201B`. Options are resolved while
//! reading: a set in the tree already contains both cases of its letters, and does not contain the newline where an option
//! says so.

use wharf_values::{SqlError, SqlState};

use super::char_set::CharSet;
use crate::functions::call::{Result, invalid_parameter};

/// The options of a regular expression, as letters give them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Options {
    pub(super) ignore_case: bool,
    /// `.` and negated sets do not match a newline.
    pub(super) newline_stops: bool,
    /// `^` and `$` match at lines.
    pub(super) newline_anchors: bool,
    pub(super) expanded: bool,
    pub(super) literal: bool,
    pub(super) global: bool,
}

impl Options {
    /// Reads the letters of a function's flags argument.
    ///
    /// # Errors
    /// `22023` for a letter that is no option.
    pub(super) fn parse(flags: &str) -> Result<Options> {
        let mut options = Options::default();
        for letter in flags.chars() {
            if letter == 'g' {
                options.global = true;
            } else if !options.set(letter) {
                return Err(invalid_parameter(format!("invalid regular expression option: \"{letter}\"")));
            }
        }
        Ok(options)
    }

    fn set(&mut self, letter: char) -> bool {
        match letter {
            'i' => self.ignore_case = true,
            'c' => self.ignore_case = false,
            'n' | 'm' => (self.newline_stops, self.newline_anchors) = (true, true),
            's' => (self.newline_stops, self.newline_anchors) = (false, false),
            'p' => (self.newline_stops, self.newline_anchors) = (true, false),
            'w' => (self.newline_stops, self.newline_anchors) = (false, true),
            'x' => self.expanded = true,
            't' => self.expanded = false,
            'q' => self.literal = true,
            // Extended expressions are read as advanced ones, which contain them.
            'e' => {}
            _ => return false,
        }
        true
    }
}

/// A place between characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assertion {
    Start,
    End,
    LineStart,
    LineEnd,
    WordStart,
    WordEnd,
    WordBoundary,
    NotWordBoundary,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Empty,
    Set(CharSet),
    Assert(Assertion),
    Look { ahead: bool, negative: bool, inner: Box<Node> },
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
    Repeat { inner: Box<Node>, min: u32, max: Option<u32>, preference: Option<Preference> },
    Capture { index: usize, inner: Box<Node> },
    Backreference(usize),
}

/// Which matches an expression prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preference {
    Longer,
    Shorter,
}

/// An expression that was read.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    pub(super) root: Node,
    pub(super) captures: usize,
    pub(super) has_backreference: bool,
    pub(super) ignore_case: bool,
}

/// PostgreSQL's largest count in braces.
const MAX_REPEAT: u32 = 255;
/// Parentheses within parentheses, at most.
const MAX_DEPTH: usize = 200;

fn error(message: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {message}"))
}

/// Reads an advanced regular expression.
///
/// # Errors
/// `2201B` with PostgreSQL's words.
pub(super) fn parse(pattern: &str, options: Options) -> Result<Parsed> {
    let mut parser = Parser {
        letters: pattern.chars().collect(),
        position: 0,
        options,
        captures: 0,
        closed: Vec::new(),
        has_backreference: false,
        depth: 0,
        within_look: 0,
    };
    parser.directors()?;
    let root = if parser.options.literal {
        let options = parser.options;
        let rest = parser.letters[parser.position..].iter();
        Node::Concat(rest.map(|letter| Node::Set(with_case(CharSet::of(*letter), options))).collect())
    } else {
        let root = parser.alternation()?;
        if parser.position < parser.letters.len() {
            return Err(error("parentheses () not balanced"));
        }
        root
    };
    Ok(Parsed {
        root,
        captures: parser.captures,
        has_backreference: parser.has_backreference,
        ignore_case: parser.options.ignore_case,
    })
}

fn with_case(set: CharSet, options: Options) -> CharSet {
    if options.ignore_case { set.case_insensitive() } else { set }
}

struct Parser {
    letters: Vec<char>,
    position: usize,
    options: Options,
    captures: usize,
    /// The captures that are complete, which a back reference may name.
    closed: Vec<usize>,
    has_backreference: bool,
    depth: usize,
    within_look: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.letters.get(self.position).copied()
    }

    fn peek_at(&self, offset: usize) -> Option<char> {
        self.letters.get(self.position + offset).copied()
    }

    fn eat(&mut self, letter: char) -> bool {
        let found = self.peek() == Some(letter);
        self.position += usize::from(found);
        found
    }

    fn starts_with(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(offset, letter)| self.peek_at(offset) == Some(letter))
    }

    /// `***:`, `***=` and `(?options)` at the beginning.
    fn directors(&mut self) -> Result<()> {
        if self.options.literal {
            return Ok(());
        }
        if self.starts_with("***") {
            match self.peek_at(3) {
                Some(':') => self.position += 4,
                Some('=') => {
                    self.position += 4;
                    self.options.literal = true;
                    return Ok(());
                }
                Some('?') => return Err(error("invalid regexp (reg version 0.8)")),
                _ => return Err(error("quantifier operand invalid")),
            }
        }
        if self.starts_with("(?") && self.peek_at(2).is_some_and(|letter| letter.is_ascii_alphabetic()) {
            self.position += 2;
            loop {
                match self.peek() {
                    Some(')') => {
                        self.position += 1;
                        break;
                    }
                    Some(letter) if letter != 'g' && self.options.set(letter) => self.position += 1,
                    _ => return Err(error("invalid embedded option")),
                }
            }
        }
        Ok(())
    }

    /// White space and comments of the expanded syntax, and `(?#...)`.
    fn skip(&mut self) {
        loop {
            if self.options.expanded {
                match self.peek() {
                    Some(letter) if letter.is_whitespace() => {
                        self.position += 1;
                        continue;
                    }
                    Some('#') => {
                        while self.peek().is_some_and(|letter| letter != '\n') {
                            self.position += 1;
                        }
                        continue;
                    }
                    _ => {}
                }
            }
            if !self.starts_with("(?#") {
                return;
            }
            while self.peek().is_some_and(|letter| letter != ')') {
                self.position += 1;
            }
            self.position = (self.position + 1).min(self.letters.len());
        }
    }

    fn alternation(&mut self) -> Result<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(error("regular expression is too complex"));
        }
        let mut branches = vec![self.branch()?];
        while self.eat('|') {
            branches.push(self.branch()?);
        }
        self.depth -= 1;
        Ok(if branches.len() == 1 { branches.remove(0) } else { Node::Alternate(branches) })
    }

    fn branch(&mut self) -> Result<Node> {
        let mut items = Vec::new();
        loop {
            self.skip();
            match self.peek() {
                None | Some('|') => break,
                Some(')') if self.depth > 1 => break,
                Some(_) => items.push(self.quantified()?),
            }
        }
        Ok(match items.len() {
            0 => Node::Empty,
            1 => items.remove(0),
            _ => Node::Concat(items),
        })
    }

    fn quantified(&mut self) -> Result<Node> {
        let (atom, constraint) = self.atom()?;
        self.skip();
        let Some((min, max, fixed)) = self.quantifier()? else { return Ok(atom) };
        if constraint {
            return Err(error("quantifier operand invalid"));
        }
        let lazy = self.eat('?');
        // A second quantifier has nothing to repeat.
        self.skip();
        let another = matches!(self.peek(), Some('*' | '+' | '?'))
            || (self.peek() == Some('{') && self.peek_at(1).is_some_and(|letter| letter.is_ascii_digit()));
        if another {
            return Err(error("quantifier operand invalid"));
        }
        if max == Some(0) {
            return Ok(Node::Empty);
        }
        let preference = match (fixed, lazy) {
            // `{m}` has the preference of what it repeats.
            (true, _) => None,
            (false, true) => Some(Preference::Shorter),
            (false, false) => Some(Preference::Longer),
        };
        Ok(Node::Repeat { inner: Box::new(atom), min, max, preference })
    }

    fn quantifier(&mut self) -> Result<Option<(u32, Option<u32>, bool)>> {
        match self.peek() {
            Some('*') => {
                self.position += 1;
                Ok(Some((0, None, false)))
            }
            Some('+') => {
                self.position += 1;
                Ok(Some((1, None, false)))
            }
            Some('?') => {
                self.position += 1;
                Ok(Some((0, Some(1), false)))
            }
            Some('{') if self.peek_at(1).is_some_and(|letter| letter.is_ascii_digit()) => {
                self.position += 1;
                let min = self.count()?;
                let (max, fixed) = match self.eat(',') {
                    false => (Some(min), true),
                    true if self.peek().is_some_and(|letter| letter.is_ascii_digit()) => (Some(self.count()?), false),
                    true => (None, false),
                };
                if !self.eat('}') {
                    return Err(match self.peek() {
                        None => error("braces {} not balanced"),
                        Some(_) => error("invalid repetition count(s)"),
                    });
                }
                if max.is_some_and(|max| max < min) {
                    return Err(error("invalid repetition count(s)"));
                }
                Ok(Some((min, max, fixed)))
            }
            _ => Ok(None),
        }
    }

    fn count(&mut self) -> Result<u32> {
        let mut count = 0_u32;
        while let Some(digit) = self.peek().and_then(|letter| letter.to_digit(10)) {
            self.position += 1;
            count = count * 10 + digit;
            if count > MAX_REPEAT {
                return Err(error("invalid repetition count(s)"));
            }
        }
        Ok(count)
    }

    /// An atom, and whether it is a constraint, which cannot be repeated.
    fn atom(&mut self) -> Result<(Node, bool)> {
        let letter = self.peek().ok_or_else(|| SqlError::internal("an atom was expected"))?;
        self.position += 1;
        let options = self.options;
        Ok(match letter {
            '(' => return self.group(),
            ')' => return Err(error("parentheses () not balanced")),
            '[' if self.starts_with("[:<:]]") => {
                self.position += 6;
                (Node::Assert(Assertion::WordStart), true)
            }
            '[' if self.starts_with("[:>:]]") => {
                self.position += 6;
                (Node::Assert(Assertion::WordEnd), true)
            }
            '[' => (Node::Set(self.bracket()?), false),
            '.' => {
                let any = CharSet::any();
                (Node::Set(if options.newline_stops { any.without('\n') } else { any }), false)
            }
            '^' => {
                let at_lines = options.newline_anchors;
                (Node::Assert(if at_lines { Assertion::LineStart } else { Assertion::Start }), true)
            }
            '$' => {
                let at_lines = options.newline_anchors;
                (Node::Assert(if at_lines { Assertion::LineEnd } else { Assertion::End }), true)
            }
            '*' | '+' | '?' => return Err(error("quantifier operand invalid")),
            '{' if self.peek().is_some_and(|letter| letter.is_ascii_digit()) => {
                return Err(error("quantifier operand invalid"));
            }
            '\\' => return self.escape(),
            letter => (Node::Set(with_case(CharSet::of(letter), options)), false),
        })
    }

    fn group(&mut self) -> Result<(Node, bool)> {
        let close = |parser: &mut Parser| {
            if parser.eat(')') { Ok(()) } else { Err(error("parentheses () not balanced")) }
        };
        if self.eat('?') {
            let look = match (self.peek(), self.peek_at(1)) {
                (Some(':'), _) => {
                    self.position += 1;
                    let inner = self.alternation()?;
                    close(self)?;
                    return Ok((inner, false));
                }
                (Some('='), _) => (true, false, 1),
                (Some('!'), _) => (true, true, 1),
                (Some('<'), Some('=')) => (false, false, 2),
                (Some('<'), Some('!')) => (false, true, 2),
                _ => return Err(error("quantifier operand invalid")),
            };
            let (ahead, negative, skip) = look;
            self.position += skip;
            self.within_look += 1;
            let inner = Box::new(self.alternation()?);
            self.within_look -= 1;
            close(self)?;
            return Ok((Node::Look { ahead, negative, inner }, true));
        }
        // Parentheses in a constraint do not capture.
        if self.within_look > 0 {
            let inner = self.alternation()?;
            close(self)?;
            return Ok((inner, false));
        }
        self.captures += 1;
        let index = self.captures;
        let inner = Box::new(self.alternation()?);
        close(self)?;
        self.closed.push(index);
        Ok((Node::Capture { index, inner }, false))
    }

    fn escape(&mut self) -> Result<(Node, bool)> {
        let options = self.options;
        let Some(letter) = self.peek() else { return Err(error("invalid escape \\ sequence")) };
        let assertion = match letter {
            'A' => Some(Assertion::Start),
            'Z' => Some(Assertion::End),
            'm' => Some(Assertion::WordStart),
            'M' => Some(Assertion::WordEnd),
            'y' => Some(Assertion::WordBoundary),
            'Y' => Some(Assertion::NotWordBoundary),
            _ => None,
        };
        if let Some(assertion) = assertion {
            self.position += 1;
            return Ok((Node::Assert(assertion), true));
        }
        if let Some(class) = class_escape(letter) {
            self.position += 1;
            let set = CharSet::class(class).ok_or_else(|| error("invalid character class"))?;
            let set = if letter.is_ascii_uppercase() { set.negated() } else { set };
            let stops = letter.is_ascii_uppercase() && options.newline_stops;
            return Ok((Node::Set(if stops { set.without('\n') } else { set }), false));
        }
        if letter.is_ascii_digit()
            && letter != '0'
            && let Some(index) = self.backreference()?
        {
            self.has_backreference = true;
            return Ok((Node::Backreference(index), false));
        }
        let letter = self.escaped_char()?;
        Ok((Node::Set(with_case(CharSet::of(letter), options)), false))
    }

    /// `\1`, or `\12` when there are so many captures; otherwise several digits are an octal number.
    fn backreference(&mut self) -> Result<Option<usize>> {
        let start = self.position;
        let mut number = 0_usize;
        while let Some(digit) = self.peek().and_then(|letter| letter.to_digit(10)) {
            number = number.saturating_mul(10).saturating_add(digit as usize);
            self.position += 1;
        }
        let single = self.position - start == 1;
        if single || number <= self.captures {
            return if self.closed.contains(&number) {
                Ok(Some(number))
            } else {
                Err(error("invalid backreference number"))
            };
        }
        self.position = start;
        Ok(None)
    }

    /// The character of an escape whose backslash has been read.
    fn escaped_char(&mut self) -> Result<char> {
        let invalid = || error("invalid escape \\ sequence");
        let letter = self.peek().ok_or_else(invalid)?;
        self.position += 1;
        Ok(match letter {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'B' => '\\',
            'c' => {
                let control = self.peek().ok_or_else(invalid)?;
                self.position += 1;
                char::from_u32(control as u32 & 0x1f).ok_or_else(invalid)?
            }
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'u' => self.hexadecimal(4, 4)?,
            'U' => self.hexadecimal(8, 8)?,
            'x' => self.hexadecimal(1, 255)?,
            '0'..='7' => {
                self.position -= 1;
                let mut code = 0;
                let mut digits = 0;
                while let Some(digit) = self.peek().and_then(|letter| letter.to_digit(8)).filter(|_| digits < 3) {
                    code = code * 8 + digit;
                    digits += 1;
                    self.position += 1;
                }
                char::from_u32(code).ok_or_else(invalid)?
            }
            letter if letter.is_ascii_alphanumeric() => return Err(invalid()),
            letter => letter,
        })
    }

    fn hexadecimal(&mut self, min: usize, max: usize) -> Result<char> {
        let invalid = || error("invalid escape \\ sequence");
        let mut code = 0_u32;
        let mut digits = 0;
        while let Some(digit) = self.peek().and_then(|letter| letter.to_digit(16)).filter(|_| digits < max) {
            code = code.checked_mul(16).and_then(|code| code.checked_add(digit)).ok_or_else(invalid)?;
            digits += 1;
            self.position += 1;
        }
        if digits < min {
            return Err(invalid());
        }
        char::from_u32(code).ok_or_else(invalid)
    }

    /// A bracket expression whose `[` has been read.
    fn bracket(&mut self) -> Result<CharSet> {
        let unbalanced = || error("brackets [] not balanced");
        let negated = self.eat('^');
        let mut set = CharSet::empty();
        let mut first = true;
        loop {
            let letter = self.peek().ok_or_else(unbalanced)?;
            if letter == ']' && !first {
                self.position += 1;
                break;
            }
            first = false;
            if self.starts_with("[:") {
                let name = self.named(':')?;
                let class = CharSet::class(&name).ok_or_else(|| error("invalid character class"))?;
                // Case does not matter to the classes of case.
                let class = match name.as_str() {
                    "upper" | "lower" if self.options.ignore_case => class.case_insensitive(),
                    _ => class,
                };
                set.add(&class);
                continue;
            }
            if letter == '\\' && self.peek_at(1).and_then(class_escape).is_some() {
                let escape = self.peek_at(1).unwrap_or_default();
                self.position += 2;
                let class = class_escape(escape).and_then(CharSet::class).unwrap_or_default();
                set.add(&if escape.is_ascii_uppercase() { class.negated() } else { class });
                continue;
            }
            let from = self.bracket_char()?;
            if self.peek() == Some('-') && self.peek_at(1).is_some_and(|letter| letter != ']') {
                self.position += 1;
                let to = self.bracket_char()?;
                if from > to {
                    return Err(error("invalid character range"));
                }
                set.add(&CharSet::range(from, to));
            } else {
                set.add(&CharSet::of(from));
            }
        }
        let set = with_case(set, self.options);
        Ok(match (negated, self.options.newline_stops) {
            (false, _) => set,
            (true, false) => set.negated(),
            (true, true) => set.negated().without('\n'),
        })
    }

    fn bracket_char(&mut self) -> Result<char> {
        let unbalanced = || error("brackets [] not balanced");
        if self.starts_with("[.") || self.starts_with("[=") {
            let name = self.named(self.peek_at(1).unwrap_or_default())?;
            let mut letters = name.chars();
            return match (letters.next(), letters.next()) {
                (Some(letter), None) => Ok(letter),
                _ => collating_name(&name).ok_or_else(|| error("invalid collating element")),
            };
        }
        let letter = self.peek().ok_or_else(unbalanced)?;
        self.position += 1;
        if letter == '\\' { self.escaped_char() } else { Ok(letter) }
    }

    /// The name in `[:name:]`, `[.name.]` or `[=name=]`.
    fn named(&mut self, mark: char) -> Result<String> {
        self.position += 2;
        let mut name = String::new();
        loop {
            match (self.peek(), self.peek_at(1)) {
                (Some(letter), Some(']')) if letter == mark => {
                    self.position += 2;
                    return Ok(name);
                }
                (Some(letter), _) => {
                    name.push(letter);
                    self.position += 1;
                }
                (None, _) => return Err(error("brackets [] not balanced")),
            }
        }
    }
}

fn class_escape(letter: char) -> Option<&'static str> {
    match letter {
        'd' | 'D' => Some("digit"),
        's' | 'S' => Some("space"),
        'w' | 'W' => Some("word"),
        _ => None,
    }
}

/// The names of characters that POSIX lists, those that people use.
fn collating_name(name: &str) -> Option<char> {
    Some(match name {
        "NUL" => '\0',
        "tab" => '\t',
        "newline" => '\n',
        "carriage-return" => '\r',
        "space" => ' ',
        "hyphen" | "hyphen-minus" => '-',
        "period" | "full-stop" => '.',
        "slash" | "solidus" => '/',
        "backslash" | "reverse-solidus" => '\\',
        "circumflex" | "circumflex-accent" => '^',
        "left-square-bracket" => '[',
        "right-square-bracket" => ']',
        "underscore" | "low-line" => '_',
        _ => return None,
    })
}
