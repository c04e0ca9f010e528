//! `to_char`, `to_date`, `to_timestamp` and `to_number` (chapter 9.8 of PostgreSQL's manual).
//!
//! What always holds: templates are read and applied by the rules of PostgreSQL's `formatting.c`, which are in part those
//! of Oracle, with all their corners. Names of days and months are English (`lc_time` is `C`), the decimal point is a point
//! and groups are separated by commas. An empty template gives null.

mod date_in;
mod date_out;
mod date_template;
mod number_in;
mod number_out;
mod number_template;

use super::overload::Declaration;

pub(super) const FUNCTIONS: &[&[Declaration]] =
    &[date_in::FUNCTIONS, date_out::FUNCTIONS, number_in::FUNCTIONS, number_out::FUNCTIONS];

/// A constant template read once, others row by row.
struct Templates<'a, T> {
    texts: super::call::TextColumn<'a>,
    read: fn(&str) -> super::call::Result<T>,
    constant: Option<T>,
}

impl<'a, T: Clone> Templates<'a, T> {
    fn new(
        texts: super::call::TextColumn<'a>,
        read: fn(&str) -> super::call::Result<T>,
    ) -> super::call::Result<Templates<'a, T>> {
        let constant = texts.constant().map(read).transpose()?;
        Ok(Templates { texts, read, constant })
    }

    fn at(&self, row: usize) -> super::call::Result<std::borrow::Cow<'_, T>> {
        match &self.constant {
            Some(template) => Ok(std::borrow::Cow::Borrowed(template)),
            None => (self.read)(self.texts.at(row)).map(std::borrow::Cow::Owned),
        }
    }
}

/// The English ordinal suffix of digits.
fn ordinal(digits: &str, upper: bool) -> &'static str {
    let mut last = digits.bytes().rev();
    let (ones, tens) = (last.next(), last.next());
    match (ones, tens == Some(b'1'), upper) {
        (Some(b'1'), false, false) => "st",
        (Some(b'2'), false, false) => "nd",
        (Some(b'3'), false, false) => "rd",
        (Some(b'1'), false, true) => "ST",
        (Some(b'2'), false, true) => "ND",
        (Some(b'3'), false, true) => "RD",
        (_, _, false) => "th",
        (_, _, true) => "TH",
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// From December down, as PostgreSQL keeps them.
const ROMAN_MONTHS: [&str; 12] = ["XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"];
