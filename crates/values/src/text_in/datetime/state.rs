//! What is known of a date while its fields are read, and what a number adds to it.
//!
//! What always holds: each part is set once (one bit each in a mask), whatever it was set by.

use super::error::DecodeError::{self, BadFormat, FieldOverflow};
use super::error::Step;
use super::numbers::{fraction_micros, integer, offset, parse_fraction, read_clock, wrapping_integer};
use super::words::{AmPm, Prefix, Word, date_word};
use crate::calendar::{
    MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, SECONDS_PER_DAY, UNIX_EPOCH_JULIAN,
    civil_from_days, days_from_civil, days_in_month,
};
use crate::format::DateOrder;
use crate::time_zone::TimeZone;

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

/// The fields that have been set, one bit each.
pub(super) mod mask {
    pub(in crate::text_in::datetime) const YEAR: u32 = 1;
    pub(in crate::text_in::datetime) const MONTH: u32 = 1 << 1;
    pub(in crate::text_in::datetime) const DAY: u32 = 1 << 2;
    pub(in crate::text_in::datetime) const HOUR: u32 = 1 << 3;
    pub(in crate::text_in::datetime) const MINUTE: u32 = 1 << 4;
    pub(in crate::text_in::datetime) const SECOND: u32 = 1 << 5;
    pub(in crate::text_in::datetime) const FRACTION: u32 = 1 << 6;
    pub(in crate::text_in::datetime) const ZONE: u32 = 1 << 7;
    pub(in crate::text_in::datetime) const DAYLIGHT: u32 = 1 << 8;
    pub(in crate::text_in::datetime) const DAYLIGHT_MODIFIER: u32 = 1 << 9;
    pub(in crate::text_in::datetime) const DAY_OF_YEAR: u32 = 1 << 10;
    pub(in crate::text_in::datetime) const DAY_OF_WEEK: u32 = 1 << 11;
    pub(in crate::text_in::datetime) const AM_PM: u32 = 1 << 12;
    pub(in crate::text_in::datetime) const ERA: u32 = 1 << 13;
    pub(in crate::text_in::datetime) const SPECIAL: u32 = 1 << 14;
    pub(in crate::text_in::datetime) const DYNAMIC_ZONE: u32 = 1 << 15;
    pub(in crate::text_in::datetime) const DATE: u32 = YEAR | MONTH | DAY;
    pub(in crate::text_in::datetime) const SECONDS: u32 = SECOND | FRACTION;
    pub(in crate::text_in::datetime) const TIME: u32 = HOUR | MINUTE | SECONDS;
}

/// A zone that needs the date before its offset is known.
pub(super) enum Zone {
    Named(TimeZone),
    Abbreviation(String, TimeZone),
}

