//! Dates and times in every form PostgreSQL reads that is not plain ISO: month names, either order of day and month,
//! run-together digits, day of year, Julian days, AM and PM, BC, time zones by offset, abbreviation or name, and the
//! words (`epoch`, `infinity`, and with a clock `now`, `today`, `tomorrow`, `yesterday`).
//!
//! What always holds: each part of a date is set once; a field is understood from what the fields before it have set,
//! by the rules of PostgreSQL's manual (Appendix B). This is not the hot path: it allocates.

use super::datetime_fields::{Field, Kind};
use super::datetime_words::{AmPm, Prefix, Special, Word, date_word};
use super::shown;
use crate::abbreviations::{self, Meaning};
use crate::calendar::{
    MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, SECONDS_PER_DAY, UNIX_EPOCH_JULIAN,
    civil_from_days, days_from_civil, days_in_month,
};
use crate::error::{SqlError, SqlState};
use crate::format::DateOrder;
use crate::time_zone::{MAX_OFFSET_HOURS, TimeZone};

/// What a text depends on besides itself.
pub(super) struct Context<'a> {
    pub(super) order: DateOrder,
    pub(super) zone: &'a TimeZone,
    /// Microseconds since 1970-01-01 UTC.
    pub(super) now: Option<i64>,
}

/// What a text turned out to be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decoded {
    Moment(Moment),
    Epoch,
    Infinity,
    MinusInfinity,
}

/// A date and time by the clock on the wall, and its offset.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moment {
    /// 0 is 1 BC once the date is complete.
    pub(super) year: i32,
    pub(super) month: i32,
    pub(super) day: i32,
    pub(super) hour: i32,
    pub(super) minute: i32,
    pub(super) second: i32,
    pub(super) micro: i32,
    /// Seconds east of UTC.
    pub(super) offset: i32,
    day_of_year: i32,
}

/// Why a text could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DecodeError {
    BadFormat,
    FieldOverflow,
    /// A month or day out of range, which another order of the fields might cure.
    MonthDayOverflow,
    IntervalOverflow,
    OffsetOverflow,
    UnknownZone(String),
    /// A word that means the time of reading, where there is no such time.
    NoClock(String),
}

impl DecodeError {
    /// The error in PostgreSQL's words.
    pub(super) fn into_sql(self, text: &[u8], type_name: &str) -> SqlError {
        let text = shown(text);
        let field = |code| SqlError::new(code, format!("date/time field value out of range: \"{text}\""));
        match self {
            DecodeError::BadFormat => SqlError {
                code: SqlState::INVALID_DATETIME_FORMAT,
                ..SqlError::invalid_text(type_name, &text)
            },
            DecodeError::FieldOverflow => field(SqlState::DATETIME_FIELD_OVERFLOW),
            DecodeError::MonthDayOverflow => field(SqlState::DATETIME_FIELD_OVERFLOW)
                .with_hint("Perhaps you need a different \"datestyle\" setting."),
            DecodeError::IntervalOverflow => SqlError::new(
                SqlState::INTERVAL_FIELD_OVERFLOW,
                format!("interval field value out of range: \"{text}\""),
            ),
            DecodeError::OffsetOverflow => SqlError::new(
                SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
                format!("time zone displacement out of range: \"{text}\""),
            ),
            DecodeError::UnknownZone(name) => SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("time zone \"{name}\" not recognized"),
            ),
            DecodeError::NoClock(word) => {
                SqlError::unsupported(format!("date/time value \"{word}\" is not supported here"))
                    .with_hint("Use current_date or current_timestamp.")
            }
        }
    }
}

/// The fields that have been set, one bit each.
mod mask {
    pub(super) const YEAR: u32 = 1;
    pub(super) const MONTH: u32 = 1 << 1;
    pub(super) const DAY: u32 = 1 << 2;
    pub(super) const HOUR: u32 = 1 << 3;
    pub(super) const MINUTE: u32 = 1 << 4;
    pub(super) const SECOND: u32 = 1 << 5;
    pub(super) const FRACTION: u32 = 1 << 6;
    pub(super) const ZONE: u32 = 1 << 7;
    pub(super) const DAYLIGHT: u32 = 1 << 8;
    pub(super) const DAYLIGHT_MODIFIER: u32 = 1 << 9;
    pub(super) const DAY_OF_YEAR: u32 = 1 << 10;
    pub(super) const DAY_OF_WEEK: u32 = 1 << 11;
    pub(super) const AM_PM: u32 = 1 << 12;
    pub(super) const ERA: u32 = 1 << 13;
    pub(super) const DATE: u32 = YEAR | MONTH | DAY;
    pub(super) const SECONDS: u32 = SECOND | FRACTION;
    pub(super) const TIME: u32 = HOUR | MINUTE | SECONDS;
}

