//! Time zones: what `SET TimeZone` accepts, and the offset of a zone at an instant or at a wall-clock time.
//!
//! What always holds: names are looked up without regard to case as PostgreSQL does, in the time zone database that is
//! compiled in; a wall-clock time that a transition skips or repeats gets the offset PostgreSQL gives it. Offsets are
//! seconds east of UTC throughout; only the POSIX spelling (`UTC+3`) counts the other way.

use std::fmt;

use chrono::{DateTime, Offset, TimeZone as _};
use chrono_tz::{OffsetName, TZ_VARIANTS, Tz};

use crate::calendar::{SECONDS_PER_DAY, civil_from_days, day_of_week, days_from_civil, is_leap};

/// The longest offset PostgreSQL reads is a second short of this (16 hours).
pub(crate) const MAX_OFFSET_HOURS: i32 = 15;

/// Offsets of `SET TimeZone` are below a week, as PostgreSQL checks it.
const SETTING_LIMIT_SECONDS: f64 = 168.0 * 3600.0;

/// A time zone of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeZone {
    /// A zone of the time zone database.
    Named(Tz),
    /// The same offset at all times.
    Fixed(FixedZone),
}

/// A zone with one offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedZone {
    /// Seconds east of UTC.
    seconds_east: i32,
    /// What `SHOW TimeZone` prints.
    name: String,
    /// What the styles of `DateStyle` that print an abbreviation print.
    abbreviation: String,
}

impl Default for TimeZone {
    fn default() -> Self {
        TimeZone::UTC
    }
}

impl From<Tz> for TimeZone {
    fn from(zone: Tz) -> Self {
        TimeZone::Named(zone)
    }
}

impl TimeZone {
    /// Coordinated universal time.
    pub const UTC: TimeZone = TimeZone::Named(Tz::UTC);

    /// A zone with one offset, in seconds east of UTC, named as PostgreSQL names it after `SET TIME ZONE INTERVAL`.
    pub fn fixed(seconds_east: i32) -> TimeZone {
        let digits = |out: &mut String, west: bool| {
            let size = seconds_east.unsigned_abs();
            out.push(if west { '-' } else { '+' });
            out.push_str(&format!("{:02}", size / 3600));
            if !size.is_multiple_of(3600) {
                out.push_str(&format!(":{:02}", size / 60 % 60));
            }
            if !size.is_multiple_of(60) {
                out.push_str(&format!(":{:02}", size % 60));
            }
        };
        let mut abbreviation = String::new();
        digits(&mut abbreviation, seconds_east < 0);
        let mut posix = String::new();
        digits(&mut posix, seconds_east > 0);
        TimeZone::Fixed(FixedZone { seconds_east, name: format!("<{abbreviation}>{posix}"), abbreviation })
    }

    /// Reads a value of the `TimeZone` setting: a name in any case, hours east of UTC (`-8`, `5.5`), or a POSIX
    /// specification without daylight saving (`UTC+3`). `None` when there is no such zone.
    pub fn parse(text: &str) -> Option<TimeZone> {
        let number = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
        if number.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
            && let Ok(hours) = number.parse::<f64>()
        {
            let seconds = hours * 3600.0;
            return (seconds.abs() < SETTING_LIMIT_SECONDS).then(|| TimeZone::fixed(seconds as i32));
        }
        TimeZone::by_name(text)
    }

    /// A zone by its full name or POSIX specification, as input of `timestamptz` may spell it.
    pub(crate) fn by_name(text: &str) -> Option<TimeZone> {
        if let Ok(zone) = text.parse::<Tz>() {
            return Some(TimeZone::Named(zone));
        }
        TZ_VARIANTS
            .iter()
            .find(|zone| zone.name().eq_ignore_ascii_case(text))
            .map(|zone| TimeZone::Named(*zone))
            .or_else(|| TimeZone::posix(text))
    }

    /// `ABC+3`, `<+03>-3:30`, `+3:30`: an abbreviation, which may be empty, and the offset **west** of UTC.
    fn posix(text: &str) -> Option<TimeZone> {
        let (abbreviation, rest) = match text.strip_prefix('<') {
            Some(quoted) => quoted.split_once('>')?,
            None => text.split_at(text.find(|c: char| !c.is_ascii_alphabetic())?),
        };
        let (west, digits) = match rest.as_bytes().first()? {
            b'-' => (-1, &rest[1..]),
            b'+' => (1, &rest[1..]),
            _ => (1, rest),
        };
        let mut seconds = 0;
        let mut unit = 3600;
        for part in digits.split(':') {
            let limit = if unit == 3600 { 167 } else { 59 };
            // PostgreSQL takes seconds for a sign of leap seconds.
            if unit < 60 || part.is_empty() || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let value = part.parse::<i32>().ok().filter(|value| *value <= limit)?;
            seconds += value * unit;
            unit /= 60;
        }
        Some(TimeZone::Fixed(FixedZone {
            seconds_east: -west * seconds,
            // PostgreSQL upper-cases names it does not find in the database.
            name: text.to_ascii_uppercase(),
            abbreviation: abbreviation.to_ascii_uppercase(),
        }))
    }

