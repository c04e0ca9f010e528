//! `to_char` of numbers.
//!
//! A number is first written in plain digits with the template's number of decimals, then those are set into the
//! template from left to right (PostgreSQL's `NUM_processor`).

use arrow::array::ArrayRef;
use arrow::datatypes::{Float32Type, Float64Type, Int32Type, Int64Type};
use wharf_values::SqlError;

use super::number_template::{Anchor, Node, Pattern, Template, parse};
use super::{Templates, ordinal};
use crate::functions::call::{Call, Result, out_of_range};
use crate::functions::decimal::{self, rescale, write_decimal};
use crate::functions::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("to_char", "int4, text -> text", |call| {
        let value = call.primitive::<Int32Type>(0)?;
        with_templates(call, |row, template| integer(i64::from(value.at(row)), template, i64::from(i32::MAX)))
    }),
    immutable("to_char", "int8, text -> text", |call| {
        let value = call.primitive::<Int64Type>(0)?;
        with_templates(call, |row, template| integer(value.at(row), template, i64::MAX))
    }),
    immutable("to_char", "float4, text -> text", |call| {
        let value = call.primitive::<Float32Type>(0)?;
        with_templates(call, |row, template| float(f64::from(value.at(row)), template, 6))
    }),
    immutable("to_char", "float8, text -> text", |call| {
        let value = call.primitive::<Float64Type>(0)?;
        with_templates(call, |row, template| float(value.at(row), template, 15))
    }),
    immutable("to_char", "numeric, text -> text", |call| {
        let (value, scale) = call.numeric(0)?;
        with_templates(call, |row, template| numeric(value.at(row), scale, template))
    }),
];

/// A number in digits, ready for the template.
struct Digits {
    /// Without its sign; `#` for each digit when it has no room.
    text: String,
    negative: bool,
    /// Places of the template before the first digit.
    spaces: usize,
}

fn with_templates(call: &Call<'_>, digits: impl Fn(usize, &mut Template) -> Result<Digits>) -> Result<ArrayRef> {
    let templates = Templates::new(call.text(1)?, parse)?;
    call.make_optional_text(|row, out| {
        let template = templates.at(row)?;
        if template.nodes.is_empty() {
            return Ok(true);
        }
        let mut template = template.into_owned();
        let digits = digits(row, &mut template)?;
        if template.exponent {
            out.push_str(&digits.text);
        } else {
            Writer::new(template, digits, out).run();
        }
        Ok(true)
    })
}

/// Fits digits into the places before the point.
fn fit(text: String, negative: bool, template: &Template) -> Digits {
    let whole = text.find('.').unwrap_or(text.len());
    if whole > template.before {
        let mut filled = "#".repeat(template.before + template.after + 1);
        filled.replace_range(template.before..=template.before, ".");
        return Digits { text: filled, negative, spaces: 0 };
    }
    Digits { text, negative, spaces: template.before - whole }
}

fn integer(value: i64, template: &mut Template, limit: i64) -> Result<Digits> {
    if template.roman {
        return Ok(roman(Some(value)));
    }
    if template.exponent {
        return Ok(scientific(value as f64, template));
    }
    let mut magnitude = i128::from(value).abs();
    if template.has_shift {
        let factor = decimal::power_of_ten(template.shift.min(38) as u32);
        magnitude = magnitude
            .checked_mul(factor)
            .filter(|value| *value <= i128::from(limit))
            .ok_or_else(|| out_of_range(if limit == i64::MAX { "bigint" } else { "integer" }))?;
        template.before += template.shift;
    }
    let mut text = magnitude.to_string();
    if template.after > 0 {
        text.push('.');
        text.extend(std::iter::repeat_n('0', template.after));
    }
    Ok(fit(text, value < 0, template))
}