type Step<T> = Result<T, DecodeError>;
use DecodeError::{BadFormat, FieldOverflow};

/// Reads the fields of a date, with or without a time.
pub(super) fn decode_date_time(fields: &[Field], context: &Context<'_>) -> Step<Decoded> {
    let mut decoder = Decoder::new(context);
    let mut special = None;
    for (at, field) in fields.iter().enumerate() {
        let set = match field.kind {
            Kind::Date => decoder.date_field(&field.text)?,
            Kind::Time => {
                match decoder.prefix.take() {
                    None | Some(Prefix::Time) => {}
                    Some(_) => return Err(BadFormat),
                }
                let set = decoder.time(&field.text)?;
                decoder.check_time()?;
                set
            }
            Kind::Signed => {
                decoder.moment.offset = offset(&field.text)?;
                mask::ZONE
            }
            Kind::Number => match decoder.prefix {
                Some(prefix) => decoder.prefixed_number(prefix, &field.text)?,
                None => decoder.number_in_date(&field.text)?,
            },
            Kind::Text | Kind::Special => {
                let next = fields.get(at + 1).map(|field| field.kind);
                match decoder.word(&field.text, next)? {
                    Said::Fields(set) => set,
                    Said::Nothing => continue,
                    Said::Instead(decoded) => {
                        special = Some(decoded);
                        mask::DATE | mask::TIME | mask::ZONE
                    }
                }
            }
        };
        decoder.set(set)?;
    }
    decoder.validate_date()?;
    decoder.apply_am_pm()?;
    if let Some(special) = special {
        return Ok(special);
    }
    if decoder.seen & mask::DATE != mask::DATE {
        return Err(BadFormat);
    }
    decoder.resolve_zone()?;
    Ok(Decoded::Moment(decoder.moment))
}

/// Reads the fields of a time of day. A date and a zone may be there, to no effect.
pub(super) fn decode_time_only(fields: &[Field], context: &Context<'_>) -> Step<Moment> {
    let mut decoder = Decoder::new(context);
    let last = fields.last().map(|field| field.kind);
    for (at, field) in fields.iter().enumerate() {
        let may_be_date = at == 0 && fields.len() >= 2;
        let set = match field.kind {
            Kind::Date => {
                if may_be_date && (last == Some(Kind::Date) || fields[1].kind == Kind::Time) {
                    decoder.date(&field.text)?
                } else if field.text.starts_with(|c: char| c.is_ascii_digit()) {
                    decoder.time_with_offset(&field.text, decoder.seen | mask::DATE)?
                } else {
                    decoder.named_zone(&field.text)?
                }
            }
            Kind::Time => {
                match decoder.prefix.take() {
                    None | Some(Prefix::Time) => {}
                    Some(_) => return Err(BadFormat),
                }
                decoder.time(&field.text)?
            }
            Kind::Signed => {
                decoder.moment.offset = offset(&field.text)?;
                mask::ZONE
            }
            Kind::Number => match decoder.prefix {
                Some(prefix) => decoder.prefixed_number(prefix, &field.text)?,
                None => {
                    let point = field.text.find('.');
                    let seen = decoder.seen | mask::DATE;
                    match point {
                        Some(_) if may_be_date && last == Some(Kind::Date) => decoder.date(&field.text)?,
                        Some(point) if point > 2 => decoder.run_together(&field.text, seen)?,
                        Some(_) => return Err(BadFormat),
                        None if field.text.len() > 4 => decoder.run_together(&field.text, seen)?,
                        None => decoder.number(&field.text, false, seen)?,
                    }
                }
            },
            Kind::Text | Kind::Special => {
                let next = fields.get(at + 1).map(|field| field.kind);
                decoder.word_in_time(&field.text, next)?
            }
        };
        if set == 0 {
            continue;
        }
        decoder.set(set)?;
    }
    decoder.validate_date()?;
    decoder.apply_am_pm()?;
    decoder.check_time()?;
    if decoder.seen & mask::TIME != mask::TIME {
        return Err(BadFormat);
    }
    if decoder.zone.is_some() {
        if decoder.seen & mask::DAYLIGHT_MODIFIER != 0 {
            return Err(BadFormat);
        }
        // A zone with daylight saving has no offset without a date.
        let needs_date = decoder.zone.as_ref().is_some_and(|zone| !zone.has_one_offset());
        if needs_date && decoder.seen & mask::DATE != mask::DATE {
            return Err(BadFormat);
        }
    } else if decoder.seen & mask::ZONE == 0 && decoder.seen & mask::DAYLIGHT_MODIFIER != 0 {
        return Err(BadFormat);
    }
    Ok(decoder.moment)
}