    /// Seconds east of UTC at an instant, given in seconds since 1970-01-01 UTC.
    pub fn offset_at_utc(&self, seconds: i64) -> i32 {
        match self {
            TimeZone::Named(Tz::UTC) => 0,
            TimeZone::Named(zone) => zone_offset(*zone, seconds).fix().local_minus_utc(),
            TimeZone::Fixed(fixed) => fixed.seconds_east,
        }
    }

    /// Seconds east of UTC at a wall-clock time, given in seconds since 1970-01-01 as if it were UTC.
    ///
    /// A time that a transition skips is read with the offset before it, one that it repeats with the offset after it.
    pub fn offset_at_local(&self, seconds: i64) -> i32 {
        match self {
            TimeZone::Named(Tz::UTC) => 0,
            TimeZone::Fixed(fixed) => fixed.seconds_east,
            TimeZone::Named(_) => {
                // No zone is a day away from UTC and no zone changes twice in two days.
                let before = self.offset_at_utc(seconds - SECONDS_PER_DAY);
                let after = self.offset_at_utc(seconds + SECONDS_PER_DAY);
                if before == after {
                    return before;
                }
                let before_holds = self.offset_at_utc(seconds - i64::from(before)) == before;
                let after_holds = self.offset_at_utc(seconds - i64::from(after)) == after;
                match (before_holds, after_holds) {
                    (true, false) => before,
                    (false, true) => after,
                    _ => before.min(after),
                }
            }
        }
    }

    /// The offset of a zone that has one offset by definition.
    pub(crate) fn constant_offset(&self) -> Option<i32> {
        match self {
            TimeZone::Named(Tz::UTC) => Some(0),
            TimeZone::Named(_) => None,
            TimeZone::Fixed(fixed) => Some(fixed.seconds_east),
        }
    }

    /// Whether the zone has had one offset since 1970, so that a time without a date has an offset.
    pub(crate) fn never_changes(&self) -> bool {
        let TimeZone::Named(_) = self else {
            return true;
        };
        let first = self.offset_at_utc(0);
        (0..70 * 12).all(|month| self.offset_at_utc(month * 30 * SECONDS_PER_DAY) == first)
    }

    /// Appends the abbreviation in use at an instant: `CET`, `+03`.
    pub(crate) fn write_abbreviation(&self, seconds: i64, out: &mut Vec<u8>) {
        match self {
            TimeZone::Named(zone) => {
                let offset = zone_offset(*zone, seconds);
                match offset.abbreviation() {
                    Some(abbreviation) => out.extend_from_slice(abbreviation.as_bytes()),
                    None => out.extend_from_slice(offset.to_string().as_bytes()),
                }
            }
            TimeZone::Fixed(fixed) => out.extend_from_slice(fixed.abbreviation.as_bytes()),
        }
    }

    /// The offset an abbreviation has in this zone at a wall-clock time: that of the latest time up to then when the
    /// abbreviation was in use, else that of the zone itself.
    pub(crate) fn abbreviation_offset_at_local(&self, abbreviation: &str, seconds: i64) -> i32 {
        let here = self.offset_at_local(seconds);
        let TimeZone::Named(zone) = self else {
            return here;
        };
        let matches = |at: i64| {
            let offset = zone_offset(*zone, at);
            offset
                .abbreviation()
                .is_some_and(|name| name.eq_ignore_ascii_case(abbreviation))
                .then(|| offset.fix().local_minus_utc())
        };
        let instant = seconds - i64::from(here);
        // Daylight saving alternates within a year, so a year back and ahead sees both of a zone's abbreviations.
        let step = 30 * SECONDS_PER_DAY;
        (0..=12).flat_map(|n| [instant - n * step, instant + n * step]).find_map(matches).unwrap_or(here)
    }
}

impl fmt::Display for TimeZone {
    /// What `SHOW TimeZone` prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimeZone::Named(zone) => f.write_str(zone.name()),
            TimeZone::Fixed(fixed) => f.write_str(&fixed.name),
        }
    }
}

/// The first year that the compiled database does not list. PostgreSQL follows each zone's last rule without end.
const FIRST_UNLISTED_YEAR: i32 = 2100;
/// The beginning of that year, in seconds since 1970-01-01 UTC.
const FIRST_UNLISTED: i64 = 4_102_444_800;

