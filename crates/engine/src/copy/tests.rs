//! The formats against what PostgreSQL 15 answered to the same bytes.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use bytes::Bytes;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, TextFormat, text_out};

use super::{CopyDecoder, CopyEncoder, CopyOptions, OptionItem, parse_statement};

/// The options of `COPY t FROM/TO STDIN <text>`.
fn items(text: &str, to: bool) -> Vec<OptionItem> {
    let direction = if to { "to stdout" } else { "from stdin" };
    let sql = format!("t {direction} {text}");
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(&sql).unwrap();
    parse_statement(&mut parser).unwrap().1
}

fn options(text: &str, to: bool) -> Result<CopyOptions, SqlError> {
    CopyOptions::new(&items(text, to), to)
}

type Columns<'a> = &'a [(&'a str, SqlType, bool)];

fn ab() -> Vec<(&'static str, SqlType, bool)> {
    vec![("a", SqlType::Integer, true), ("b", SqlType::Text, true)]
}

fn decoder(text: &str, columns: Columns<'_>, batch_rows: usize) -> CopyDecoder {
    let columns = columns.iter().map(|(name, ty, nullable)| ((*name).to_owned(), ty.clone(), *nullable)).collect();
    CopyDecoder::new(&options(text, false).unwrap(), "t", columns, &TextFormat::default(), batch_rows).unwrap()
}

fn shown(columns: Columns<'_>, batches: &[Vec<ArrayRef>]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch[0].len() {
            let values = columns.iter().zip(batch).map(|((name, ty, _), array)| {
                let field = wharf_values::field(*name, ty, true);
                text_out::value_to_text(&field, array, row, &TextFormat::default())
                    .unwrap()
                    .unwrap_or("NULL".to_owned())
            });
            rows.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    rows
}

/// Decodes data cut into pieces of so many bytes.
fn decode_in_pieces(text: &str, columns: Columns<'_>, data: &[u8], piece: usize) -> Result<Vec<String>, SqlError> {
    let mut decoder = decoder(text, columns, 2);
    let mut batches = Vec::new();
    for piece in data.chunks(piece.max(1)) {
        decoder.push(Bytes::copy_from_slice(piece))?;
        batches.extend(std::iter::from_fn(|| decoder.next_batch()));
    }
    decoder.finish()?;
    batches.extend(std::iter::from_fn(|| decoder.next_batch()));
    Ok(shown(columns, &batches))
}

/// Decodes data whole and cut everywhere, which must not matter.
fn decode(text: &str, columns: Columns<'_>, data: &[u8]) -> Result<Vec<String>, SqlError> {
    let whole = decode_in_pieces(text, columns, data, data.len());
    for piece in [1, 2, 3, 7] {
        let pieces = decode_in_pieces(text, columns, data, piece);
        assert_eq!(pieces, whole, "in pieces of {piece}: {:?}", String::from_utf8_lossy(data));
    }
    whole
}

fn rows(text: &str, data: &[u8]) -> Vec<String> {
    decode(text, &ab(), data).unwrap()
}

/// SQLSTATE, message and context of an error.
fn failure(text: &str, columns: Columns<'_>, data: &[u8]) -> String {
    let error = decode(text, columns, data).unwrap_err();
    format!("{} {} / {}", error.code, error.message, error.context.as_deref().unwrap_or(""))
}

#[test]
fn text_is_read_as_postgresql_reads_it() {
    assert_eq!(rows("", b"1\tx\n2\ty\n3\tz"), ["1|x", "2|y", "3|z"]);
    assert_eq!(rows("", b"1\t\\N\n2\ta\\tb\\x41\\101\\q\\\\\n\\N\ta\\\nb\n"), ["1|NULL", "2|a\tbAAq\\", "NULL|a\nb"]);
    assert_eq!(rows("", b"1\tx\r\n2\ty\r\n"), ["1|x", "2|y"]);
    assert_eq!(rows("", b"1\tx\r2\ty\r"), ["1|x", "2|y"]);
    assert_eq!(rows("", b"1\tx\n\\.\n2\ty\n"), ["1|x"]);
    assert_eq!(rows("", b"1\tx\n2\ty\\.\n3\tz\n"), ["1|x", "2|y"]);
    assert_eq!(rows("(delimiter ';', null 'x')", b"1;x\nx;\\x\n"), ["1|NULL", "NULL|x"]);
    assert_eq!(rows("(header)", b"whatever\n1\tx\n"), ["1|x"]);
    assert_eq!(rows("", b""), [""; 0]);
}

#[test]
fn errors_of_text_name_line_and_column() {
    let columns = &ab();
    for (data, expected) in [
        (&b"1\tx\n2\n"[..], "22P04 missing data for column \"b\" / COPY t, line 2: \"2\""),
        (b"1\tx\n2\ty\tz\n", "22P04 extra data after last expected column / COPY t, line 2: \"2\ty\tz\""),
        (b"1\tx\nq\ty\n", "22P02 invalid input syntax for type integer: \"q\" / COPY t, line 2, column a: \"q\""),
        (b"1\tx\n\n", "22P02 invalid input syntax for type integer: \"\" / COPY t, line 2, column a: \"\""),
        (b"1\tx\r\n2\ty\n", "22P04 literal newline found in data / COPY t, line 2"),
        (b"1\tx\n2\ty\r\n", "22P04 literal carriage return found in data / COPY t, line 2"),
        (b"1\tx\\.y\n", "22P04 end-of-copy marker corrupt / COPY t, line 1"),
        (b"1\t\xff\n", "22021 invalid byte sequence for encoding \"UTF8\": 0xff / COPY t, line 1"),
    ] {
        assert_eq!(failure("", columns, data), expected);
    }
    let strict = &[("a", SqlType::Integer, true), ("b", SqlType::Integer, false)];
    assert_eq!(
        failure("", strict, b"1\t\\N\n"),
        "23502 null value in column \"b\" of relation \"t\" violates not-null constraint / COPY t, line 1: \"1\t\\N\""
    );
    let long = format!("1\t{}\n", "x".repeat(150));
    let shown = "x".repeat(100);
    assert!(failure("", strict, long.as_bytes()).ends_with(&format!("COPY t, line 1, column b: \"{shown}...\"")));
}

#[test]
fn csv_is_read_as_postgresql_reads_it() {
    let csv = "(format csv)";
    assert_eq!(rows(csv, b"1,\"a\"\"b,\nc\"\n2,\n3,\"\"\n4,x\"y\"z\n"), ["1|a\"b,\nc", "2|NULL", "3|", "4|xyz"]);
    assert_eq!(rows(csv, b"1,a\r\n2,\"b\r\nc\"\r\n"), ["1|a", "2|b\r\nc"]);
    assert_eq!(rows(csv, b"1,x\n\\.\n2,y\n"), ["1|x"]);
    assert_eq!(rows(csv, b"1,\\.\n2,y\n"), ["1|\\.", "2|y"]);
    assert_eq!(rows("(format csv, header)", b"a,b\n1,x\n"), ["1|x"]);
    assert_eq!(rows("(format csv, header match)", b"a,b\n1,x\n"), ["1|x"]);
    assert_eq!(rows("(format csv, force_null (b))", b"1,\"\"\n"), ["1|NULL"]);
    assert_eq!(rows("(format csv, force_not_null (b))", b"1,\n"), ["1|"]);
    assert_eq!(rows("(format csv, null 'N', force_null (b))", b"1,\"N\"\n2,N\n"), ["1|NULL", "2|NULL"]);
    assert_eq!(rows("(format csv, escape '\\')", b"1,\"a\\\"b\\\\c\\d\"\n"), ["1|a\"b\\c\\d"]);
    assert_eq!(rows("csv delimiter '|' quote ''''", b"1|'a|b'\n"), ["1|a|b"]);
}

#[test]
fn errors_of_csv_name_the_record() {
    let columns = &ab();
    for (options, data, expected) in [
        ("(format csv)", &b"1,\"abc\n"[..], "22P04 unterminated CSV quoted field / COPY t, line 1: \"1,\"abc\n\""),
        ("(format csv)", b"1,a\n2,b\r\n", "22P04 unquoted carriage return found in data / COPY t, line 2"),
        ("(format csv)", b"1,a\n2,b,c\n", "22P04 extra data after last expected column / COPY t, line 2: \"2,b,c\""),
        (
            "(format csv, header match)",
            b"a,c\n1,x\n",
            "22P04 column name mismatch in header line field 2: got \"c\", expected \"b\" / COPY t, line 1: \"a,c\"",
        ),
        (
            "(format csv, header match)",
            b"a\n1,x\n",
            "22P04 wrong number of fields in header line: got 1, expected 2 / COPY t, line 1: \"a\"",
        ),
        (
            "(format csv, header match)",
            b"a,\n1,x\n",
            "22P04 column name mismatch in header line field 2: got null value (\"\"), expected \"b\" / COPY t, line 1: \"a,\"",
        ),
    ] {
        assert_eq!(failure(options, columns, data), expected);
    }
}

#[test]
fn options_are_refused_as_postgresql_refuses_them() {
    for (text, to, expected) in [
        ("(format foo)", true, "22023 COPY format \"foo\" not recognized"),
        ("(format csv, format csv)", true, "42601 conflicting or redundant options"),
        ("(delimiter ';;')", true, "0A000 COPY delimiter must be a single one-byte character"),
        ("(delimiter E'\\n')", true, "22023 COPY delimiter cannot be newline or carriage return"),
        ("(null E'\\n')", true, "22023 COPY null representation cannot use newline or carriage return"),
        ("(delimiter 'a')", true, "22023 COPY delimiter cannot be \"a\""),
        ("(format binary, header)", true, "0A000 cannot specify HEADER in BINARY mode"),
        ("(format binary, delimiter ',')", true, "42601 cannot specify DELIMITER in BINARY mode"),
        ("(format binary, null '')", true, "42601 cannot specify NULL in BINARY mode"),
        ("(quote '\"')", true, "0A000 COPY quote available only in CSV mode"),
        ("(format csv, quote '\"\"')", true, "0A000 COPY quote must be a single one-byte character"),
        ("(format csv, quote ',')", true, "22023 COPY delimiter and quote must be different"),
        ("(escape '\"')", true, "0A000 COPY escape available only in CSV mode"),
        ("(format csv, escape 'ab')", true, "0A000 COPY escape must be a single one-byte character"),
        ("(force_quote *)", true, "0A000 COPY force quote available only in CSV mode"),
        ("(force_not_null (a))", true, "0A000 COPY force not null available only in CSV mode"),
        ("(format csv, force_not_null (a))", true, "0A000 COPY force not null only available using COPY FROM"),
        ("(format csv, force_null (a))", true, "0A000 COPY force null only available using COPY FROM"),
        ("(format csv, force_quote (a))", false, "0A000 COPY force quote only available using COPY TO"),
        ("(format csv, null 'a,b')", true, "0A000 COPY delimiter must not appear in the NULL specification"),
        ("(format csv, null 'a\"b')", true, "0A000 CSV quote character must not appear in the NULL specification"),
        ("(header match)", true, "0A000 cannot use \"match\" with HEADER in COPY TO"),
        ("(header foo)", true, "42601 header requires a Boolean value or \"match\""),
        ("(header 2)", true, "42601 header requires a Boolean value or \"match\""),
        ("(foo 1)", true, "42601 option \"foo\" not recognized"),
        (
            "(format csv, force_quote a)",
            true,
            "22023 argument to option \"force_quote\" must be a list of column names",
        ),
        ("(format csv, header true, header false)", true, "42601 conflicting or redundant options"),
    ] {
        let error = options(text, to).unwrap_err();
        assert_eq!(format!("{} {}", error.code, error.message), expected, "{text}");
    }
    assert!(options("with csv header quote as '\"' force quote *", true).is_ok());
    assert!(options("with (freeze, encoding 'utf-8', header on)", false).is_ok());
    let error = CopyDecoder::new(
        &options("(format csv, force_null (x))", false).unwrap(),
        "t",
        vec![("a".to_owned(), SqlType::Integer, true)],
        &TextFormat::default(),
        10,
    );
    assert_eq!(error.err().unwrap().code.as_str(), "42P10");
}

fn encode(text: &str, columns: Columns<'_>, data: &[u8]) -> Vec<u8> {
    let mut decoder = decoder("", columns, 1000);
    decoder.push(Bytes::copy_from_slice(data)).unwrap();
    decoder.finish().unwrap();
    let arrays = decoder.next_batch().unwrap();
    let fields = columns.iter().map(|(name, ty, _)| wharf_values::field(*name, ty, true)).collect::<Vec<Field>>();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.clone())), arrays).unwrap();
    let columns = fields.iter().map(|field| (field.name().clone(), Arc::new(field.clone()))).collect();
    let mut encoder = CopyEncoder::new(&options(text, true).unwrap(), columns, &TextFormat::default()).unwrap();
    let mut out = Vec::new();
    encoder.header(&mut out);
    encoder.encode(&batch, &mut out).unwrap();
    encoder.trailer(&mut out);
    out
}

