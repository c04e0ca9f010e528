//! Templates for numbers, read into patterns and a description of the whole.

use wharf_values::{SqlError, SqlState};

use crate::functions::call::Result;

/// A pattern of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Comma,
    Point,
    Zero,
    Blank,
    /// `D`: the locale's point.
    LocalePoint,
    Exponent,
    FillMode,
    /// `G`
    Group,
    /// `L`
    Currency,
    Minus,
    Nine,
    Plus,
    Brackets,
    Roman {
        upper: bool,
    },
    /// `SG`
    SignAlways,
    /// `SP`
    Spelled,
    /// `S`
    Sign,
    Ordinal {
        upper: bool,
    },
    /// `V`
    Shift,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Pattern(Pattern),
    Text(char),
}

const KEYWORDS: &[(&str, Pattern)] = &[
    (",", Pattern::Comma),
    (".", Pattern::Point),
    ("0", Pattern::Zero),
    ("9", Pattern::Nine),
    ("EEEE", Pattern::Exponent),
    ("FM", Pattern::FillMode),
    ("MI", Pattern::Minus),
    ("PL", Pattern::Plus),
    ("PR", Pattern::Brackets),
    ("SG", Pattern::SignAlways),
    ("SP", Pattern::Spelled),
    ("B", Pattern::Blank),
    // Currency by its ISO name, which PostgreSQL reads and does not write.
    ("C", Pattern::Spelled),
    ("D", Pattern::LocalePoint),
    ("G", Pattern::Group),
    ("L", Pattern::Currency),
    ("S", Pattern::Sign),
    ("V", Pattern::Shift),
];

/// Where the sign of `S` stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Anchor {
    #[default]
    None,
    Before,
    After,
}

/// A template and what follows from its patterns together.
#[derive(Clone, Debug, Default)]
pub(super) struct Template {
    pub(super) nodes: Vec<Node>,
    /// Digits before and after the point.
    pub(super) before: usize,
    pub(super) after: usize,
    /// Digits after `V`.
    pub(super) shift: usize,
    pub(super) has_shift: bool,
    /// The place of the first and of the last `0`, counted from 1.
    pub(super) zero_start: usize,
    pub(super) zero_end: usize,
    pub(super) zero: bool,
    pub(super) decimal: bool,
    pub(super) fill_mode: bool,
    pub(super) blank: bool,
    pub(super) sign: bool,
    pub(super) anchor: Anchor,
    /// The digits before an `S` that stands before the point.
    pub(super) digits_before_sign: usize,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) brackets: bool,
    pub(super) roman: bool,
    pub(super) exponent: bool,
}

fn error(message: &str) -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, message)
}

fn keyword(text: &str) -> Option<(usize, Pattern)> {
    // The only patterns whose case means something.
    for (name, pattern) in [
        ("RN", Pattern::Roman { upper: true }),
        ("rn", Pattern::Roman { upper: false }),
        ("TH", Pattern::Ordinal { upper: true }),
        ("th", Pattern::Ordinal { upper: false }),
    ] {
        if text.starts_with(name) {
            return Some((2, pattern));
        }
    }
    KEYWORDS.iter().find_map(|(name, pattern)| {
        let head = text.get(..name.len())?;
        let lower = head.bytes().all(|letter| !letter.is_ascii_uppercase()) && head.eq_ignore_ascii_case(name);
        (head == *name || lower).then_some((name.len(), *pattern))
    })
}

