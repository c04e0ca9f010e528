//! `to_date` and `to_timestamp` by a template.

use arrow::array::ArrayRef;
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use wharf_values::{SqlError, SqlState};

use super::date_template::{Convention, Field, Node, is_separator, parse};
use super::{DAYS, MONTHS, ROMAN_MONTHS, Templates};
use crate::functions::call::{Call, Result};
use crate::functions::datetime::{
    Fields, UNIX_EPOCH_JULIAN, USECS_PER_HOUR, USECS_PER_MINUTE, USECS_PER_SEC, checked_date, days_from_civil,
    days_in_month, iso_year_start, local_to_utc, timestamp_of,
};
use crate::functions::overload::{Declaration, immutable, stable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("to_date", "text, text -> date", to_date),
    stable("to_timestamp", "text, text -> timestamptz", to_timestamp),
];

fn to_date(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    let templates = Templates::new(call.text(1)?, parse)?;
    call.make::<Date32Type>(|row| {
        let text = text.at(row);
        let moment = read(&templates.at(row)?, text)?;
        checked_date(days_from_civil(moment.year, moment.month, moment.day))
            .map_err(|_| overflow(format!("date out of range: \"{text}\"")))
    })
}

fn to_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    let templates = Templates::new(call.text(1)?, parse)?;
    let zone = call.text_format().time_zone;
    call.make::<TimestampMicrosecondType>(|row| {
        let moment = read(&templates.at(row)?, text.at(row))?;
        let local = timestamp_of(days_from_civil(moment.year, moment.month, moment.day), moment.time)?;
        match moment.offset {
            Some(offset) => Ok(local - offset * USECS_PER_SEC),
            None => local_to_utc(&zone, local),
        }
    })
}

fn invalid(message: String) -> SqlError {
    SqlError::new(SqlState::INVALID_DATETIME_FORMAT, message)
}

fn overflow(message: String) -> SqlError {
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
}

fn out_of_range(text: &str) -> SqlError {
    overflow(format!("date/time field value out of range: \"{text}\""))
}

/// What was read, checked.
struct Moment {
    year: i64,
    month: u32,
    day: u32,
    /// Microseconds since midnight.
    time: i64,
    /// Seconds east of UTC, where the text says so.
    offset: Option<i64>,
}

/// The fields as they were found; 0 is "not there", as in PostgreSQL.
#[derive(Default)]
struct Found {
    convention: Option<Convention>,
    hour: i32,
    afternoon: i32,
    minute: i32,
    second: i32,
    second_of_day: i32,
    /// 1 for Sunday to 7 for Saturday.
    day_of_week: i32,
    day: i32,
    day_of_year: i32,
    month: i32,
    millis: i32,
    year: i32,
    before_christ: i32,
    week: i32,
    week_of_month: i32,
    century: i32,
    julian: i32,
    micros: i32,
    year_digits: u8,
    twelve_hours: bool,
    zone_sign: i32,
    zone_hour: i32,
    zone_minute: i32,
}

fn read(template: &[Node], text: &str) -> Result<Moment> {
    let mut reader = Reader { text, rest: text, found: Found::default(), fixed: false, extra: 0 };
    for index in 0..template.len() {
        if reader.rest.is_empty() {
            break;
        }
        reader.node(template, index)?;
    }
    reader.found.moment(text)
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    found: Found,
    /// `FX`: the text has the template's widths.
    fixed: bool,
    /// Spaces skipped beyond those the template has.
    extra: i32,
}