/// What a word contributed.
enum Said {
    Fields(u32),
    Nothing,
    Instead(Decoded),
}

/// A zone that needs the date before its offset is known.
enum Zone {
    Named(TimeZone),
    Abbreviation(String, TimeZone),
}

impl Zone {
    fn has_one_offset(&self) -> bool {
        match self {
            Zone::Named(zone) | Zone::Abbreviation(_, zone) => zone.never_changes(),
        }
    }
}

struct Decoder<'a> {
    context: &'a Context<'a>,
    moment: Moment,
    seen: u32,
    prefix: Option<Prefix>,
    am_pm: Option<AmPm>,
    text_month: bool,
    julian: bool,
    short_year: bool,
    before_christ: bool,
    zone: Option<Zone>,
}

impl<'a> Decoder<'a> {
    fn new(context: &'a Context<'a>) -> Self {
        Decoder {
            context,
            moment: Moment::default(),
            seen: 0,
            prefix: None,
            am_pm: None,
            text_month: false,
            julian: false,
            short_year: false,
            before_christ: false,
            zone: None,
        }
    }

    /// Records what a field has set; nothing may be set twice.
    fn set(&mut self, fields: u32) -> Step<()> {
        if fields & self.seen != 0 {
            return Err(BadFormat);
        }
        self.seen |= fields;
        Ok(())
    }

    /// A field with delimiters: a date, or once there is one, a zone's name or a run-together time with an offset.
    fn date_field(&mut self, text: &str) -> Step<u32> {
        if self.prefix == Some(Prefix::Julian) {
            self.prefix = None;
            let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            self.set_julian(integer(&text[..digits])?)?;
            self.moment.offset = offset(&text[digits..])?;
            return Ok(mask::DATE | mask::TIME | mask::ZONE);
        }
        let has_day = self.seen & (mask::MONTH | mask::DAY) == mask::MONTH | mask::DAY;
        if self.prefix.is_none() && !has_day {
            return self.date(text);
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) || self.prefix.is_some() {
            if !matches!(self.prefix.take(), None | Some(Prefix::Time)) {
                return Err(BadFormat);
            }
            self.time_with_offset(text, self.seen)
        } else {
            self.named_zone(text)
        }
    }

    /// `hhmmss-zz`
    fn time_with_offset(&mut self, text: &str, seen: u32) -> Step<u32> {
        if self.seen & mask::TIME == mask::TIME {
            return Err(BadFormat);
        }
        let at = text.find('-').ok_or(BadFormat)?;
        self.moment.offset = offset(&text[at..])?;
        Ok(self.run_together(&text[..at], seen)? | mask::ZONE)
    }

    fn named_zone(&mut self, text: &str) -> Step<u32> {
        let zone = TimeZone::by_name(text).ok_or_else(|| DecodeError::UnknownZone(text.to_owned()))?;
        self.zone = Some(Zone::Named(zone));
        Ok(mask::ZONE)
    }

