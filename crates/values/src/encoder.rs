//! The shape every encoder has, text or binary, and the columns they read from.
//!
//! What always holds: an encoder owns a reference to its column, so it outlives the batch; the outer call is dynamic
//! (one per value), everything inside is resolved at compile time, and nothing is allocated per value. Rows are not
//! checked for null on writing: the caller asks first, since a null is not a value in either format.

use arrow::array::{Array, BooleanArray, FixedSizeBinaryArray, GenericByteArray, GenericByteViewArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, ByteArrayType, ByteViewType};

/// Writes the values of one column, each in one of PostgreSQL's two formats and without a length before it.
pub trait Encoder {
    /// Whether the value of a row is null.
    fn is_null(&self, row: usize) -> bool;

    /// Appends the value of a row that is not null.
    fn write(&mut self, row: usize, out: &mut Vec<u8>);
}

/// An encoder as the front end holds it.
pub type BoxedEncoder = Box<dyn Encoder + Send>;

/// How one value becomes bytes.
pub(crate) trait WriteValue<V> {
    fn write_value(&mut self, value: V, out: &mut Vec<u8>);
}

/// A column of values of a fixed width.
pub(crate) struct FixedWidth<N: ArrowNativeType, W> {
    values: ScalarBuffer<N>,
    nulls: Option<NullBuffer>,
    writer: W,
}

impl<N: ArrowNativeType, W> FixedWidth<N, W>
where
    W: WriteValue<N> + Send + 'static,
{
    pub(crate) fn boxed(values: ScalarBuffer<N>, nulls: Option<NullBuffer>, writer: W) -> BoxedEncoder {
        Box::new(FixedWidth { values, nulls, writer })
    }
}

impl<N: ArrowNativeType, W: WriteValue<N>> Encoder for FixedWidth<N, W> {
    #[inline]
    fn is_null(&self, row: usize) -> bool {
        is_null(&self.nulls, row)
    }

    #[inline]
    fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        self.writer.write_value(self.values[row], out);
    }
}

/// A column of booleans.
pub(crate) struct Booleans<W> {
    values: BooleanBuffer,
    nulls: Option<NullBuffer>,
    writer: W,
}

impl<W: WriteValue<bool> + Send + 'static> Booleans<W> {
    pub(crate) fn boxed(array: &BooleanArray, writer: W) -> BoxedEncoder {
        Box::new(Booleans { values: array.values().clone(), nulls: array.nulls().cloned(), writer })
    }
}

impl<W: WriteValue<bool>> Encoder for Booleans<W> {
    fn is_null(&self, row: usize) -> bool {
        is_null(&self.nulls, row)
    }

    fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        self.writer.write_value(self.values.value(row), out);
    }
}

/// Arrays whose values are bytes of any length.
pub(crate) trait BytesArray: Array {
    fn bytes(&self, row: usize) -> &[u8];
}

impl<T: ByteArrayType> BytesArray for GenericByteArray<T> {
    #[inline]
    fn bytes(&self, row: usize) -> &[u8] {
        self.value(row).as_ref()
    }
}

impl<T: ByteViewType> BytesArray for GenericByteViewArray<T> {
    #[inline]
    fn bytes(&self, row: usize) -> &[u8] {
        self.value(row).as_ref()
    }
}

impl BytesArray for FixedSizeBinaryArray {
    fn bytes(&self, row: usize) -> &[u8] {
        self.value(row)
    }
}

/// A column of strings or bytes.
pub(crate) struct VariableWidth<A, W> {
    array: A,
    writer: W,
}

impl<A, W> VariableWidth<A, W>
where
    A: BytesArray + 'static,
    W: for<'a> WriteValue<&'a [u8]> + Send + 'static,
{
    pub(crate) fn boxed(array: A, writer: W) -> BoxedEncoder {
        Box::new(VariableWidth { array, writer })
    }
}

impl<A: BytesArray, W: for<'a> WriteValue<&'a [u8]>> Encoder for VariableWidth<A, W> {
    #[inline]
    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    #[inline]
    fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        self.writer.write_value(self.array.bytes(row), out);
    }
}

/// A column without values.
pub(crate) struct AllNull;

impl Encoder for AllNull {
    fn is_null(&self, _row: usize) -> bool {
        true
    }

    fn write(&mut self, _row: usize, _out: &mut Vec<u8>) {}
}

/// Bytes as they are: text in both formats, `bytea` in the binary one.
pub(crate) struct Verbatim;

impl WriteValue<&[u8]> for Verbatim {
    #[inline]
    fn write_value(&mut self, value: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(value);
    }
}

/// `character(n)`: stored without its trailing blanks, sent with them.
pub(crate) struct BlankPadded {
    pub(crate) length: usize,
}

impl WriteValue<&[u8]> for BlankPadded {
    fn write_value(&mut self, value: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(value);
        let characters = character_count(value);
        if characters < self.length {
            out.resize(out.len() + self.length - characters, b' ');
        }
    }
}

/// Characters in valid UTF-8: its bytes that do not continue one.
#[inline]
pub(crate) fn character_count(text: &[u8]) -> usize {
    text.iter().filter(|byte| (**byte as i8) >= -0x40).count()
}

#[inline]
fn is_null(nulls: &Option<NullBuffer>, row: usize) -> bool {
    nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
}
