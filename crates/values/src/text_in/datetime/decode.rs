//! Dates and times in every form PostgreSQL reads that is not plain ISO: month names, either order of day and month,
//! run-together digits, day of year, Julian days, AM and PM, BC, time zones by offset, abbreviation or name, and the
//! words (`epoch`, `infinity`, and with a clock `now`, `today`, `tomorrow`, `yesterday`).
//!
//! What always holds: each part of a date is set once; a field is understood from what the fields before it have set,
//! by the rules of PostgreSQL's manual (Appendix B). This is not the hot path: it allocates.

use super::error::DecodeError::BadFormat;
use super::error::Step;
use super::fields::{Field, Kind};
use super::numbers::offset;
use super::state::{Context, Decoded, Decoder, Moment, Zone, mask};
use super::state_words::Said;
use super::words::Prefix;

/// Reads the fields of a date, with or without a time.
pub(super) fn decode_date_time(fields: &[Field], context: &Context<'_>) -> Step<Decoded> {
    let mut decoder = Decoder::new(context);
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
                        decoder.special = Some(decoded);
                        mask::SPECIAL
                    }
                }
            }
        };
        decoder.set(set)?;
    }
    decoder.validate_date()?;
    decoder.apply_am_pm()?;
    if let Some(special) = decoder.special {
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
            // A letter before it changes nothing here, and waits for a number.
            Kind::Time => decoder.time(&field.text)?,
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
    let date = decoder.seen & mask::DATE;
    let offset_is_given = decoder.zone.is_none() && decoder.seen & mask::ZONE != 0;
    if offset_is_given {
        return Ok(decoder.moment);
    }
    let date_fits = match &decoder.zone {
        // A zone with daylight saving has no offset without a date.
        Some(Zone::Named(zone)) => zone.never_changes() || date == mask::DATE,
        // What an abbreviation or the session's zone means is looked up for today, or for a whole date.
        Some(Zone::Abbreviation(..)) | None => date == 0 || date == mask::DATE,
    };
    if date_fits && decoder.seen & mask::DAYLIGHT_MODIFIER == 0 { Ok(decoder.moment) } else { Err(BadFormat) }
}
