//! `to_number`.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};
use wharf_values::mapping::{NUMERIC_KEY, UNCONSTRAINED_SCALE};
use wharf_values::{SqlError, SqlState};

use super::Templates;
use super::number_out::not_for_input;
use super::number_template::{Anchor, Node, Pattern, Template, parse};
use crate::functions::call::{Call, Result};
use crate::functions::decimal::{self, MAX_PRECISION, parse_decimal, rescale};
use crate::functions::overload::{Declaration, ReturnArguments, immutable};

pub(super) const FUNCTIONS: &[Declaration] =
    &[immutable("to_number", "text, text -> numeric", to_number).returning(field)];

/// Constants have the decimals that are read. Otherwise a constant template says how many there may be, of which those
/// that are zeros at the end are not shown; one that shifts the point divides.
fn field(arguments: &ReturnArguments<'_>) -> Result<Field> {
    let template = arguments.text(1).and_then(|template| parse(template).ok());
    let display = |display: &str| [(NUMERIC_KEY.to_owned(), display.to_owned())].into();
    let (scale, metadata) = match (&template, arguments.text(0)) {
        (Some(template), _) if template.has_shift => (UNCONSTRAINED_SCALE, display("division")),
        (Some(template), Some(text)) => match read(template, text) {
            Ok((_, scale)) => (scale, Default::default()),
            // The call raises the error.
            Err(_) => (UNCONSTRAINED_SCALE, Default::default()),
        },
        (Some(template), None) => (template.after.min(usize::from(MAX_PRECISION)) as i8, display("trim")),
        (None, _) => (UNCONSTRAINED_SCALE, display("trim")),
    };
    Ok(Field::new("to_number", DataType::Decimal128(MAX_PRECISION, scale), true).with_metadata(metadata))
}

fn to_number(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    let templates = Templates::new(call.text(1)?, parse)?;
    call.make_numeric(|row| {
        let template = templates.at(row)?;
        if template.nodes.is_empty() {
            return Ok(None);
        }
        read(&template, text.at(row)).map(Some)
    })
}

fn read(template: &Template, text: &str) -> Result<(i128, i8)> {
    if template.exponent {
        return Err(not_for_input("EEEE"));
    }
    if template.roman {
        return Err(not_for_input("RN"));
    }
    let mut reader = Reader {
        template,
        text: text.as_bytes(),
        at: 0,
        sign: b' ',
        digits: String::new(),
        before: 0,
        after: 0,
        point: false,
    };
    reader.run();
    let Reader { sign, mut digits, after, .. } = reader;
    if digits.ends_with('.') {
        digits.pop();
    }
    let number = if sign == b'-' { format!("-{digits}") } else { digits };
    let (value, scale) = match parse_decimal(&number) {
        Some(parsed) => parsed,
        None if number.bytes().filter(u8::is_ascii_digit).count() > 38 => return Err(decimal::overflow()),
        None => return Err(SqlError::invalid_text("numeric", &format!(" {number}"))),
    };
    // A numeric of the template's precision and the scale that was read.
    let precision = template.before + template.shift + after;
    let value = rescale(value, scale, after as i8).ok_or_else(decimal::overflow)?;
    if precision < 38 && decimal::digits(value) as usize > precision {
        return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").with_detail(
            format!(
                "A field with precision {precision}, scale {after} must round to an absolute value less than {}.",
                match precision - after {
                    0 => "1".to_owned(),
                    whole => format!("10^{whole}"),
                }
            ),
        ));
    }
    Ok((value, (after + template.shift) as i8))
}

/// PostgreSQL's `NUM_processor` for input.
struct Reader<'a> {
    template: &'a Template,
    text: &'a [u8],
    at: usize,
    sign: u8,
    digits: String,
    before: usize,
    after: usize,
    point: bool,
}

impl Reader<'_> {
    fn current(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Steps over a character.
    fn skip_char(&mut self) {
        self.at += 1;
        while self.current().is_some_and(|byte| byte & 0xc0 == 0x80) {
            self.at += 1;
        }
    }

    /// Steps over characters that cannot belong to the number.
    fn skip_others(&mut self, count: usize) {
        for _ in 0..count {
            match self.current() {
                None | Some(b'0'..=b'9' | b'.' | b',' | b'+' | b'-') => return,
                Some(_) => self.skip_char(),
            }
        }
    }

    fn run(&mut self) {
        let template = self.template;
        for node in &template.nodes {
            let Some(byte) = self.current() else { break };
            let pattern = match node {
                // Any character stands for a text of the template.
                Node::Text(_) => {
                    self.skip_char();
                    continue;
                }
                Node::Pattern(pattern) => *pattern,
            };
            match pattern {
                Pattern::Nine | Pattern::Zero | Pattern::Point | Pattern::LocalePoint => self.digit(pattern),
                Pattern::Comma | Pattern::Group => {
                    if template.fill_mode || byte != b',' {
                        continue;
                    }
                }
                Pattern::Minus if byte == b'-' => self.sign = b'-',
                Pattern::Plus if byte == b'+' => self.sign = b'+',
                Pattern::SignAlways if matches!(byte, b'-' | b'+') => self.sign = byte,
                Pattern::Minus | Pattern::Plus | Pattern::SignAlways | Pattern::Currency => {
                    self.skip_others(1);
                    continue;
                }
                Pattern::Ordinal { .. } => {
                    self.skip_others(2);
                    continue;
                }
                _ => continue,
            }
            self.at += 1;
        }
    }

    /// PostgreSQL's `NUM_numpart_from_char`; leaves the place on the last byte it used.
    fn digit(&mut self, pattern: Pattern) {
        if self.current() == Some(b' ') {
            self.at += 1;
        }
        let Some(byte) = self.current() else { return };
        let template = self.template;
        let is_digit_pattern = matches!(pattern, Pattern::Nine | Pattern::Zero);
        if self.sign == b' ' && is_digit_pattern && self.before + self.after == 0 {
            let locale_sign = template.sign && template.anchor == Anchor::Before;
            let negative = byte == b'-' || (!locale_sign && template.brackets && byte == b'<');
            if negative || byte == b'+' {
                self.sign = if negative { b'-' } else { b'+' };
                self.at += 1;
            }
        }
        let Some(byte) = self.current() else { return };
        let mut read = false;
        if byte.is_ascii_digit() {
            if self.point && self.after == template.after {
                return;
            }
            self.digits.push(char::from(byte));
            if self.point {
                self.after += 1;
            } else {
                self.before += 1;
            }
            read = true;
        } else if template.decimal && !self.point && byte == b'.' {
            self.digits.push('.');
            self.point = true;
            read = true;
        }
        if self.sign == b' ' && self.before + self.after > 0 {
            let next = self.text.get(self.at + 1).copied();
            if template.sign && read && next.is_some_and(|next| !next.is_ascii_digit()) {
                if let Some(sign @ (b'-' | b'+')) = next {
                    self.sign = sign;
                    self.at += 1;
                }
            } else if !read && !template.sign && (template.plus || template.minus) && matches!(byte, b'-' | b'+') {
                self.sign = byte;
            }
        }
    }
}
