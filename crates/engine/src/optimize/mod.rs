//! The engine's own rules beside DataFusion's, each for something that the plans of PostgreSQL's SQL need.

mod cooperation;

pub(crate) use cooperation::LetGoWhileMultiplying;