fn encoded(text: &str, data: &[u8]) -> String {
    String::from_utf8(encode(text, &ab(), data)).unwrap()
}

#[test]
fn rows_are_written_as_postgresql_writes_them() {
    let data = b"1\ta\\tb\\n\\\\\\r\\v\\b\\f;\n2\t\\N\n3\t\n4\tq\"uo,te\n5\t\\\\.\n";
    assert_eq!(encoded("", data), "1\ta\\tb\\n\\\\\\r\\v\\b\\f;\n2\t\\N\n3\t\n4\tq\"uo,te\n5\t\\\\.\n");
    assert_eq!(
        encoded("(format csv, header)", data),
        "a,b\n1,\"a\tb\n\\\r\u{b}\u{8}\u{c};\"\n2,\n3,\"\"\n4,\"q\"\"uo,te\"\n5,\\.\n"
    );
    assert_eq!(encoded("(format csv, force_quote *, null 'x')", b"1\tx\n2\t\\N\n"), "\"1\",\"x\"\n\"2\",x\n");
    assert_eq!(encoded("(delimiter ';', header)", b"1\ta;b\n"), "a;b\n1;a\\;b\n");
    assert_eq!(encoded("(format csv, escape '\\')", b"1\ta\"b\\\\c\n"), "1,\"a\\\"b\\\\c\"\n");
    let single: Columns<'_> = &[("a", SqlType::Text, true)];
    assert_eq!(encode("(format csv)", single, b"\\\\.\n"), b"\"\\.\"\n");
}

