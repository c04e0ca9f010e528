//! Random values on both sides: Wharf prints what PostgreSQL prints, and reads or refuses what PostgreSQL reads or
//! refuses. The generator is seeded, so a failure comes back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Field;
use wharf_catalog::SqlType;
use wharf_values::{ColumnBuilder, TextFormat, binary_out, field, text_in, text_out};

use crate::golden::set;
use crate::postgres::Server;

/// Splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (u128::from(self.next()) % (high as i128 - low as i128 + 1) as u128) as i64
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// A column of a type from values in the binary format.
fn column(ty: &SqlType, values: impl IntoIterator<Item = Vec<u8>>) -> ArrayRef {
    let mut builder = ColumnBuilder::new(ty, &TextFormat::default());
    for value in values {
        builder.push_binary(&value).unwrap();
    }
    builder.finish()
}

/// Compares the text of every value of a column, which PostgreSQL gets as one array in Wharf's binary format.
fn compare_text(server: &mut Server, ty: &SqlType, array: &ArrayRef, format: &TextFormat) {
    let list_type = SqlType::Array(Box::new(ty.clone()));
    let item = Arc::new(Field::new_list_field(array.data_type().clone(), true));
    let list: ArrayRef =
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([array.len()]), Arc::clone(array), None));
    let mut binary = Vec::new();
    binary_out::encoder(&field("v", &list_type, true), &list).unwrap().write(0, &mut binary);
    let expected = server.texts(ty.pg_name(), binary);
    assert_eq!(expected.len(), array.len());
    let mut encoder = text_out::encoder(&field("v", ty, true), array, format).unwrap();
    for (row, expected) in expected.iter().enumerate() {
        let mut text = Vec::new();
        encoder.write(row, &mut text);
        assert_eq!(&String::from_utf8(text).unwrap(), expected, "{ty} row {row}");
    }
}

#[test]
fn floats_print_as_in_postgresql() {
    let Some(mut server) = Server::from_environment() else {
        return;
    };
    let random = &mut Random(1);
    let mut doubles = Vec::new();
    let mut reals = Vec::new();
    for _ in 0..100_000 {
        // All bit patterns, whole numbers around the powers of two (where digits may lie half way), short decimals.
        let bits = random.next();
        let whole = (random.next() >> random.below(64)) as f64 * 2.0_f64.powi(random.between(0, 70) as i32);
        let short = random.between(-99_999, 99_999) as f64 / 10.0_f64.powi(random.between(0, 9) as i32);
        doubles.extend([f64::from_bits(bits), whole, short, (random.next() >> 10) as f64]);
        reals.extend([f32::from_bits(bits as u32), whole as f32, short as f32, (random.next() >> 38) as f32]);
    }
    let array = column(&SqlType::Double, doubles.iter().map(|value| value.to_be_bytes().to_vec()));
    compare_text(&mut server, &SqlType::Double, &array, &TextFormat::default());
    let array = column(&SqlType::Real, reals.iter().map(|value| value.to_be_bytes().to_vec()));
    compare_text(&mut server, &SqlType::Real, &array, &TextFormat::default());
    for extra in ["0", "-3"] {
        let mut format = TextFormat::default();
        set(&mut format, "extra_float_digits", extra);
        server.set("extra_float_digits", extra);
        let array = column(&SqlType::Double, doubles[..40_000].iter().map(|value| value.to_be_bytes().to_vec()));
        compare_text(&mut server, &SqlType::Double, &array, &format);
        let array = column(&SqlType::Real, reals[..40_000].iter().map(|value| value.to_be_bytes().to_vec()));
        compare_text(&mut server, &SqlType::Real, &array, &format);
    }
}