impl Reader<'_> {
    fn skip_spaces(&mut self) -> i32 {
        let trimmed = self.rest.trim_start_matches(|letter: char| letter.is_ascii_whitespace() || letter == '\u{b}');
        let skipped = self.rest.len() - trimmed.len();
        self.rest = trimmed;
        skipped as i32
    }

    fn skip_char(&mut self) {
        let mut letters = self.rest.chars();
        letters.next();
        self.rest = letters.as_str();
    }

    fn node(&mut self, template: &[Node], index: usize) -> Result<()> {
        let node = &template[index];
        let is_field = matches!(node, Node::Field { .. });
        if !self.fixed && !matches!(node, Node::Field { field: Field::Fixed, .. }) && (is_field || index == 0) {
            self.extra += self.skip_spaces();
        }
        match node {
            Node::Space(_) | Node::Separator(_) => {
                if self.fixed {
                    self.skip_char();
                } else {
                    // A space or separator stands for one or none.
                    self.extra -= 1;
                    if self.rest.starts_with(|letter: char| letter.is_ascii_whitespace() || is_separator(letter)) {
                        self.skip_char();
                        self.extra += 1;
                    }
                }
            }
            Node::Text(_) => {
                if !self.fixed && self.extra > 0 {
                    self.extra -= 1;
                } else {
                    self.skip_char();
                }
            }
            Node::Field { field, .. } => {
                if let Some(convention) = field.convention() {
                    match self.found.convention {
                        None => self.found.convention = Some(convention),
                        Some(known) if known == convention => {}
                        Some(_) => {
                            return Err(invalid("invalid combination of date conventions".to_owned()).with_hint(
                                "Do not mix Gregorian and ISO week date conventions in a formatting template.",
                            ));
                        }
                    }
                }
                self.field(template, index)?;
                if !self.fixed {
                    self.extra = self.skip_spaces();
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, template: &[Node], index: usize) -> Result<()> {
        let Node::Field { field, name, ordinal, .. } = &template[index] else { return Ok(()) };
        let width = name.len();
        let found = &mut self.found;
        match field {
            Field::Fixed => {
                self.fixed = true;
                return Ok(());
            }
            Field::Meridiem { dots } => {
                let names: &[&str] = if *dots { &["a.m.", "p.m."] } else { &["am", "pm"] };
                let value = self.word(names, name)?;
                set(&mut self.found.afternoon, value, name)?;
                self.found.twelve_hours = true;
                return Ok(());
            }
            Field::Era { dots } => {
                let names: &[&str] = if *dots { &["a.d.", "b.c."] } else { &["ad", "bc"] };
                let value = self.word(names, name)?;
                return set(&mut self.found.before_christ, value, name);
            }
            Field::MonthName | Field::MonthNameShort => {
                let names = MONTHS.map(|month| if *field == Field::MonthName { month } else { &month[..3] });
                let value = self.word(&names, name)? + 1;
                return set(&mut self.found.month, value, name);
            }
            Field::DayName | Field::DayNameShort => {
                let names = DAYS.map(|day| if *field == Field::DayName { day } else { &day[..3] });
                let value = self.word(&names, name)?;
                set(&mut self.found.day_of_week, value, name)?;
                self.found.day_of_week += 1;
                return Ok(());
            }
            Field::RomanMonth => {
                let value = 12 - self.word(&ROMAN_MONTHS, name)?;
                return set(&mut self.found.month, value, name);
            }
            Field::Zone | Field::Offset => {
                let message = format!("formatting field \"{name}\" is only supported in to_char");
                return Err(SqlError::unsupported(message).with_hint("Read the offset with TZH and TZM."));
            }
            Field::ZoneHour => {
                found.zone_sign = match self.rest.as_bytes().first() {
                    Some(sign @ (b'+' | b'-' | b' ')) => {
                        self.rest = &self.rest[1..];
                        if *sign == b'-' { -1 } else { 1 }
                    }
                    // A minus may have been taken for a separator.
                    _ => {
                        let before = self.text.len() - self.rest.len();
                        let minus = self.extra > 0 && self.text[..before].ends_with('-');
                        if minus { -1 } else { 1 }
                    }
                };
                let (value, _) = self.number(template, index, 2)?;
                return set(&mut self.found.zone_hour, value, name);
            }
            Field::ZoneMinute => {
                if found.zone_sign == 0 {
                    found.zone_sign = 1;
                }
                let (value, _) = self.number(template, index, 2)?;
                return set(&mut self.found.zone_minute, value, name);
            }
            Field::YearWithComma => {
                let year = self.year_with_comma()?;
                set(&mut self.found.year, year, name)?;
                self.found.year_digits = 4;
            }
            _ => {
                let width = match field {
                    Field::Hour12 | Field::Hour24 => 2,
                    Field::Millisecond | Field::IsoDayOfYear => 3,
                    Field::Microsecond => 6,
                    Field::Fraction(digits) => usize::from(*digits),
                    Field::IsoDayOfWeek => 1,
                    _ => width,
                };
                let (value, length) = self.number(template, index, width)?;
                self.digits(*field, name, value, length)?;
            }
        }
        if ordinal.is_some() {
            self.skip_char();
            self.skip_char();
        }
        Ok(())
    }

    /// A field that is a number.
    fn digits(&mut self, field: Field, name: &'static str, value: i32, length: usize) -> Result<()> {
        let found = &mut self.found;
        match field {
            Field::Hour12 => {
                set(&mut found.hour, value, name)?;
                found.twelve_hours = true;
            }
            Field::Hour24 => set(&mut found.hour, value, name)?,
            Field::Minute => set(&mut found.minute, value, name)?,
            Field::Second => set(&mut found.second, value, name)?,
            Field::Millisecond => {
                // 25 and 250 are a quarter of a second, 025 is not.
                set(&mut found.millis, value, name)?;
                found.millis = found.millis.saturating_mul(10_i32.pow(3_u32.saturating_sub(length as u32)));
            }
            Field::Microsecond | Field::Fraction(_) => {
                set(&mut found.micros, value, name)?;
                found.micros = found.micros.saturating_mul(10_i32.pow(6_u32.saturating_sub(length as u32)));
            }
            Field::SecondOfDay => set(&mut found.second_of_day, value, name)?,
            Field::Month => set(&mut found.month, value, name)?,
            Field::DayOfYear | Field::IsoDayOfYear => set(&mut found.day_of_year, value, name)?,
            Field::Day => set(&mut found.day, value, name)?,
            Field::DayOfWeek => set(&mut found.day_of_week, value, name)?,
            Field::IsoDayOfWeek => {
                set(&mut found.day_of_week, value, name)?;
                found.day_of_week = if found.day_of_week >= 7 { 1 } else { found.day_of_week + 1 };
            }
            Field::Week | Field::IsoWeek => set(&mut found.week, value, name)?,
            // It says nothing that the month would not say better.
            Field::Quarter => {}
            Field::Century => set(&mut found.century, value, name)?,
            Field::Year(digits) | Field::IsoYear(digits) => {
                set(&mut found.year, value, name)?;
                if digits < 4 && length < 4 {
                    found.year = near_2020(found.year);
                }
                found.year_digits = digits;
            }
            Field::WeekOfMonth => set(&mut found.week_of_month, value, name)?,
            Field::Julian => set(&mut found.julian, value, name)?,
            other => return Err(SqlError::internal(format!("{other:?} is not a number"))),
        }
        Ok(())
    }

    /// `from_char_parse_int_len`: a number of so many characters, or of any number where something else than a digit
    /// follows. Also how many characters it had.
    fn number(&mut self, template: &[Node], index: usize, width: usize) -> Result<(i32, usize)> {
        let Node::Field { name, fill_mode, .. } = &template[index] else {
            return Err(SqlError::internal("a number needs a field"));
        };
        self.skip_spaces();
        let hint = "If your source string is not fixed-width, try using the \"FM\" modifier.";
        let take = |text: &str, limit: usize| {
            let sign = usize::from(text.starts_with(['-', '+']));
            let digits = text[sign..].bytes().take(limit - sign.min(limit)).take_while(u8::is_ascii_digit).count();
            if digits == 0 { 0 } else { sign + digits }
        };
        let head = self.rest.char_indices().nth(width).map_or(self.rest, |(end, _)| &self.rest[..end]);
        let length = if *fill_mode || next_is_separator(template, index) {
            take(self.rest, usize::MAX)
        } else {
            let has = self.rest.len().min(width);
            if has < width {
                return Err(invalid(format!("source string too short for \"{name}\" formatting field"))
                    .with_detail(format!("Field requires {width} characters, but only {has} remain."))
                    .with_hint(hint));
            }
            let length = take(self.rest, width);
            if length > 0 && length < width {
                return Err(invalid(format!("invalid value \"{head}\" for \"{name}\""))
                    .with_detail(format!("Field requires {width} characters, but only {length} could be parsed."))
                    .with_hint(hint));
            }
            length
        };
        if length == 0 {
            return Err(
                invalid(format!("invalid value \"{head}\" for \"{name}\"")).with_detail("Value must be an integer.")
            );
        }
        let value = self.rest[..length].parse::<i32>().map_err(|_| {
            let message = format!("value for \"{name}\" in source string is out of range");
            SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, message).with_detail(format!(
                "Value must be in the range {} to {}.",
                i32::MIN,
                i32::MAX
            ))
        })?;
        self.rest = &self.rest[length..];
        Ok((value, length))
    }

    /// The index of the name that the text goes on with, in any case.
    fn word(&mut self, names: &[&str], keyword: &str) -> Result<i32> {
        let found = names
            .iter()
            .position(|name| self.rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name)));
        match found {
            Some(index) => {
                self.rest = &self.rest[names[index].len()..];
                Ok(index as i32)
            }
            None => {
                let word = self.rest.split(|letter: char| letter.is_ascii_whitespace()).next().unwrap_or_default();
                Err(invalid(format!("invalid value \"{word}\" for \"{keyword}\""))
                    .with_detail("The given value did not match any of the allowed values for this field."))
            }
        }
    }

    /// `2,024` for `Y,YYY`.
    fn year_with_comma(&mut self) -> Result<i32> {
        let error = || invalid("invalid input string for \"Y,YYY\"".to_owned());
        let (thousands, rest) = self.rest.split_once(',').ok_or_else(error)?;
        let digits = rest.bytes().take(3).take_while(u8::is_ascii_digit).count();
        let thousands = thousands.trim().parse::<i32>().map_err(|_| error())?;
        let years = rest[..digits].parse::<i32>().map_err(|_| error())?;
        self.rest = &rest[digits..];
        thousands.checked_mul(1000).and_then(|thousands| thousands.checked_add(years)).ok_or_else(error)
    }
}