fn numeric(value: i128, scale: i8, template: &mut Template) -> Result<Digits> {
    if template.roman {
        let whole = rescale(value, scale, 0).and_then(|value| i64::try_from(value).ok());
        return whole.map(|whole| roman(Some(whole))).ok_or_else(|| out_of_range("integer"));
    }
    if template.exponent {
        return Ok(scientific_numeric(value, scale, template.after));
    }
    let mut value = value;
    if template.has_shift {
        let factor = decimal::power_of_ten(template.shift.min(38) as u32);
        value = value.checked_mul(factor).ok_or_else(decimal::overflow)?;
        template.before += template.shift;
    }
    let wanted = template.after.min(38) as i8;
    let mut text = String::new();
    // Digits beyond those the number has are zeros, for which there need be no room in 38.
    if wanted <= scale {
        let rounded = rescale(value, scale, wanted).ok_or_else(decimal::overflow)?;
        write_decimal(rounded, wanted, &mut text);
    } else {
        write_decimal(value, scale, &mut text);
        if scale <= 0 {
            text.push('.');
        }
        text.extend(std::iter::repeat_n('0', template.after - scale.max(0) as usize));
    }
    let negative = text.starts_with('-');
    let text = if negative { text[1..].to_owned() } else { text };
    Ok(fit(text, negative, template))
}

fn float(value: f64, template: &mut Template, precision: usize) -> Result<Digits> {
    if template.roman {
        let rounded = value.round_ties_even();
        let whole = (rounded.is_finite() && rounded.abs() <= f64::from(i32::MAX)).then_some(rounded as i64);
        return Ok(roman(whole));
    }
    if template.exponent {
        if !value.is_finite() {
            let mut text = format!(" {}", "#".repeat(template.before + template.after + 5));
            text.replace_range(template.before + 1..template.before + 2, ".");
            return Ok(Digits { text, negative: false, spaces: 0 });
        }
        return Ok(scientific(value, template));
    }
    let mut value = value;
    if template.has_shift {
        value *= 10_f64.powi(template.shift as i32);
        template.before += template.shift;
    }
    let negative = value.is_sign_negative() && !value.is_nan();
    if !value.is_finite() {
        let text = if value.is_nan() { "NaN" } else { "Infinity" };
        template.after = if template.after + text.len() > precision { precision - text.len() } else { template.after };
        return Ok(fit(text.to_owned(), negative, template));
    }
    let whole = format!("{:.0}", value.abs()).len();
    // Digits that the type does not have are not shown.
    if whole >= precision {
        template.after = 0;
    } else if whole + template.after > precision {
        template.after = precision - whole;
    }
    let text = format!("{:.*}", template.after, value.abs());
    let negative = negative && (value != 0.0 || value.is_sign_negative());
    Ok(fit(text, negative, template))
}

/// As C's `%e` prints it, with a space for a plus.
fn scientific(value: f64, template: &Template) -> Digits {
    let text = format!("{:.*e}", template.after, value.abs());
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent = exponent.parse::<i32>().unwrap_or(0);
    let sign = if value.is_sign_negative() { '-' } else { ' ' };
    Digits { text: format!("{sign}{digits}e{exponent:+03}"), negative: false, spaces: 0 }
}

fn scientific_numeric(value: i128, scale: i8, after: usize) -> Digits {
    let sign = if value < 0 { '-' } else { ' ' };
    let count = decimal::digits(value);
    if count == 0 {
        let fraction = if after > 0 { format!(".{}", "0".repeat(after)) } else { String::new() };
        return Digits { text: format!("{sign}0{fraction}e+00"), negative: false, spaces: 0 };
    }
    let exponent = count as i32 - 1 - i32::from(scale);
    let drop = count as i32 - 1 - after as i32;
    let digits = if drop > 0 {
        decimal::divide_rounding(value.abs(), drop as u32).to_string()
    } else {
        let mut digits = value.unsigned_abs().to_string();
        digits.extend(std::iter::repeat_n('0', drop.unsigned_abs() as usize));
        digits
    };
    // What is rounded up to the next power of ten keeps its exponent, as in PostgreSQL: 9.999 is 10.00e+00.
    let (first, rest) = digits.split_at(digits.len() - after);
    let point = if rest.is_empty() { "" } else { "." };
    Digits { text: format!("{sign}{first}{point}{rest}e{exponent:+03}"), negative: false, spaces: 0 }
}