#[test]
fn binary_comes_back_as_it_was() {
    let columns = &[
        ("a", SqlType::Integer, true),
        ("b", SqlType::Text, true),
        ("c", SqlType::Numeric(Some((10, 2))), true),
        ("d", SqlType::TimestampTz, true),
    ];
    let data = b"1\tx\t1.50\t2020-01-01 10:00:00+00\n\\N\t\\N\t\\N\t\\N\n3\t\t-0.01\tinfinity\n";
    let bytes = encode("(format binary)", columns, data);
    assert_eq!(&bytes[..19], b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    let rows = decode("(format binary)", columns, &bytes).unwrap();
    assert_eq!(rows, ["1|x|1.50|2020-01-01 10:00:00+00", "NULL|NULL|NULL|NULL", "3||-0.01|infinity"]);
    let wrong = |bytes: &[u8]| decode("(format binary)", columns, bytes).unwrap_err().message;
    assert_eq!(wrong(b"PGCOPX"), "COPY file signature not recognized");
    assert_eq!(wrong(&bytes[..bytes.len() - 2]), "unexpected EOF in COPY data");
    assert_eq!(wrong(&[&bytes[..], b"x"].concat()), "received copy data after EOF marker");
    let mut fields = bytes.clone();
    fields[20] = 3;
    assert_eq!(wrong(&fields), "row field count is 3, expected 4");
}

#[test]
fn json_is_written_and_read_line_by_line() {
    let columns = &[
        ("a", SqlType::Numeric(Some((10, 2))), true),
        ("b", SqlType::Text, true),
        ("c", SqlType::Array(Box::new(SqlType::Text)), true),
        ("d", SqlType::Timestamp, true),
        ("e", SqlType::Jsonb, true),
    ];
    let data = b"1.50\tx\"y\\nz\t{a,NULL,\"b c\"}\t2020-01-01 10:00:00\t{\"k\": [1, null]}\n\\N\t\\N\t\\N\t\\N\t\\N\n";
    let bytes = encode("(format json)", columns, data);
    let lines = concat!(
        r#"{"a":1.50,"b":"x\"y\nz","c":["a",null,"b c"],"d":"2020-01-01T10:00:00","e":{"k": [1, null]}}"#,
        "\n",
        r#"{"a":null,"b":null,"c":null,"d":null,"e":null}"#,
        "\n"
    );
    assert_eq!(String::from_utf8(bytes).unwrap(), lines);
    let rows = decode("(format json)", columns, lines.as_bytes()).unwrap();
    assert_eq!(
        rows,
        ["1.50|x\"y\nz|{a,NULL,\"b c\"}|2020-01-01 10:00:00|{\"k\": [1, null]}", "NULL|NULL|NULL|NULL|NULL"]
    );
    let json = |data: &[u8]| decode("(format json)", &ab(), data).unwrap();
    assert_eq!(json(b"{\"b\": {\"x\": 1}, \"z\": 0}\r\n\n {\"a\": \"7\"}"), ["NULL|{\"x\": 1}", "7|NULL"]);
    for (data, expected) in [
        (&b"{\"a\": 1}\n[1]\n"[..], "22P04 a line of JSON is not an object / COPY t, line 2: \"[1]\""),
        (b"{\"a\": 1.5}", "22P02 invalid input syntax for type integer: \"1.5\" / COPY t, line 1, column a: \"1.5\""),
        (
            b"{\"a\": }",
            "22P02 invalid input syntax for type json / JSON data, line 1: {\"a\": }\nCOPY t, line 1: \"{\"a\": }\"",
        ),
    ] {
        assert_eq!(failure("(format json)", &ab(), data), expected);
    }
}

/// What is left of data that are passed over where they are wrong, and the rows that were rejected.
fn tolerated(text: &str, columns: Columns<'_>, data: &str) -> Result<(Vec<String>, Vec<String>), SqlError> {
    let rejects = std::sync::Arc::new(options(text, false)?.rejects(true));
    let mut decoder = decoder(text, columns, 2).rejecting(&rejects, None);
    let mut batches = Vec::new();
    decoder.push(Bytes::copy_from_slice(data.as_bytes()))?;
    decoder.finish()?;
    while let Some(batch) = decoder.next_batch() {
        batches.push(batch);
    }
    let rejected = rejects.take().into_iter();
    let rejected = rejected.map(|row| format!("{}|{}|{}", row.line, row.column.unwrap_or_default(), row.text));
    Ok((shown(columns, &batches), rejected.collect()))
}

#[test]
fn wrong_rows_are_passed_over_and_leave_nothing_behind() {
    let columns = [
        ("a", SqlType::Integer, true),
        ("l", SqlType::Array(Box::new(SqlType::Integer)), true),
        ("b", SqlType::Text, false),
    ];
    let data = "1,{1},x\nz,{2},y\n3,\"{3,zz}\",z\n4,{4},w\n99999999999,{},v\n6,\"{6,7}\",u\n";
    let (rows, rejected) = tolerated("(FORMAT csv, ON_ERROR ignore)", &columns, data).unwrap();
    assert_eq!(rows, ["1|{1}|x", "4|{4}|w", "6|{6,7}|u"]);
    assert_eq!(rejected, ["2|a|z,{2},y", "3|l|3,\"{3,zz}\",z", "5|a|99999999999,{},v"]);
    // PostgreSQL's ignore is for values alone.
    let ragged = "1,{1},x\n2,{2}\n3,{3},\n4,{4},w,5\n6,{6},u\n";
    let error = tolerated("(FORMAT csv, ON_ERROR ignore)", &columns, ragged).unwrap_err();
    assert_eq!(error.message, "missing data for column \"b\"");
    let (rows, rejected) = tolerated("(FORMAT csv, ON_ERROR skip)", &columns, ragged).unwrap();
    assert_eq!(rows, ["1|{1}|x", "6|{6}|u"]);
    assert_eq!(rejected, ["2||2,{2}", "3||3,{3},", "4||4,{4},w,5"]);
}

#[test]
fn one_wrong_row_too_many_ends_the_copy() {
    let error =
        tolerated("(ON_ERROR ignore, REJECT_LIMIT 1)", &[("a", SqlType::Integer, true)], "1\nx\ny\n").unwrap_err();
    assert_eq!(error.code.as_str(), "22P02");
    assert_eq!(error.message, "skipped more than REJECT_LIMIT (1) rows due to data type incompatibility");
    assert_eq!(error.context.as_deref(), Some("COPY t, line 3, column a: \"y\""));
}

#[test]
fn options_of_errors_are_checked_as_postgresql_checks_them() {
    let refused = |text: &str, to: bool| options(text, to).unwrap_err().message;
    assert_eq!(refused("(ON_ERROR ignore)", true), "COPY ON_ERROR cannot be used with COPY TO");
    assert_eq!(refused("(ON_ERROR unsupported)", false), "COPY ON_ERROR \"unsupported\" not recognized");
    assert_eq!(refused("(FORMAT binary, ON_ERROR ignore)", false), "only ON_ERROR STOP is allowed in BINARY mode");
    assert_eq!(refused("(REJECT_LIMIT 1)", false), "COPY REJECT_LIMIT requires ON_ERROR to be set to IGNORE");
    assert_eq!(refused("(ON_ERROR ignore, REJECT_LIMIT 0)", false), "REJECT_LIMIT (0) must be greater than zero");
    assert_eq!(refused("(LOG_VERBOSITY loud)", false), "COPY LOG_VERBOSITY \"loud\" not recognized");
}