/// Whether what follows a field cannot be taken for one of its digits.
fn next_is_separator(template: &[Node], index: usize) -> bool {
    if matches!(&template[index], Node::Field { ordinal: Some(_), .. }) {
        return true;
    }
    match template.get(index + 1) {
        None => true,
        Some(Node::Field { field, .. }) => !field.is_digits(),
        Some(Node::Text(letter)) => !letter.is_ascii_digit(),
        Some(_) => true,
    }
}

/// # Errors
/// `22007` when the field was there before with another value.
fn set(field: &mut i32, value: i32, name: &str) -> Result<()> {
    if *field != 0 && *field != value {
        return Err(invalid(format!("conflicting values for \"{name}\" field in formatting string"))
            .with_detail("This value contradicts a previous setting for the same field type."));
    }
    *field = value;
    Ok(())
}

/// The year near 2020 that has these last digits.
fn near_2020(year: i32) -> i32 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}

impl Found {
    /// `do_to_timestamp`: one moment of all that was found.
    fn moment(mut self, text: &str) -> Result<Moment> {
        let time = self.time(text)?;
        let mut year = self.year();
        let (mut month, mut day) = (1_i64, 1_i64);
        let of_days = |days: i64| {
            let fields = Fields::of_days(days);
            (fields.year, i64::from(fields.month), i64::from(fields.day))
        };
        if self.julian != 0 {
            (year, month, day) = of_days(i64::from(self.julian) - UNIX_EPOCH_JULIAN);
        }
        if self.week != 0 {
            let weeks = (i64::from(self.week) - 1) * 7;
            if self.convention == Some(Convention::IsoWeek) {
                // The ISO week begins on Monday, the day of the week counts from Sunday.
                let within = match self.day_of_week {
                    0 => 0,
                    1 => 6,
                    day => i64::from(day) - 2,
                };
                (year, month, day) = of_days(iso_year_start(year) + weeks + within);
            } else {
                self.day_of_year = (weeks + 1) as i32;
            }
        }
        if self.week_of_month != 0 {
            self.day = (self.week_of_month - 1).saturating_mul(7).saturating_add(1);
        }
        if self.day != 0 {
            day = i64::from(self.day);
        }
        if self.month != 0 {
            month = i64::from(self.month);
        }
        if self.day_of_year != 0 && (month <= 1 || day <= 1) {
            if year == 0 && self.before_christ == 0 {
                return Err(invalid("cannot calculate day of year without year information".to_owned()));
            }
            let number = i64::from(self.day_of_year);
            if self.convention == Some(Convention::IsoWeek) {
                (year, month, day) = of_days(iso_year_start(year) + number - 1);
            } else {
                let (mut left, mut found) = (number, 1_u32);
                while found <= 12 && left > i64::from(days_in_month(year, found)) {
                    left -= i64::from(days_in_month(year, found));
                    found += 1;
                }
                if month <= 1 {
                    month = i64::from(found);
                }
                if day <= 1 {
                    day = left;
                }
            }
        }
        let month = u32::try_from(month).ok().filter(|month| (1..=12).contains(month));
        let month = month.ok_or_else(|| out_of_range(text))?;
        let day = u32::try_from(day).ok().filter(|day| (1..=days_in_month(year, month)).contains(day));
        let day = day.ok_or_else(|| out_of_range(text))?;
        let offset = self.offset(text)?;
        Ok(Moment { year, month, day, time, offset })
    }