fn zone_offset(zone: Tz, seconds: i64) -> chrono_tz::TzOffset {
    let listed = |seconds: i64| {
        // 4714 BC, for values that came from elsewhere than PostgreSQL's input.
        let utc = DateTime::from_timestamp(seconds.max(-210_866_803_200), 0)
            .expect("an instant between 4714 BC and 2100 is within chrono's range");
        zone.offset_from_utc_datetime(&utc.naive_utc())
    };
    if seconds < FIRST_UNLISTED {
        return listed(seconds);
    }
    let last = listed(FIRST_UNLISTED - 1);
    if last.fix() == listed(FIRST_UNLISTED - 182 * SECONDS_PER_DAY).fix() {
        // No daylight saving in the last year, so none after it.
        return last;
    }
    listed(equivalent_instant(seconds))
}

/// An instant with the same month, day, time and day of week in a year the database lists.
fn equivalent_instant(seconds: i64) -> i64 {
    let days = seconds.div_euclid(SECONDS_PER_DAY);
    let civil = civil_from_days(days);
    let new_year = days_from_civil(civil.year, 1, 1);
    // Any 28 years in a row without a skipped leap year hold every combination of weekday and leap day.
    let year = (FIRST_UNLISTED_YEAR - 28..FIRST_UNLISTED_YEAR)
        .find(|year| {
            is_leap(*year) == is_leap(civil.year) && day_of_week(days_from_civil(*year, 1, 1)) == day_of_week(new_year)
        })
        .expect("28 years hold every kind of year");
    days_from_civil(year, 1, 1) * SECONDS_PER_DAY + (seconds - new_year * SECONDS_PER_DAY)
}

/// Offsets of one zone for many instants in a row, which are mostly close together.
pub(crate) struct Offsets {
    zone: TimeZone,
    constant: Option<i32>,
    /// The quarter of an hour the last offset was for.
    quarter: i64,
    offset: i32,
}

impl Offsets {
    pub(crate) fn new(zone: TimeZone) -> Self {
        Offsets { constant: zone.constant_offset(), zone, quarter: i64::MIN, offset: 0 }
    }

    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Seconds east of UTC at an instant.
    #[inline]
    pub(crate) fn at_utc(&mut self, seconds: i64) -> i32 {
        if let Some(offset) = self.constant {
            return offset;
        }
        // Since 1973 every zone has changed its clock on a quarter of an hour.
        const FIRST_QUARTER: i64 = 94_694_400 / 900;
        let quarter = seconds.div_euclid(900);
        if quarter != self.quarter || quarter < FIRST_QUARTER {
            self.offset = self.zone.offset_at_utc(seconds);
            self.quarter = quarter;
        }
        self.offset
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn local(year: i32, month: u32, day: i64, hour: i64) -> i64 {
        days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600
    }

    #[test]
    fn skipped_and_repeated_times_are_read_as_postgresql_reads_them() {
        let berlin = TimeZone::parse("europe/berlin").unwrap();
        assert_eq!(berlin.to_string(), "Europe/Berlin");
        // 02:30 does not exist on the first day, is twice on the second.
        assert_eq!(berlin.offset_at_local(local(2024, 3, 31, 2) + 1800), 3600);
        assert_eq!(berlin.offset_at_local(local(2024, 10, 27, 2) + 1800), 3600);
        assert_eq!(berlin.offset_at_local(local(2024, 7, 1, 0)), 7200);
        assert_eq!(berlin.offset_at_local(local(2500, 7, 1, 0)), 7200);
        assert_eq!(berlin.offset_at_local(local(2500, 1, 1, 0)), 3600);
    }

    #[test]
    fn settings_are_shown_as_postgresql_shows_them() {
        let show = |text: &str| TimeZone::parse(text).map(|zone| zone.to_string());
        assert_eq!(show("-8").as_deref(), Some("<-08>+08"));
        assert_eq!(show("5.5").as_deref(), Some("<+05:30>-05:30"));
        assert_eq!(show("utc").as_deref(), Some("UTC"));
        assert_eq!(show("UTC+3").as_deref(), Some("UTC+3"));
        assert_eq!(TimeZone::parse("UTC+3").unwrap().offset_at_utc(0), -10_800);
        assert_eq!(show("Mars/Olympus"), None);
        assert_eq!(show("200"), None);
        // A sign and a colon make it POSIX, which counts westward.
        assert_eq!(show("+02:30").as_deref(), Some("+02:30"));
        assert_eq!(TimeZone::parse("+02:30").unwrap().offset_at_utc(0), -9_000);
    }

    #[test]
    fn the_offset_cache_answers_as_the_zone_does() {
        let zone = TimeZone::parse("America/New_York").unwrap();
        let mut offsets = Offsets::new(zone.clone());
        for seconds in (-3_000_000_000_i64..5_000_000_000).step_by(1_234_567) {
            for near in [seconds, seconds + 1, seconds + 899] {
                assert_eq!(offsets.at_utc(near), zone.offset_at_utc(near));
            }
        }
    }
}