    /// A number after a letter that says what it is.
    fn prefixed_number(&mut self, prefix: Prefix, text: &str) -> Step<u32> {
        let (whole, fraction) = match text.find('.') {
            Some(point) => (&text[..point], Some(&text[point..])),
            None => (text, None),
        };
        let value = integer(whole)?;
        if fraction.is_some() && !matches!(prefix, Prefix::Julian | Prefix::Time | Prefix::Second) {
            return Err(BadFormat);
        }
        let set = match prefix {
            Prefix::Year => {
                self.moment.year = value;
                mask::YEAR
            }
            // After a month and an hour, `m` is minutes.
            Prefix::Month if self.seen & mask::MONTH != 0 && self.seen & mask::HOUR != 0 => {
                self.moment.minute = value;
                mask::MINUTE
            }
            Prefix::Month => {
                self.moment.month = value;
                mask::MONTH
            }
            Prefix::Day => {
                self.moment.day = value;
                mask::DAY
            }
            Prefix::Hour => {
                self.moment.hour = value;
                mask::HOUR
            }
            Prefix::Minute => {
                self.moment.minute = value;
                mask::MINUTE
            }
            Prefix::Second => {
                self.moment.second = value;
                match fraction {
                    Some(fraction) => {
                        self.moment.micro = fraction_micros(fraction)?;
                        mask::SECONDS
                    }
                    None => mask::SECOND,
                }
            }
            Prefix::Julian => {
                self.set_julian(value)?;
                match fraction {
                    Some(fraction) => {
                        self.set_micros_of_day((parse_fraction(fraction)? * MICROS_PER_DAY as f64) as i64);
                        mask::DATE | mask::TIME
                    }
                    None => mask::DATE,
                }
            }
            Prefix::Time => {
                let set = self.run_together(text, self.seen | mask::DATE)?;
                if set != mask::TIME {
                    return Err(BadFormat);
                }
                set
            }
            Prefix::IsoYear => return Err(BadFormat),
        };
        self.prefix = None;
        Ok(set)
    }

    fn set_julian(&mut self, day: i32) -> Step<()> {
        if day < 0 {
            return Err(FieldOverflow);
        }
        self.set_date(i64::from(day) - UNIX_EPOCH_JULIAN);
        self.julian = true;
        Ok(())
    }

    fn set_date(&mut self, days: i64) {
        let date = civil_from_days(days);
        self.moment.year = date.year;
        self.moment.month = date.month as i32;
        self.moment.day = date.day as i32;
    }

    fn set_micros_of_day(&mut self, micros: i64) {
        self.moment.hour = (micros / MICROS_PER_HOUR) as i32;
        self.moment.minute = (micros % MICROS_PER_HOUR / MICROS_PER_MINUTE) as i32;
        self.moment.second = (micros % MICROS_PER_MINUTE / MICROS_PER_SECOND) as i32;
        self.moment.micro = (micros % MICROS_PER_SECOND) as i32;
    }

    /// A number that stands alone, in a date.
    fn number_in_date(&mut self, text: &str) -> Step<u32> {
        let point = text.find('.');
        if point.is_some() && self.seen & mask::DATE == 0 {
            return self.date(text);
        }
        if point.is_some_and(|point| point > 2) {
            return self.run_together(text, self.seen);
        }
        // Five digits are a year; six and more are a date or a time, unless both are there already.
        if text.len() >= 6 && (self.seen & mask::DATE == 0 || self.seen & mask::TIME == 0) {
            return self.run_together(text, self.seen);
        }
        self.number(text, self.text_month, self.seen)
    }