/// A date and time while it is read.
pub(super) struct Decoder<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) moment: Moment,
    pub(super) seen: u32,
    pub(super) prefix: Option<Prefix>,
    pub(super) am_pm: Option<AmPm>,
    pub(super) text_month: bool,
    pub(super) julian: bool,
    pub(super) short_year: bool,
    pub(super) before_christ: bool,
    pub(super) zone: Option<Zone>,
    /// What the whole is, whatever else was read, unless something later says otherwise.
    pub(super) special: Option<Decoded>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
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
            special: None,
        }
    }

    /// Records what a field has set; nothing may be set twice.
    pub(super) fn set(&mut self, fields: u32) -> Step<()> {
        if fields & self.seen != 0 {
            return Err(BadFormat);
        }
        self.seen |= fields;
        Ok(())
    }

    /// A field with delimiters: a date, or once there is one, a zone's name or a run-together time with an offset.
    pub(super) fn date_field(&mut self, text: &str) -> Step<u32> {
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
    pub(super) fn time_with_offset(&mut self, text: &str, seen: u32) -> Step<u32> {
        if self.seen & mask::TIME == mask::TIME {
            return Err(BadFormat);
        }
        let at = text.find('-').ok_or(BadFormat)?;
        self.moment.offset = offset(&text[at..])?;
        Ok(self.run_together(&text[..at], seen)? | mask::ZONE)
    }

    pub(super) fn named_zone(&mut self, text: &str) -> Step<u32> {
        let zone = TimeZone::by_name(text).ok_or_else(|| DecodeError::UnknownZone(text.to_owned()))?;
        self.zone = Some(Zone::Named(zone));
        Ok(mask::ZONE)
    }

    /// A number after a letter that says what it is.
    pub(super) fn prefixed_number(&mut self, prefix: Prefix, text: &str) -> Step<u32> {
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
        self.special = None;
        Ok(set)
    }

    pub(super) fn set_julian(&mut self, day: i32) -> Step<()> {
        if day < 0 {
            return Err(FieldOverflow);
        }
        self.set_date(i64::from(day) - UNIX_EPOCH_JULIAN);
        self.julian = true;
        Ok(())
    }

    pub(super) fn set_date(&mut self, days: i64) {
        let date = civil_from_days(days);
        self.moment.year = date.year;
        self.moment.month = date.month as i32;
        self.moment.day = date.day as i32;
    }

    pub(super) fn set_micros_of_day(&mut self, micros: i64) {
        self.moment.hour = (micros / MICROS_PER_HOUR) as i32;
        self.moment.minute = (micros % MICROS_PER_HOUR / MICROS_PER_MINUTE) as i32;
        self.moment.second = (micros % MICROS_PER_MINUTE / MICROS_PER_SECOND) as i32;
        self.moment.micro = (micros % MICROS_PER_SECOND) as i32;
    }

    /// A number that stands alone, in a date.
    pub(super) fn number_in_date(&mut self, text: &str) -> Step<u32> {
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
    pub(super) fn date(&mut self, text: &str) -> Step<u32> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
            let Some(first) = rest.chars().next() else {
                return Err(BadFormat);
            };
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
                // PostgreSQL skips `at` and `on` here and then takes them for numbers, which they are not.
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
    pub(super) fn time(&mut self, text: &str) -> Step<u32> {
        let clock = read_clock(text)?;
        let small = i32::try_from(clock.hour).map_err(|_| FieldOverflow)?;
        self.moment.hour = small;
        self.moment.minute = clock.minute;
        self.moment.second = clock.second;
        self.moment.micro = clock.micro;
        Ok(mask::TIME)
    }

    /// A plain number, understood from what is known so far.
    pub(super) fn number(&mut self, text: &str, text_month: bool, seen: u32) -> Step<u32> {
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
    pub(super) fn run_together(&mut self, text: &str, seen: u32) -> Step<u32> {
        let mut digits = text;
        if let Some(point) = text.find('.') {
            self.moment.micro = fraction_micros(&text[point..])?;
            digits = &text[..point];
        } else if seen & mask::DATE != mask::DATE && digits.len() >= 6 {
            let (year, month_day) = digits.split_at(digits.len() - 4);
            self.moment.day = integer(&month_day[2..])?;
            self.moment.month = integer(&month_day[..2])?;
            self.moment.year = wrapping_integer(year);
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

    /// Completes the year, and checks that the date exists.
    pub(super) fn validate_date(&mut self) -> Step<()> {
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
        if self.seen & mask::DATE == mask::DATE && moment.day > days_in_month(moment.year, moment.month as u32) as i32 {
            return Err(FieldOverflow);
        }
        Ok(())
    }

    pub(super) fn apply_am_pm(&mut self) -> Step<()> {
        let Some(am_pm) = self.am_pm else {
            return Ok(());
        };
        match (am_pm, self.moment.hour) {
            (_, 13..) => return Err(FieldOverflow),
            (AmPm::Am, 12) => self.moment.hour = 0,
            (AmPm::Pm, hour) if hour != 12 => self.moment.hour += 12,
            _ => {}
        }
        Ok(())
    }

    /// Nothing later than 24:00:00.
    pub(super) fn check_time(&self) -> Step<()> {
        let Moment { hour, minute, second, micro, .. } = self.moment;
        let fits = (0..=24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..=60).contains(&second)
            && (0..=1_000_000).contains(&micro);
        let micros = || i64::from(hour * 3600 + minute * 60 + second) * MICROS_PER_SECOND + i64::from(micro);
        if fits && micros() <= MICROS_PER_DAY { Ok(()) } else { Err(FieldOverflow) }
    }

    /// Finds the offset, now that the date is known.
    pub(super) fn resolve_zone(&mut self) -> Step<()> {
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
