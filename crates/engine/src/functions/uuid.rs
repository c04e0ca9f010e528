//! `gen_random_uuid` (chapter 9.14 of PostgreSQL's manual). A uuid is kept as its canonical lower-case text.

use arrow::array::ArrayRef;
use uuid::Uuid;

use super::call::{Call, Result};
use super::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[immutable("gen_random_uuid", "-> uuid", gen_random_uuid).volatile()];

fn gen_random_uuid(call: &Call<'_>) -> Result<ArrayRef> {
    let mut buffer = Uuid::encode_buffer();
    call.make_text(|_, out| {
        out.push_str(Uuid::new_v4().hyphenated().encode_lower(&mut buffer));
        Ok(())
    })
}