#[test]
fn numerics_print_as_in_postgresql() {
    let Some(mut server) = Server::from_environment() else {
        return;
    };
    let random = &mut Random(2);
    for (precision, scale) in [(5, 2), (18, 0), (38, 10), (38, 38), (15, 4), (60, 20)] {
        let ty = SqlType::Numeric(Some((precision, scale)));
        let mut builder = ColumnBuilder::new(&ty, &TextFormat::default());
        for _ in 0..5_000 {
            let digits = 1 + random.below(u64::from(precision)) as usize;
            let mut text = String::new();
            for _ in 0..digits {
                text.push(char::from(b'0' + random.below(10) as u8));
            }
            let zeros = scale as usize + 1;
            let text = format!("{}{text}", "0".repeat(zeros));
            let (whole, fraction) = text.split_at(text.len() - scale as usize);
            let sign = random.pick(&["", "-"]);
            builder.push_text(format!("{sign}{whole}.{fraction}").as_bytes()).unwrap();
        }
        compare_text(&mut server, &ty, &builder.finish(), &TextFormat::default());
    }
}

#[test]
fn dates_and_timestamps_print_as_in_postgresql() {
    let Some(mut server) = Server::from_environment() else {
        return;
    };
    let random = &mut Random(3);
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "America/St_Johns",
        "Pacific/Apia",
        "Europe/Dublin",
        "Asia/Tehran",
        "-7",
    ];
    let styles = ["ISO, MDY", "SQL, DMY", "Postgres, MDY", "German, DMY"];
    for zone in zones {
        for style in styles {
            let mut format = TextFormat::default();
            for (name, value) in [("TimeZone", zone), ("DateStyle", style)] {
                set(&mut format, name, value);
                server.set(name, value);
            }
            // Microseconds since 2000, mostly in the years zones change in.
            let mut micros = vec![i64::MAX, i64::MIN, 0];
            for _ in 0..3_000 {
                let second = random.between(-946_684_800, 2_840_140_800);
                micros.extend([
                    second * 1_000_000,
                    second / 900 * 900_000_000,
                    second * 1_000_000 + random.between(0, 999_999),
                    random.between(1_136_073_600, 4_000_000_000_000) * 1_000_000,
                ]);
            }
            let bytes = || micros.iter().map(|value| value.to_be_bytes().to_vec());
            let array = column(&SqlType::TimestampTz, bytes());
            compare_text(&mut server, &SqlType::TimestampTz, &array, &format);
            let array = column(&SqlType::Timestamp, bytes());
            compare_text(&mut server, &SqlType::Timestamp, &array, &format);
            let days = (0..3_000).map(|_| random.between(-2_451_545, 2_145_031_948) as i32);
            let array = column(&SqlType::Date, days.map(|day| day.to_be_bytes().to_vec()));
            compare_text(&mut server, &SqlType::Date, &array, &format);
        }
    }
}

#[test]
fn intervals_print_as_in_postgresql() {
    let Some(mut server) = Server::from_environment() else {
        return;
    };
    let random = &mut Random(4);
    for style in ["postgres", "postgres_verbose", "sql_standard", "iso_8601"] {
        let mut format = TextFormat::default();
        set(&mut format, "IntervalStyle", style);
        server.set("IntervalStyle", style);
        let array = column(
            &SqlType::Interval,
            (0..20_000).map(|_| {
                let micros = random.between(-9_000_000_000_000_000, 9_000_000_000_000_000) >> random.below(64);
                let days = (random.between(-100_000, 100_000) as i32) >> random.below(32);
                let months = (random.between(-100_000, 100_000) as i32) >> random.below(32);
                [&micros.to_be_bytes()[..], &days.to_be_bytes(), &months.to_be_bytes()].concat()
            }),
        );
        compare_text(&mut server, &SqlType::Interval, &array, &format);
    }
}

/// What Wharf refuses by design: intervals longer than Arrow's, and made-up POSIX time zones with daylight saving.
fn is_known_difference(got: &str, expected: &str) -> bool {
    (got == "! 22008 interval out of range" && !expected.starts_with('!'))
        || (got.starts_with("! 22023 time zone") && got.contains(|c: char| c.is_ascii_digit()))
}

