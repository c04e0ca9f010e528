//! Templates for dates and times, read into fields and text.

use crate::functions::call::Result;

/// A field of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// `AD`, `B.C.`: with dots or without.
    Era {
        dots: bool,
    },
    /// `AM`, `P.M.`
    Meridiem {
        dots: bool,
    },
    Century,
    DayName,
    DayNameShort,
    DayOfYear,
    IsoDayOfYear,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    /// `FF1` to `FF6`
    Fraction(u8),
    Fixed,
    Hour12,
    Hour24,
    IsoWeek,
    /// `IYYY` to `I`, by the number of digits.
    IsoYear(u8),
    Julian,
    Minute,
    Month,
    MonthName,
    MonthNameShort,
    Millisecond,
    Microsecond,
    Offset,
    Quarter,
    RomanMonth,
    Second,
    SecondOfDay,
    ZoneHour,
    ZoneMinute,
    Zone,
    Week,
    WeekOfMonth,
    /// `Y,YYY`
    YearWithComma,
    /// `YYYY` to `Y`, by the number of digits.
    Year(u8),
}

/// The letters of a field, as the template has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Capital,
    Lower,
}

/// The two calendars of templates, which must not be mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Convention {
    Gregorian,
    IsoWeek,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Field {
        field: Field,
        /// The keyword as PostgreSQL names it in errors.
        name: &'static str,
        case: Case,
        /// `FM`: without padding.
        fill_mode: bool,
        /// `TH` or `th`.
        ordinal: Option<bool>,
    },
    Space(char),
    Separator(char),
    Text(char),
}

/// The keywords in the order in which they are tried: a longer one before its beginnings.
const KEYWORDS: &[(&str, Field)] = &[
    ("A.D.", Field::Era { dots: true }),
    ("A.M.", Field::Meridiem { dots: true }),
    ("AD", Field::Era { dots: false }),
    ("AM", Field::Meridiem { dots: false }),
    ("B.C.", Field::Era { dots: true }),
    ("BC", Field::Era { dots: false }),
    ("CC", Field::Century),
    ("DAY", Field::DayName),
    ("DDD", Field::DayOfYear),
    ("DD", Field::Day),
    ("DY", Field::DayNameShort),
    ("Day", Field::DayName),
    ("Dy", Field::DayNameShort),
    ("D", Field::DayOfWeek),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("FX", Field::Fixed),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("IDDD", Field::IsoDayOfYear),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("I", Field::IsoYear(1)),
    ("J", Field::Julian),
    ("MI", Field::Minute),
    ("MM", Field::Month),
    ("MONTH", Field::MonthName),
    ("MON", Field::MonthNameShort),
    ("MS", Field::Millisecond),
    ("Month", Field::MonthName),
    ("Mon", Field::MonthNameShort),
    ("OF", Field::Offset),
    ("P.M.", Field::Meridiem { dots: true }),
    ("PM", Field::Meridiem { dots: false }),
    ("Q", Field::Quarter),
    ("RM", Field::RomanMonth),
    ("SSSSS", Field::SecondOfDay),
    ("SSSS", Field::SecondOfDay),
    ("SS", Field::Second),
    ("TZH", Field::ZoneHour),
    ("TZM", Field::ZoneMinute),
    ("TZ", Field::Zone),
    ("US", Field::Microsecond),
    ("WW", Field::Week),
    ("W", Field::WeekOfMonth),
    ("Y,YYY", Field::YearWithComma),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
];

impl Field {
    /// Whether the field is written in digits alone.
    pub(super) fn is_digits(self) -> bool {
        !matches!(
            self,
            Field::Era { .. }
                | Field::Meridiem { .. }
                | Field::DayName
                | Field::DayNameShort
                | Field::Fixed
                | Field::MonthName
                | Field::MonthNameShort
                | Field::Offset
                | Field::RomanMonth
                | Field::ZoneHour
                | Field::ZoneMinute
                | Field::Zone
        )
    }

    pub(super) fn convention(self) -> Option<Convention> {
        match self {
            Field::DayOfYear
            | Field::Day
            | Field::DayOfWeek
            | Field::Month
            | Field::MonthName
            | Field::MonthNameShort
            | Field::RomanMonth
            | Field::Week
            | Field::WeekOfMonth
            | Field::YearWithComma
            | Field::Year(_) => Some(Convention::Gregorian),
            Field::IsoDayOfYear | Field::IsoDayOfWeek | Field::IsoWeek | Field::IsoYear(_) => Some(Convention::IsoWeek),
            _ => None,
        }
    }
}

/// The keyword a text begins with.
fn keyword(text: &str) -> Option<(&'static str, Field, Case)> {
    for (name, field) in KEYWORDS {
        let Some(head) = text.get(..name.len()) else { continue };
        if head == *name {
            let capital = name.len() > 1 && name.as_bytes()[1].is_ascii_lowercase();
            return Some((name, *field, if capital { Case::Capital } else { Case::Upper }));
        }
        let all_upper = !name.bytes().any(|letter| letter.is_ascii_lowercase());
        let all_lower = !head.bytes().any(|letter| letter.is_ascii_uppercase());
        if all_upper && all_lower && head.eq_ignore_ascii_case(name) {
            return Some((name, *field, Case::Lower));
        }
    }
    None
}

/// ASCII punctuation, which separates fields.
pub(super) fn is_separator(letter: char) -> bool {
    letter.is_ascii_punctuation()
}

/// Reads a template; every text is one.
pub(super) fn parse(template: &str) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let (mut fill_mode, mut translated) = (false, false);
        if let Some(after) = ["FM", "fm", "TM", "tm"].iter().find_map(|prefix| rest.strip_prefix(prefix)) {
            // TM asks for names in the locale's language, which is English, and without blanks behind them.
            fill_mode = rest.starts_with(['F', 'f']);
            translated = !fill_mode;
            rest = after;
        }
        if let Some((name, field, case)) = keyword(rest) {
            rest = &rest[name.len()..];
            let fill_mode = fill_mode || (translated && matches!(field, Field::DayName | Field::MonthName));
            let ordinal = if rest.starts_with("TH") {
                Some(true)
            } else if rest.starts_with("th") {
                Some(false)
            } else {
                None
            };
            if ordinal.is_some() || rest.starts_with("SP") {
                rest = &rest[2..];
            }
            nodes.push(Node::Field { field, name, case, fill_mode, ordinal });
            continue;
        }
        let Some(first) = rest.chars().next() else { break };
        if first == '"' {
            rest = quoted(&rest[1..], &mut nodes);
            continue;
        }
        // A backslash only matters before a double quote.
        let letter = if first == '\\' && rest[1..].starts_with('"') {
            rest = &rest[1..];
            '"'
        } else {
            first
        };
        rest = &rest[letter.len_utf8()..];
        nodes.push(if is_separator(letter) {
            Node::Separator(letter)
        } else if letter.is_ascii_whitespace() || letter == '\u{b}' {
            Node::Space(letter)
        } else {
            Node::Text(letter)
        });
    }
    Ok(nodes)
}

/// Reads the rest of a quoted text, in which a backslash quotes the next character.
fn quoted<'a>(text: &'a str, nodes: &mut Vec<Node>) -> &'a str {
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return letters.as_str(),
            '\\' => nodes.push(Node::Text(letters.next().unwrap_or('\\'))),
            letter => nodes.push(Node::Text(letter)),
        }
    }
    ""
}
