"""One list of SQL types with Python values, for all tests that send every type there and back."""

import datetime as dt
import decimal
import uuid

# Twenty years of history make the month and the leap day worth having.
ZONE = dt.timezone.utc

# (SQL type, value): numbers at their limits, text that needs quoting, times with and without a fraction.
SCALARS = [
    ("boolean", True),
    ("boolean", False),
    ("smallint", -32768),
    ("smallint", 32767),
    ("integer", -2147483648),
    ("integer", 2147483647),
    ("bigint", -9223372036854775808),
    ("bigint", 9223372036854775807),
    ("real", 1.5),
    ("real", -0.0),
    ("double precision", 0.1),
    ("double precision", 1e300),
    ("double precision", -5e-324),
    ("double precision", float("inf")),
    ("double precision", float("-inf")),
    ("numeric(20,5)", decimal.Decimal("-12345.67891")),
    ("numeric(20,5)", decimal.Decimal("0.00000")),
    # As many digits before the point as Wharf's numeric without precision holds, which is what a client calls a parameter.
    ("numeric(38,10)", decimal.Decimal("1234567890123456789012.0123456789")),
    ("numeric(4,0)", decimal.Decimal("9999")),
    ("text", ""),
    ("text", "tab\t, newline\n, backslash \\, 'single', \"double\", {braces}, 北京, 🚢"),
    ("text", "x" * 100_000),
    ("varchar(20)", "short"),
    ("char(5)", "ab   "),
    ("bytea", b""),
    ("bytea", bytes(range(256))),
    ("date", dt.date(2000, 2, 29)),
    ("date", dt.date(1, 1, 1)),
    ("date", dt.date(9999, 12, 31)),
    ("time", dt.time(0, 0)),
    ("time", dt.time(23, 59, 59, 999999)),
    ("timestamp", dt.datetime(1969, 12, 31, 23, 59, 59, 999999)),
    ("timestamp", dt.datetime(2024, 2, 29, 12, 0)),
    ("timestamptz", dt.datetime(2024, 2, 29, 12, 30, 15, 250000, ZONE)),
    ("timestamptz", dt.datetime(1901, 1, 1, tzinfo=ZONE)),
    ("uuid", uuid.UUID("0188f5e4-5b0e-7c3a-9f64-2f8b5b1c7d21")),
]

# Types that live in expressions only.
EXPRESSIONS = [
    ("interval", dt.timedelta(days=3, hours=4, minutes=5, seconds=6, microseconds=7)),
    ("interval", dt.timedelta(days=-1, seconds=1)),
]

ARRAYS = [
    ("boolean[]", [True, None, False]),
    ("smallint[]", [1, -2, 3]),
    ("integer[]", []),
    ("integer[]", [1, None, 2147483647]),
    ("bigint[]", [9223372036854775807]),
    ("double precision[]", [0.1, float("inf"), None]),
    ("numeric(10,2)[]", [decimal.Decimal("1.50"), decimal.Decimal("-0.25")]),
    ("text[]", ["plain", "", "NULL", None, 'quote " and \\ and , and {x}', "北京"]),
    ("date[]", [dt.date(2024, 2, 29), None]),
    ("timestamp[]", [dt.datetime(2024, 2, 29, 12, 0, 0, 1)]),
    ("timestamptz[]", [dt.datetime(2024, 2, 29, 12, 0, 0, 1, ZONE)]),
    ("uuid[]", [uuid.UUID("0188f5e4-5b0e-7c3a-9f64-2f8b5b1c7d21"), None]),
]

DOCUMENT = {"name": "wharf", "tags": ["a", "b"], "nested": {"n": 1.5, "none": None, "yes": True}}


def identifier(case) -> str:
    """What pytest shows for a case."""
    ty, value = case
    return f"{ty}-{str(value)[:12]!r}"


def same(left, right) -> bool:
    """Equality that tells -0.0 from 0.0, and Decimal('1.0') from Decimal('1.00')."""
    return left == right and str(left) == str(right)