/// Compares what becomes of many inputs: text, or code and message.
fn compare_input(server: &mut Server, ty: &SqlType, inputs: &[String], format: &TextFormat) {
    let expected = server.attempts(&ty.to_string(), inputs);
    let mut wrong = Vec::new();
    for (input, expected) in inputs.iter().zip(expected) {
        let got = match text_in::parse(ty, input, format) {
            Ok(array) => text_out::value_to_text(&field("v", ty, true), &array, 0, format).unwrap().unwrap(),
            Err(error) => format!("! {} {}", error.code, error.message),
        };
        if got != expected && !is_known_difference(&got, &expected) {
            wrong.push(format!("{input:?}\n  expected {expected}\n  got      {got}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} {ty} differ:\n{}",
        wrong.len(),
        inputs.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
}

#[test]
fn dates_and_times_are_read_as_in_postgresql() {
    let Some(mut server) = Server::from_environment() else {
        return;
    };
    let random = &mut Random(5);
    let parts = [
        "2001-02-03",
        "1999-12-31",
        "2/3/2001",
        "13/1/2001",
        "Feb",
        "3",
        "2001",
        "99",
        "4",
        "04:05:06",
        "23:59:60",
        "4:05",
        "12:34.5",
        "AM",
        "PM",
        "BC",
        "AD",
        "Mon",
        "PST",
        "CEST",
        "MSK",
        "UTC",
        "Z",
        "+01",
        "-0830",
        "+5:45",
        "Europe/Berlin",
        "T",
        "t",
        "040506",
        "20010203",
        "010203",
        "2001034",
        "034",
        ".5",
        "J2451187",
        "J",
        "2451187",
        "y",
        "m",
        "d",
        "h",
        "mm",
        "s",
        "epoch",
        "infinity",
        "-infinity",
        "allballs",
        "jan-8",
        "8-jan-99",
        "at",
        "on",
        ",",
        "/",
        "-",
        "x",
        "dst",
        "1.5",
        "2001.034",
        "isoyear",
        "24:00:00",
        "0",
        "00",
        "000",
        "12345",
        "123456",
    ];
    let mut inputs = Vec::new();
    for _ in 0..8_000 {
        let count = 1 + random.below(5);
        let mut input = String::new();
        for _ in 0..count {
            input.push_str(random.pick(&parts));
            input.push_str(random.pick(&[" ", " ", " ", "", "-", "T"]));
        }
        inputs.push(input);
    }
    for _ in 0..4_000 {
        // Sound dates and times with one character changed.
        let mut input = format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{}{}",
            random.below(3000),
            random.below(14),
            random.below(33),
            random.below(26),
            random.below(62),
            random.below(62),
            random.below(10_000_000),
            random.pick(&["", "+01", "-03:30", "Z", " CET"]),
        );
        if random.below(3) == 0 {
            let at = random.below(input.len() as u64) as usize;
            input.replace_range(at..=at, random.pick(&["", " ", "-", ":", ".", "1", "x", "/", "00"]));
        }
        inputs.push(input);
    }
    for (zone, style) in [("UTC", "ISO, MDY"), ("Europe/Berlin", "ISO, DMY"), ("America/New_York", "ISO, YMD")] {
        let mut format = TextFormat::default();
        for (name, value) in [("TimeZone", zone), ("DateStyle", style)] {
            set(&mut format, name, value);
            server.set(name, value);
        }
        for ty in [SqlType::Date, SqlType::Time, SqlType::Timestamp, SqlType::TimestampTz] {
            compare_input(&mut server, &ty, &inputs, &format);
        }
    }
}

#[test]
fn wall_clock_times_get_the_offset_postgresql_gives_them() {
    let Some(mut server) = Server::from_environment() else {
        return;
    };
    let random = &mut Random(6);
    for zone in
        ["Europe/Berlin", "America/New_York", "Europe/Moscow", "Pacific/Apia", "Australia/Lord_Howe", "Europe/Dublin"]
    {
        let mut format = TextFormat::default();
        set(&mut format, "TimeZone", zone);
        server.set("TimeZone", zone);
        let inputs: Vec<String> = (0..10_000)
            .map(|_| {
                format!(
                    "{}-{:02}-{:02} {:02}:{:02}:00",
                    random.between(1880, 2090),
                    random.between(1, 12),
                    random.between(1, 28),
                    random.below(5),
                    random.below(4) * 15
                )
            })
            .collect();
        compare_input(&mut server, &SqlType::TimestampTz, &inputs, &format);
    }
}

#[test]
fn intervals_are_read_as_in_postgresql() {
    let Some(mut server) = Server::from_environment() else {
        return;
    };
    let random = &mut Random(7);
    let parts = [
        "1", "2", "-3", "+4", "1.5", "-0.25", "0.1", "year", "years", "mon", "months", "day", "days", "week", "hour",
        "h", "min", "m", "sec", "s", "ms", "us", "decade", "c", "ago", "1:02:03", "-4:05", "1-2", "-1-6", "@",
        "12:34.5", "x", "P1Y", "PT5M", "T", "P", "1Y", "2M", "3D", "0", "100", "quarter", ".5", "1e2", "-", "+",
    ];
    let mut inputs = Vec::new();
    for _ in 0..12_000 {
        let count = 1 + random.below(6);
        let mut input = String::new();
        for _ in 0..count {
            input.push_str(random.pick(&parts));
            input.push_str(random.pick(&[" ", " ", ""]));
        }
        inputs.push(input);
    }
    for _ in 0..4_000 {
        let mut number = || {
            format!(
                "{}{}",
                random.pick(&["", "-"]),
                random.pick(&["0", "1", "12", "0.5", "1.25", "00010203", "040506"])
            )
        };
        let numbers: Vec<String> = (0..6).map(|_| number()).collect();
        let mut input = String::from("P");
        for (number, unit) in numbers.iter().zip(["Y", "M", "D", "TH", "M", "S"]) {
            if random.below(2) == 0 {
                if let Some(unit) = unit.strip_prefix('T') {
                    input.push('T');
                    input.push_str(number);
                    input.push_str(unit);
                } else {
                    input.push_str(number);
                    input.push_str(random.pick(&[unit, unit, "-", ":", "T", "W", ""]));
                }
            }
        }
        inputs.push(input);
    }
    for style in ["postgres", "sql_standard"] {
        let mut format = TextFormat::default();
        set(&mut format, "IntervalStyle", style);
        server.set("IntervalStyle", style);
        compare_input(&mut server, &SqlType::Interval, &inputs, &format);
    }
}

#[test]
fn numbers_are_read_as_in_postgresql() {
    let Some(mut server) = Server::from_environment() else {
        return;
    };
    let random = &mut Random(8);
    let mut inputs = Vec::new();
    for _ in 0..10_000 {
        let mut input = String::new();
        input.push_str(random.pick(&["", "", "", "-", "+", " ", "--"]));
        for _ in 0..random.below(12) {
            input.push(char::from(b'0' + random.below(10) as u8));
        }
        if random.below(2) == 0 {
            input.push('.');
            for _ in 0..random.below(12) {
                input.push(char::from(b'0' + random.below(10) as u8));
            }
        }
        input.push_str(random.pick(&["", "", "", "", " ", "e5", "e-5", "E+3", "e", "x", "5", "e30", "e-30"]));
        inputs.push(input);
    }
    let format = TextFormat::default();
    for ty in [
        SqlType::SmallInt,
        SqlType::Integer,
        SqlType::BigInt,
        SqlType::Real,
        SqlType::Double,
        SqlType::Numeric(Some((10, 2))),
        SqlType::Numeric(Some((38, 20))),
        SqlType::Numeric(Some((45, 5))),
    ] {
        compare_input(&mut server, &ty, &inputs, &format);
    }
}

#[test]
fn json_is_read_as_in_postgresql() {
    let Some(mut server) = Server::from_environment() else {
        return;
    };
    let random = &mut Random(9);
    let parts = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"bb\"",
        "\"\\u00e9\"",
        "1",
        "-2.50",
        "1e3",
        "true",
        "null",
        "x",
        " ",
        "\"\\n\"",
        "{}",
        "[]",
        "{\"a\":1}",
        "\"b\":2",
        "\n",
        "\"",
        "-",
        "\"ä\"",
        "é",
        "01",
    ];
    let mut inputs = Vec::new();
    for _ in 0..12_000 {
        let count = 1 + random.below(9);
        let mut input = String::new();
        for _ in 0..count {
            input.push_str(random.pick(&parts));
        }
        inputs.push(input);
    }
    let format = TextFormat::default();
    for ty in [SqlType::Json, SqlType::Jsonb] {
        compare_input(&mut server, &ty, &inputs, &format);
    }
}
