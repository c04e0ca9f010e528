//! Mathematical functions (chapter 9.3 of PostgreSQL's manual).
//!
//! What always holds: a result beyond its type is `22003`, never a wrapped number or a silent infinity; the argument types
//! decide the arithmetic (integers, doubles by the C library as PostgreSQL's, numerics exactly).

mod float;
mod integer;
mod numeric;
mod real;
mod trigonometry;

use super::overload::Declaration;

pub(super) const FUNCTIONS: &[&[Declaration]] =
    &[float::FUNCTIONS, integer::FUNCTIONS, numeric::FUNCTIONS, real::FUNCTIONS, trigonometry::FUNCTIONS];