    /// A date with delimiters.
    fn date(&mut self, text: &str) -> Step<u32> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
            let Some(first) = rest.chars().next() else { return Err(BadFormat) };
            let same = |c: char| {
                if first.is_ascii_digit() { c.is_ascii_digit() } else { c.is_ascii_alphabetic() }
            };
            let end = rest.find(|c: char| !same(c)).unwrap_or(rest.len());
            parts.push(&rest[..end]);
            // One character after a part is dropped, whatever it is.
            rest = &rest[(end + 1).min(rest.len())..];
        }
        let mut seen = self.seen;
        let mut set = 0;
        let mut text_month = false;
        // A month's name first, since it leaves no doubt about the rest.
        for part in parts.iter().filter(|part| part.starts_with(|c: char| c.is_ascii_alphabetic())) {
            match date_word(part) {
                Some(Word::Month(month)) if seen & mask::MONTH == 0 => {
                    self.moment.month = month;
                    text_month = true;
                    seen |= mask::MONTH;
                    set |= mask::MONTH;
                }
                Some(Word::Ignored) => {}
                _ => return Err(BadFormat),
            }
        }
        for part in parts.iter().filter(|part| part.starts_with(|c: char| c.is_ascii_digit())) {
            let part_set = self.number(part, text_month, seen)?;
            if part_set & seen != 0 {
                return Err(BadFormat);
            }
            seen |= part_set;
            set |= part_set;
        }
        if seen & !(mask::DAY_OF_YEAR | mask::ZONE) != mask::DATE {
            return Err(BadFormat);
        }
        Ok(set)
    }

    /// `hh:mm`, `hh:mm:ss`, `hh:mm:ss.f`, `mm:ss.f`
    fn time(&mut self, text: &str) -> Step<u32> {
        let clock = read_clock(text)?;
        let small = i32::try_from(clock.hour).map_err(|_| FieldOverflow)?;
        self.moment.hour = small;
        self.moment.minute = clock.minute;
        self.moment.second = clock.second;
        self.moment.micro = clock.micro;
        Ok(mask::TIME)
    }

    /// A plain number, understood from what is known so far.
    fn number(&mut self, text: &str, text_month: bool, seen: u32) -> Step<u32> {
        let digits = text.find('.').unwrap_or(text.len());
        let value = integer(&text[..digits])?;
        if digits < text.len() {
            if digits > 2 {
                return self.run_together(text, seen | mask::DATE);
            }
            self.moment.micro = fraction_micros(&text[digits..])?;
        }
        let date = seen & mask::DATE;
        if text.len() == 3 && date == mask::YEAR && (1..=366).contains(&value) {
            self.moment.day_of_year = value;
            return Ok(mask::DAY_OF_YEAR | mask::MONTH | mask::DAY);
        }
        let year_first = text.len() >= 3 || self.context.order == DateOrder::Ymd;
        let set = if date == 0 {
            match self.context.order {
                _ if year_first => mask::YEAR,
                DateOrder::Dmy => mask::DAY,
                _ => mask::MONTH,
            }
        } else if date == mask::YEAR || date == mask::DAY {
            mask::MONTH
        } else if date == mask::MONTH {
            if text_month && year_first { mask::YEAR } else { mask::DAY }
        } else if date == mask::YEAR | mask::MONTH {
            if text_month && text.len() >= 3 && self.short_year {
                // The number taken for the year was the day.
                self.moment.day = self.moment.year;
                self.moment.year = value;
                self.short_year = false;
                return Ok(mask::DAY);
            }
            mask::DAY
        } else if date == mask::MONTH | mask::DAY {
            mask::YEAR
        } else if date == mask::DATE {
            return self.run_together(text, seen);
        } else {
            return Err(BadFormat);
        };
        match set {
            mask::YEAR => {
                self.moment.year = value;
                self.short_year = text.len() <= 2;
            }
            mask::MONTH => self.moment.month = value,
            _ => self.moment.day = value,
        }
        Ok(set)
    }

    /// Digits of a date or time without delimiters: `20011225`, `040506.789`, `0405`.
    fn run_together(&mut self, text: &str, seen: u32) -> Step<u32> {
        let mut digits = text;
        if let Some(point) = text.find('.') {
            self.moment.micro = fraction_micros(&text[point..])?;
            digits = &text[..point];
        } else if seen & mask::DATE != mask::DATE && digits.len() >= 6 {
            let (year, month_day) = digits.split_at(digits.len() - 4);
            self.moment.day = integer(&month_day[2..])?;
            self.moment.month = integer(&month_day[..2])?;
            self.moment.year = integer(year)?;
            if year.len() == 2 {
                self.short_year = true;
            }
            return Ok(mask::DATE);
        }
        if seen & mask::TIME != mask::TIME && matches!(digits.len(), 4 | 6) {
            self.moment.hour = integer(&digits[..2])?;
            self.moment.minute = integer(&digits[2..4])?;
            self.moment.second = if digits.len() == 6 { integer(&digits[4..])? } else { 0 };
            return Ok(mask::TIME);
        }
        Err(BadFormat)
    }

    /// A word, in a date.
    fn word(&mut self, text: &str, next: Option<Kind>) -> Step<Said> {
        if let Some(set) = self.zone_abbreviation(text) {
            return Ok(Said::Fields(set));
        }
        let set = match date_word(text) {
            None if super::datetime_words::is_reserved_word(text) => return Err(BadFormat),
            None => {
                let zone = TimeZone::by_name(text).ok_or(BadFormat)?;
                self.zone = Some(Zone::Named(zone));
                mask::ZONE
            }
            Some(Word::Ignored) => return Ok(Said::Nothing),
            Some(Word::Special(special)) => return self.special(special, text),
            Some(Word::Month(month)) => {
                // A number before a month's name that was taken for the month was the day.
                let shift = self.seen & mask::MONTH != 0
                    && !self.text_month
                    && self.seen & mask::DAY == 0
                    && (1..=31).contains(&self.moment.month);
                if shift {
                    self.moment.day = self.moment.month;
                }
                self.text_month = true;
                self.moment.month = month;
                if shift { mask::DAY } else { mask::MONTH }
            }
            Some(Word::DayOfWeek) => mask::DAY_OF_WEEK,
            Some(word) => return self.common_word(word, next, true).map(Said::Fields),
        };
        Ok(Said::Fields(set))
    }

    /// A word, in a time of day: 0 when it sets nothing.
    fn word_in_time(&mut self, text: &str, next: Option<Kind>) -> Step<u32> {
        if let Some(set) = self.zone_abbreviation(text) {
            return Ok(set);
        }
        match date_word(text) {
            None if super::datetime_words::is_reserved_word(text) => Err(BadFormat),
            None => {
                let zone = TimeZone::by_name(text).ok_or(BadFormat)?;
                self.zone = Some(Zone::Named(zone));
                Ok(mask::ZONE)
            }
            Some(Word::Ignored) => Ok(0),
            Some(Word::Special(Special::Now)) => {
                let (_, micros) = self.local_now("now")?;
                self.set_micros_of_day(micros);
                Ok(mask::TIME)
            }
            Some(Word::Special(Special::Midnight)) => {
                self.set_micros_of_day(0);
                Ok(mask::TIME | mask::ZONE)
            }
            Some(Word::Special(_) | Word::Month(_) | Word::DayOfWeek) => Err(BadFormat),
            Some(word) => self.common_word(word, next, false),
        }
    }

    /// Words that mean the same in dates and times.
    fn common_word(&mut self, word: Word, next: Option<Kind>, needs_date: bool) -> Step<u32> {
        match word {
            Word::DaylightModifier => {
                self.moment.offset += 3600;
                Ok(mask::DAYLIGHT_MODIFIER | mask::DAYLIGHT)
            }
            Word::AmPm(am_pm) => {
                self.am_pm = Some(am_pm);
                Ok(mask::AM_PM)
            }
            Word::Era { before_christ } => {
                self.before_christ = before_christ;
                Ok(mask::ERA)
            }
            Word::Prefix(prefix) => {
                self.prefix = Some(prefix);
                Ok(0)
            }
            Word::IsoTime => {
                if needs_date && self.seen & mask::DATE != mask::DATE {
                    return Err(BadFormat);
                }
                if !matches!(next, Some(Kind::Number | Kind::Time | Kind::Date)) {
                    return Err(BadFormat);
                }
                self.prefix = Some(Prefix::Time);
                Ok(0)
            }
            _ => Err(BadFormat),
        }
    }

    fn zone_abbreviation(&mut self, text: &str) -> Option<u32> {
        match abbreviations::lookup(text)? {
            Meaning::Fixed(offset) => {
                self.moment.offset = offset;
                Some(mask::ZONE)
            }
            Meaning::Daylight(offset) => {
                self.moment.offset = offset;
                Some(mask::ZONE | mask::DAYLIGHT)
            }
            Meaning::Zone(name) => {
                let zone = TimeZone::by_name(name)?;
                self.zone = Some(Zone::Abbreviation(text.to_owned(), zone));
                Some(mask::ZONE)
            }
        }
    }

    fn special(&mut self, special: Special, text: &str) -> Step<Said> {
        let day = match special {
            Special::Epoch => return Ok(Said::Instead(Decoded::Epoch)),
            Special::Infinity => return Ok(Said::Instead(Decoded::Infinity)),
            Special::MinusInfinity => return Ok(Said::Instead(Decoded::MinusInfinity)),
            Special::Midnight => {
                self.set_micros_of_day(0);
                self.moment.offset = 0;
                return Ok(Said::Fields(mask::TIME | mask::ZONE));
            }
            Special::Now => {
                let (days, micros) = self.local_now(text)?;
                self.set_date(days);
                self.set_micros_of_day(micros);
                return Ok(Said::Fields(mask::DATE | mask::TIME | mask::ZONE));
            }
            Special::Yesterday => -1,
            Special::Today => 0,
            Special::Tomorrow => 1,
        };
        let offset = self.moment.offset;
        let (days, _) = self.local_now(text)?;
        self.moment.offset = offset;
        self.set_date(days + day);
        Ok(Said::Fields(mask::DATE))
    }

    /// The session's date and time of day when the transaction began.
    fn local_now(&mut self, word: &str) -> Step<(i64, i64)> {
        let now = self.context.now.ok_or_else(|| DecodeError::NoClock(word.to_owned()))?;
        let offset = self.context.zone.offset_at_utc(now.div_euclid(MICROS_PER_SECOND));
        self.moment.offset = offset;
        let local = now + i64::from(offset) * MICROS_PER_SECOND;
        Ok((local.div_euclid(MICROS_PER_DAY), local.rem_euclid(MICROS_PER_DAY)))
    }

    /// Completes the year, and checks that the date exists.
    fn validate_date(&mut self) -> Step<()> {
        let moment = &mut self.moment;
        if self.seen & mask::YEAR != 0 && !self.julian {
            if self.before_christ {
                if moment.year <= 0 {
                    return Err(FieldOverflow);
                }
                moment.year = 1 - moment.year;
            } else if self.short_year {
                match moment.year {
                    ..0 => return Err(FieldOverflow),
                    0..70 => moment.year += 2000,
                    70..100 => moment.year += 1900,
                    _ => {}
                }
            } else if moment.year <= 0 {
                return Err(FieldOverflow);
            }
        }
        if self.seen & mask::DAY_OF_YEAR != 0 {
            let days = days_from_civil(moment.year, 1, i64::from(moment.day_of_year));
            self.set_date(days);
        }
        let moment = &self.moment;
        if self.seen & mask::MONTH != 0 && !(1..=12).contains(&moment.month) {
            return Err(DecodeError::MonthDayOverflow);
        }
        if self.seen & mask::DAY != 0 && !(1..=31).contains(&moment.day) {
            return Err(DecodeError::MonthDayOverflow);
        }
        if self.seen & mask::DATE == mask::DATE
            && moment.day > days_in_month(moment.year, moment.month as u32) as i32
        {
            return Err(FieldOverflow);
        }
        Ok(())
    }

    fn apply_am_pm(&mut self) -> Step<()> {
        let Some(am_pm) = self.am_pm else { return Ok(()) };
        match (am_pm, self.moment.hour) {
            (_, 13..) => return Err(FieldOverflow),
            (AmPm::Am, 12) => self.moment.hour = 0,
            (AmPm::Pm, hour) if hour != 12 => self.moment.hour += 12,
            _ => {}
        }
        Ok(())
    }

    /// Nothing later than 24:00:00.
    fn check_time(&self) -> Step<()> {
        let Moment { hour, minute, second, micro, .. } = self.moment;
        let fits = (0..=24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..=60).contains(&second)
            && (0..=1_000_000).contains(&micro);
        let micros = || {
            i64::from(hour * 3600 + minute * 60 + second) * MICROS_PER_SECOND + i64::from(micro)
        };
        if fits && micros() <= MICROS_PER_DAY { Ok(()) } else { Err(FieldOverflow) }
    }

    /// Finds the offset, now that the date is known.
    fn resolve_zone(&mut self) -> Step<()> {
        let modified = self.seen & mask::DAYLIGHT_MODIFIER != 0;
        let moment = &self.moment;
        let days = days_from_civil(moment.year, moment.month as u32, i64::from(moment.day));
        let local = days * SECONDS_PER_DAY
            + i64::from(moment.hour) * 3600
            + i64::from(moment.minute) * 60
            + i64::from(moment.second);
        self.moment.offset = match &self.zone {
            _ if self.zone.is_some() && modified => return Err(BadFormat),
            Some(Zone::Named(zone)) => zone.offset_at_local(local),
            Some(Zone::Abbreviation(name, zone)) => zone.abbreviation_offset_at_local(name, local),
            None if self.seen & mask::ZONE != 0 => return Ok(()),
            None if modified => return Err(BadFormat),
            None => self.context.zone.offset_at_local(local),
        };
        Ok(())
    }
}