fn roman(value: Option<i64>) -> Digits {
    const PARTS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut text = String::new();
    match value.filter(|value| (1..=3999).contains(value)) {
        None => text = "#".repeat(15),
        Some(mut left) => {
            for (value, letters) in PARTS {
                while left >= value {
                    text.push_str(letters);
                    left -= value;
                }
            }
        }
    }
    Digits { text, negative: false, spaces: 0 }
}

/// The work on one number.
struct Writer<'a> {
    template: Template,
    number: Vec<u8>,
    /// The next digit to write.
    next: usize,
    /// With `FM`: the last digit after the point that is not a trailing zero.
    last_relevant: Option<usize>,
    negative: bool,
    sign_written: bool,
    spaces: usize,
    /// The place in the template, in digits.
    place: usize,
    count: usize,
    /// Whether a digit of the number has been written.
    inside: bool,
    out: &'a mut String,
}

impl<'a> Writer<'a> {
    fn new(mut template: Template, digits: Digits, out: &'a mut String) -> Writer<'a> {
        let Digits { text, negative, mut spaces } = digits;
        template.zero_start = template.zero_start.saturating_sub(1);
        if template.roman {
            let fill_mode = template.fill_mode;
            template =
                Template { nodes: std::mem::take(&mut template.nodes), roman: true, fill_mode, ..Template::default() };
            spaces = 0;
        }
        let sign_written = if template.plus || template.minus {
            !template.plus || template.minus
        } else {
            if template.brackets && template.fill_mode && !negative {
                template.brackets = false;
            }
            if template.anchor == Anchor::Before && template.before == template.digits_before_sign {
                template.anchor = Anchor::After;
            }
            !negative && template.fill_mode && !template.sign
        };
        let number = text.into_bytes();
        let mut last_relevant = None;
        if template.fill_mode && template.decimal {
            last_relevant = number.iter().position(|byte| *byte == b'.').map(|point| {
                let last = number.iter().rposition(|byte| !matches!(byte, b'0')).unwrap_or(point);
                last.max(point)
            });
            if let Some(last) = last_relevant
                && template.zero_end > spaces
            {
                let zero = (number.len() - 1).min(template.zero_end - spaces);
                last_relevant = Some(last.max(zero));
            }
        }
        let mut count = (template.after + template.before).saturating_sub(1);
        if !sign_written && spaces == 0 {
            count += 1;
        }
        Writer {
            template,
            number,
            next: 0,
            last_relevant,
            negative,
            sign_written,
            spaces,
            place: 0,
            count,
            inside: false,
            out,
        }
    }

    fn run(mut self) {
        let nodes = std::mem::take(&mut self.template.nodes);
        for node in nodes {
            match node {
                Node::Text(letter) => self.out.push(letter),
                Node::Pattern(pattern) => self.pattern(pattern),
            }
        }
    }

    fn pattern(&mut self, pattern: Pattern) {
        let fill_mode = self.template.fill_mode;
        match pattern {
            Pattern::Nine | Pattern::Zero | Pattern::Point | Pattern::LocalePoint => self.digit(pattern),
            Pattern::Comma | Pattern::Group => {
                if self.inside {
                    self.out.push(',');
                } else if !fill_mode {
                    self.out.push(' ');
                }
            }
            // The C locale has no currency sign.
            Pattern::Currency => self.out.push(' '),
            Pattern::Roman { upper } => {
                let text = String::from_utf8_lossy(&self.number).into_owned();
                let text = if upper { text } else { text.to_ascii_lowercase() };
                if fill_mode {
                    self.out.push_str(&text);
                } else {
                    self.out.extend(std::iter::repeat_n(' ', 15_usize.saturating_sub(text.len())));
                    self.out.push_str(&text);
                }
            }
            Pattern::Ordinal { upper } => {
                let applies = !self.template.roman
                    && self.number.first() != Some(&b'#')
                    && !self.negative
                    && !self.template.decimal;
                if applies {
                    let text = String::from_utf8_lossy(&self.number).into_owned();
                    self.out.push_str(ordinal(&text, upper));
                }
            }
            Pattern::Minus => {
                if self.negative {
                    self.out.push('-');
                } else if !fill_mode {
                    self.out.push(' ');
                }
            }
            Pattern::Plus => {
                if !self.negative {
                    self.out.push('+');
                } else if !fill_mode {
                    self.out.push(' ');
                }
            }
            Pattern::SignAlways => self.out.push(if self.negative { '-' } else { '+' }),
            Pattern::Sign
            | Pattern::Blank
            | Pattern::FillMode
            | Pattern::Brackets
            | Pattern::Shift
            | Pattern::Spelled
            | Pattern::Exponent => {}
        }
    }

    fn current(&self) -> Option<u8> {
        self.number.get(self.next).copied()
    }

    /// A leading zero before the point that the template does not ask for.
    fn is_idle_zero(&self) -> bool {
        !self.template.zero && self.next == 0 && self.number.first() == Some(&b'0') && self.template.after != 0
    }

    fn ends_at_point(&self) -> bool {
        self.last_relevant.is_some_and(|last| self.number.get(last) == Some(&b'.'))
    }

    /// PostgreSQL's `NUM_numpart_to_char`.
    fn digit(&mut self, pattern: Pattern) {
        if self.template.roman {
            return;
        }
        self.inside = false;
        let at_zero = self.template.zero && self.template.zero_start == self.place;
        if !self.sign_written
            && (self.place >= self.spaces || at_zero)
            && (!self.is_idle_zero() || self.ends_at_point())
        {
            self.leading_sign();
        }
        let waiting = self.place < self.spaces;
        if waiting && (self.template.zero_start > self.place || !self.template.zero) {
            if !self.template.fill_mode {
                self.out.push(' ');
            }
        } else if waiting && self.template.zero {
            self.out.push('0');
            self.inside = true;
        } else {
            if self.current() == Some(b'.') {
                if !self.ends_at_point() || self.template.fill_mode {
                    self.out.push('.');
                }
            } else if self.last_relevant.is_some_and(|last| self.next > last) && pattern != Pattern::Zero {
                // Trailing zeros are left out.
            } else if self.is_idle_zero() {
                if !self.template.fill_mode {
                    self.out.push(' ');
                } else if self.ends_at_point() {
                    self.out.push('0');
                }
            } else if let Some(digit) = self.current() {
                self.out.push(char::from(digit));
                self.inside = true;
            }
            if self.next < self.number.len() {
                self.next += 1;
            }
        }
        let mut end = self.count + usize::from(self.spaces > 0) + usize::from(self.template.decimal);
        if self.last_relevant.is_some_and(|last| last == self.next) {
            end = self.place;
        }
        if self.place + 1 == end {
            if self.sign_written && self.template.brackets {
                self.out.push(if self.negative { '>' } else { ' ' });
            } else if self.template.sign && self.template.anchor == Anchor::After {
                self.out.push(if self.negative { '-' } else { '+' });
            }
        }
        self.place += 1;
    }

    fn leading_sign(&mut self) {
        if self.template.sign {
            if self.template.anchor == Anchor::Before {
                self.out.push(if self.negative { '-' } else { '+' });
                self.sign_written = true;
            }
            return;
        }
        self.sign_written = true;
        if self.template.brackets {
            self.out.push(if self.negative { '<' } else { ' ' });
        } else if self.negative {
            self.out.push('-');
        } else if !self.template.fill_mode {
            self.out.push(' ');
        }
    }
}

/// A number that a template with `RN` or `EEEE` cannot read.
pub(super) fn not_for_input(pattern: &str) -> SqlError {
    SqlError::unsupported(format!("\"{pattern}\" not supported for input"))
        .with_hint(format!("Leave {pattern} to to_char; a cast reads numbers with an exponent."))
}