    fn time(&mut self, text: &str) -> Result<i64> {
        let total = self.second_of_day;
        let (mut hour, mut minute, mut second) = (total / 3600, total % 3600 / 60, total % 60);
        if self.second != 0 {
            second = self.second;
        }
        if self.minute != 0 {
            minute = self.minute;
        }
        if self.hour != 0 {
            hour = self.hour;
        }
        if self.twelve_hours {
            if !(1..=12).contains(&hour) {
                return Err(invalid(format!("hour \"{hour}\" is invalid for the 12-hour clock"))
                    .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            if self.afternoon != 0 && hour < 12 {
                hour += 12;
            } else if self.afternoon == 0 && hour == 12 {
                hour = 0;
            }
        }
        let micros = i64::from(self.millis) * 1000 + i64::from(self.micros);
        let fits = (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second)
            && (0..USECS_PER_SEC).contains(&micros);
        if !fits {
            return Err(out_of_range(text));
        }
        Ok(i64::from(hour) * USECS_PER_HOUR
            + i64::from(minute) * USECS_PER_MINUTE
            + i64::from(second) * USECS_PER_SEC
            + micros)
    }

    /// The astronomical year; 0 when there is none in the text.
    fn year(&self) -> i64 {
        let bc = self.before_christ != 0;
        let century = i64::from(if bc { -self.century } else { self.century });
        if self.year != 0 {
            if self.century != 0 && self.year_digits <= 2 {
                let within = i64::from(self.year % 100);
                return match (within, century >= 0) {
                    (0, true) => century * 100,
                    (0, false) => century * 100 + 1,
                    (within, true) => within + (century - 1) * 100,
                    (within, false) => (century + 1) * 100 - within + 1,
                };
            }
            let year = i64::from(if bc { -self.year } else { self.year });
            return if year < 0 { year + 1 } else { year };
        }
        match (self.century, century >= 0) {
            (0, _) => 0,
            // The century's first year: the 21st began in 2001.
            (_, true) => (century - 1) * 100 + 1,
            (_, false) => century * 100 + 1,
        }
    }

    fn offset(&self, text: &str) -> Result<Option<i64>> {
        if self.zone_sign == 0 {
            return Ok(None);
        }
        if !(0..=15).contains(&self.zone_hour) || !(0..60).contains(&self.zone_minute) {
            let message = format!("time zone displacement out of range: \"{text}\"");
            return Err(SqlError::new(SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE, message));
        }
        Ok(Some(i64::from(self.zone_sign) * (i64::from(self.zone_hour) * 3600 + i64::from(self.zone_minute) * 60)))
    }
}