/// Hours, minutes and seconds with colons between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) hour: i64,
    pub(super) minute: i32,
    pub(super) second: i32,
    pub(super) micro: i32,
}

/// Reads `hh:mm`, `hh:mm:ss`, `hh:mm:ss.f` and `mm:ss.f`; the hour has no upper limit here.
pub(super) fn read_clock(text: &str) -> Step<Clock> {
    let (hour, rest) = leading_integer::<i64>(text)?;
    let rest = rest.strip_prefix(':').ok_or(BadFormat)?;
    let (minute, rest) = leading_integer::<i32>(rest)?;
    let mut clock = Clock { hour, minute, second: 0, micro: 0 };
    if rest.starts_with('.') {
        // Two numbers and a fraction are minutes and seconds.
        clock.micro = fraction_micros(rest)?;
        clock.second = clock.minute;
        clock.minute = i32::try_from(hour).map_err(|_| FieldOverflow)?;
        clock.hour = 0;
    } else if let Some(rest) = rest.strip_prefix(':') {
        let (second, rest) = leading_integer::<i32>(rest)?;
        clock.second = second;
        if rest.starts_with('.') {
            clock.micro = fraction_micros(rest)?;
        } else if !rest.is_empty() {
            return Err(BadFormat);
        }
    } else if !rest.is_empty() {
        return Err(BadFormat);
    }
    let fits = clock.hour >= 0
        && (0..60).contains(&clock.minute)
        && (0..=60).contains(&clock.second)
        && (0..=1_000_000).contains(&clock.micro);
    if fits { Ok(clock) } else { Err(FieldOverflow) }
}

