//! What a word adds to a date or time.
//!
//! What always holds: abbreviations of time zones are looked up first, then the words of dates, then full names of time
//! zones. Words that mean the time of reading need a clock.

use super::error::DecodeError::{self, BadFormat};
use super::error::Step;
use super::fields::Kind;
use super::state::{Decoded, Decoder, Zone, mask};
use super::words::{Prefix, Special, Word, date_word, is_reserved_word};
use crate::abbreviations::{self, Meaning};
use crate::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND};
use crate::time_zone::TimeZone;

/// What a word contributed.
pub(super) enum Said {
    Fields(u32),
    Nothing,
    Instead(Decoded),
}

impl Decoder<'_> {
    /// A word, in a date.
    pub(super) fn word(&mut self, text: &str, next: Option<Kind>) -> Step<Said> {
        if let Some(set) = self.zone_abbreviation(text) {
            return Ok(Said::Fields(set));
        }
        let set = match date_word(text) {
            None if is_reserved_word(text) => return Err(BadFormat),
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
    pub(super) fn word_in_time(&mut self, text: &str, next: Option<Kind>) -> Step<u32> {
        if let Some(set) = self.zone_abbreviation(text) {
            return Ok(set);
        }
        match date_word(text) {
            None if is_reserved_word(text) => Err(BadFormat),
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
    pub(super) fn common_word(&mut self, word: Word, next: Option<Kind>, needs_date: bool) -> Step<u32> {
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

    pub(super) fn zone_abbreviation(&mut self, text: &str) -> Option<u32> {
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
                Some(mask::ZONE | mask::DYNAMIC_ZONE)
            }
        }
    }

    pub(super) fn special(&mut self, special: Special, text: &str) -> Step<Said> {
        let day = match special {
            Special::Epoch => return Ok(Said::Instead(Decoded::Epoch)),
            Special::Infinity => return Ok(Said::Instead(Decoded::Infinity)),
            Special::MinusInfinity => return Ok(Said::Instead(Decoded::MinusInfinity)),
            Special::Midnight => {
                self.set_micros_of_day(0);
                self.moment.offset = 0;
                self.special = None;
                return Ok(Said::Fields(mask::TIME | mask::ZONE));
            }
            Special::Now => {
                let (days, micros) = self.local_now(text)?;
                self.set_date(days);
                self.set_micros_of_day(micros);
                self.special = None;
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
        self.special = None;
        Ok(Said::Fields(mask::DATE))
    }

    /// The session's date and time of day when the transaction began.
    pub(super) fn local_now(&mut self, word: &str) -> Step<(i64, i64)> {
        let now = self.context.now.ok_or_else(|| DecodeError::NoClock(word.to_owned()))?;
        let offset = self.context.zone.offset_at_utc(now.div_euclid(MICROS_PER_SECOND));
        self.moment.offset = offset;
        let local = now + i64::from(offset) * MICROS_PER_SECOND;
        Ok((local.div_euclid(MICROS_PER_DAY), local.rem_euclid(MICROS_PER_DAY)))
    }
}