/// Reads a template.
///
/// # Errors
/// `42601` for patterns that do not go together.
pub(super) fn parse(text: &str) -> Result<Template> {
    let mut template = Template::default();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((length, pattern)) = keyword(rest) {
            rest = &rest[length..];
            template.add(pattern)?;
            template.nodes.push(Node::Pattern(pattern));
            continue;
        }
        if first == '"' {
            let mut letters = rest[1..].chars();
            loop {
                match letters.next() {
                    None | Some('"') => break,
                    Some('\\') => template.nodes.push(Node::Text(letters.next().unwrap_or('\\'))),
                    Some(letter) => template.nodes.push(Node::Text(letter)),
                }
            }
            rest = letters.as_str();
            continue;
        }
        let letter = if first == '\\' && rest[1..].starts_with('"') {
            rest = &rest[1..];
            '"'
        } else {
            first
        };
        rest = &rest[letter.len_utf8()..];
        template.nodes.push(Node::Text(letter));
    }
    Ok(template)
}

impl Template {
    /// PostgreSQL's `NUMDesc_prepare`.
    fn add(&mut self, pattern: Pattern) -> Result<()> {
        if self.exponent && pattern != Pattern::Exponent {
            return Err(error("\"EEEE\" must be the last pattern used"));
        }
        match pattern {
            Pattern::Nine => {
                if self.brackets {
                    return Err(error("\"9\" must be ahead of \"PR\""));
                }
                if self.has_shift {
                    self.shift += 1;
                } else if self.decimal {
                    self.after += 1;
                } else {
                    self.before += 1;
                }
            }
            Pattern::Zero => {
                if self.brackets {
                    return Err(error("\"0\" must be ahead of \"PR\""));
                }
                if !self.zero && !self.decimal {
                    self.zero = true;
                    self.zero_start = self.before + 1;
                }
                if self.decimal {
                    self.after += 1;
                } else {
                    self.before += 1;
                }
                self.zero_end = self.before + self.after;
            }
            Pattern::Blank => {
                if self.before == 0 && self.after == 0 && !self.zero {
                    self.blank = true;
                }
            }
            Pattern::LocalePoint | Pattern::Point => {
                if self.decimal {
                    return Err(error("multiple decimal points"));
                }
                if self.has_shift {
                    return Err(error("cannot use \"V\" and decimal point together"));
                }
                self.decimal = true;
            }
            Pattern::FillMode => self.fill_mode = true,
            Pattern::Sign => {
                if self.sign {
                    return Err(error("cannot use \"S\" twice"));
                }
                if self.plus || self.minus || self.brackets {
                    return Err(error("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
                }
                self.sign = true;
                if !self.decimal {
                    self.anchor = Anchor::Before;
                    self.digits_before_sign = self.before;
                } else if self.anchor == Anchor::None {
                    self.anchor = Anchor::After;
                }
            }
            Pattern::Minus | Pattern::Plus | Pattern::SignAlways => {
                if self.sign {
                    let name = match pattern {
                        Pattern::Minus => "MI",
                        Pattern::Plus => "PL",
                        _ => "SG",
                    };
                    return Err(error(&format!("cannot use \"S\" and \"{name}\" together")));
                }
                self.minus |= pattern != Pattern::Plus;
                self.plus |= pattern != Pattern::Minus;
            }
            Pattern::Brackets => {
                if self.sign || self.plus || self.minus {
                    return Err(error("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together"));
                }
                self.brackets = true;
            }
            Pattern::Roman { .. } => self.roman = true,
            Pattern::Shift => {
                if self.decimal {
                    return Err(error("cannot use \"V\" and decimal point together"));
                }
                self.has_shift = true;
            }
            Pattern::Exponent => {
                if self.exponent {
                    return Err(error("cannot use \"EEEE\" twice"));
                }
                let others = self.blank
                    || self.fill_mode
                    || self.sign
                    || self.brackets
                    || self.minus
                    || self.plus
                    || self.roman
                    || self.has_shift;
                if others {
                    return Err(error("\"EEEE\" is incompatible with other formats")
                        .with_detail("\"EEEE\" may only be used together with digit and decimal point patterns."));
                }
                self.exponent = true;
            }
            Pattern::Comma | Pattern::Group | Pattern::Currency | Pattern::Ordinal { .. } | Pattern::Spelled => {}
        }
        Ok(())
    }
}