/// Reads `+hh`, `+hhmm`, `+hh:mm`, `+hh:mm:ss` into seconds east of UTC.
pub(super) fn offset(text: &str) -> Step<i32> {
    let overflow = |error| if error == FieldOverflow { DecodeError::OffsetOverflow } else { error };
    let west = match text.as_bytes().first() {
        Some(b'+') => false,
        Some(b'-') => true,
        _ => return Err(BadFormat),
    };
    let (mut hours, mut rest) = leading_integer::<i32>(&text[1..]).map_err(overflow)?;
    let (mut minutes, mut seconds) = (0, 0);
    if let Some(tail) = rest.strip_prefix(':') {
        (minutes, rest) = leading_integer::<i32>(tail).map_err(overflow)?;
        if let Some(tail) = rest.strip_prefix(':') {
            (seconds, rest) = leading_integer::<i32>(tail).map_err(overflow)?;
        }
    } else if rest.is_empty() && text.len() > 3 {
        minutes = hours % 100;
        hours /= 100;
    }
    if !(0..=MAX_OFFSET_HOURS).contains(&hours) || !(0..60).contains(&minutes) || !(0..60).contains(&seconds) {
        return Err(DecodeError::OffsetOverflow);
    }
    if !rest.is_empty() {
        return Err(BadFormat);
    }
    let size = hours * 3600 + minutes * 60 + seconds;
    Ok(if west { -size } else { size })
}

/// The number a text begins with (0 when it begins with none, as C has it), and what follows.
pub(super) fn leading_integer<N: std::str::FromStr>(text: &str) -> Step<(N, &str)>
where
    N: From<u8>,
{
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return Ok((N::from(0), text));
    }
    let value = text[..end].parse::<N>().map_err(|_| FieldOverflow)?;
    Ok((value, &text[end..]))
}

/// A text of nothing but digits.
fn integer(text: &str) -> Step<i32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadFormat);
    }
    text.parse().map_err(|_| FieldOverflow)
}

/// `.digits` as a number below 1.
pub(super) fn parse_fraction(text: &str) -> Step<f64> {
    match text.strip_prefix('.') {
        Some("") => Ok(0.0),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().map_err(|_| BadFormat),
        _ => Err(BadFormat),
    }
}

/// `.digits` in microseconds, rounded.
pub(super) fn fraction_micros(text: &str) -> Step<i32> {
    Ok((parse_fraction(text)? * 1e6).round_ties_even() as i32)
}
