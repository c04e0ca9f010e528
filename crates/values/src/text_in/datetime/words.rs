//! The words of date, time and interval input.
//!
//! What always holds: words are lower case and count by their first ten characters, as in PostgreSQL (`microsecond` and
//! `microseconds` are one word). The abbreviations of time zones are a table of their own.

/// What a word means in a date or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::text_in) enum Word {
    Ignored,
    Special(Special),
    Month(i32),
    DayOfWeek,
    AmPm(AmPm),
    Era {
        before_christ: bool,
    },
    /// A letter that says what the number after it is (`y2001m02d04`).
    Prefix(Prefix),
    /// `t` between date and time.
    IsoTime,
    /// `dst` after a zone: an hour more.
    DaylightModifier,
}

/// Words that stand for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::text_in) enum Special {
    Now,
    Today,
    Tomorrow,
    Yesterday,
    Epoch,
    Infinity,
    MinusInfinity,
    /// `allballs`: midnight UTC.
    Midnight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::text_in) enum AmPm {
    Am,
    Pm,
}

/// What the next number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::text_in) enum Prefix {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Julian,
    Time,
    IsoYear,
}

/// How many characters of a word count.
const SIGNIFICANT: usize = 10;

fn significant(word: &str) -> &str {
    // Words are made of ASCII letters.
    &word[..word.len().min(SIGNIFICANT)]
}

/// Looks up a word of dates and times.
pub(in crate::text_in) fn date_word(word: &str) -> Option<Word> {
    Some(match significant(word) {
        "-infinity" => Word::Special(Special::MinusInfinity),
        "infinity" => Word::Special(Special::Infinity),
        "epoch" => Word::Special(Special::Epoch),
        "now" => Word::Special(Special::Now),
        "today" => Word::Special(Special::Today),
        "tomorrow" => Word::Special(Special::Tomorrow),
        "yesterday" => Word::Special(Special::Yesterday),
        "allballs" => Word::Special(Special::Midnight),
        "ad" => Word::Era { before_christ: false },
        "bc" => Word::Era { before_christ: true },
        "am" => Word::AmPm(AmPm::Am),
        "pm" => Word::AmPm(AmPm::Pm),
        "at" | "on" => Word::Ignored,
        "jan" | "january" => Word::Month(1),
        "feb" | "february" => Word::Month(2),
        "mar" | "march" => Word::Month(3),
        "apr" | "april" => Word::Month(4),
        "may" => Word::Month(5),
        "jun" | "june" => Word::Month(6),
        "jul" | "july" => Word::Month(7),
        "aug" | "august" => Word::Month(8),
        "sep" | "sept" | "september" => Word::Month(9),
        "oct" | "october" => Word::Month(10),
        "nov" | "november" => Word::Month(11),
        "dec" | "december" => Word::Month(12),
        "sun" | "sunday" | "mon" | "monday" | "tue" | "tues" | "tuesday" | "wed" | "weds" | "wednesday" | "thu"
        | "thur" | "thurs" | "thursday" | "fri" | "friday" | "sat" | "saturday" => Word::DayOfWeek,
        "y" => Word::Prefix(Prefix::Year),
        "m" => Word::Prefix(Prefix::Month),
        "d" => Word::Prefix(Prefix::Day),
        "h" => Word::Prefix(Prefix::Hour),
        "mm" => Word::Prefix(Prefix::Minute),
        "s" => Word::Prefix(Prefix::Second),
        "j" | "jd" | "julian" => Word::Prefix(Prefix::Julian),
        "isoyear" => Word::Prefix(Prefix::IsoYear),
        "t" => Word::IsoTime,
        "dst" => Word::DaylightModifier,
        // Words of EXTRACT, in the same table in PostgreSQL, that no date may contain.
        _ => return None,
    })
}

/// Words that are known in dates but may not stand in one (`dow`, `doy`, `isodow`).
pub(in crate::text_in) fn is_reserved_word(word: &str) -> bool {
    matches!(word, "dow" | "doy" | "isodow")
}

/// A unit of intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::text_in) enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    /// `timezone` and its parts, which no interval may contain.
    Zone,
}

/// What a word means in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::text_in) enum IntervalWord {
    Ignored,
    Ago,
    Unit(Unit),
}

/// Looks up a word of intervals.
pub(in crate::text_in) fn interval_word(word: &str) -> Option<IntervalWord> {
    use Unit as U;
    let unit = match significant(word) {
        "@" => return Some(IntervalWord::Ignored),
        "ago" => return Some(IntervalWord::Ago),
        "us" | "usec" | "usecs" | "useconds" | "usecond" | "microsecon" => U::Microsecond,
        "ms" | "msec" | "msecs" | "mseconds" | "msecond" | "millisecon" => U::Millisecond,
        "s" | "sec" | "secs" | "second" | "seconds" => U::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => U::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => U::Hour,
        "d" | "day" | "days" => U::Day,
        "w" | "week" | "weeks" => U::Week,
        "mon" | "mons" | "month" | "months" => U::Month,
        "qtr" | "quarter" => U::Quarter,
        "y" | "yr" | "yrs" | "year" | "years" => U::Year,
        "dec" | "decs" | "decade" | "decades" => U::Decade,
        "c" | "cent" | "century" | "centuries" => U::Century,
        "mil" | "mils" | "millennium" | "millennia" => U::Millennium,
        "timezone" | "timezone_h" | "timezone_m" => U::Zone,
        _ => return None,
    };
    Some(IntervalWord::Unit(unit))
}
