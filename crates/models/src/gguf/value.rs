//! Values of metadata entries.

use std::io::{Read, Seek};

use super::input::Input;
use super::{ARRAY_KEPT_MAX, GgufError, KEPT_BYTES_MAX, TEXT_BYTES_MAX};

/// The types that a metadata value can have, numbered as in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// 8-bit unsigned.
    U8,
    /// 8-bit signed.
    I8,
    /// 16-bit unsigned.
    U16,
    /// 16-bit signed.
    I16,
    /// 32-bit unsigned.
    U32,
    /// 32-bit signed.
    I32,
    /// 32-bit float.
    F32,
    /// One byte, 0 or 1.
    Bool,
    /// Length-prefixed bytes.
    Text,
    /// Several values of one type.
    Array,
    /// 64-bit unsigned.
    U64,
    /// 64-bit signed.
    I64,
    /// 64-bit float.
    F64,
}

impl ValueType {
    fn from_number(number: u32) -> Option<Self> {
        use ValueType::{Array, Bool, F32, F64, I8, I16, I32, I64, Text, U8, U16, U32, U64};
        [U8, I8, U16, I16, U32, I32, F32, Bool, Text, Array, U64, I64, F64].get(number as usize).copied()
    }

    /// Bytes of a value, for types that have a fixed size.
    const fn fixed_bytes(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Text | Self::Array => None,
        }
    }
}

/// A metadata value, as far as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any unsigned number.
    Unsigned(u64),
    /// Any signed number.
    Signed(i64),
    /// A float of either size.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
    /// A text that is not kept, because it is too long or not UTF-8.
    Opaque {
        /// Its length.
        bytes: u64,
    },
    /// An array of numbers.
    Numbers(Vec<Value>),
    /// An array that is not kept: of texts, or a long one.
    Skipped {
        /// The type of its elements.
        element: ValueType,
        /// How many there are.
        count: u64,
    },
}

/// Bytes of metadata that may still be kept.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new() -> Self {
        Self(KEPT_BYTES_MAX)
    }

    pub(super) fn take(&mut self, bytes: usize) -> bool {
        match self.0.checked_sub(bytes) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => false,
        }
    }
}

/// Reads the type and the value of the entry `key`.
pub(super) fn read<R: Read + Seek>(input: &mut Input<R>, key: &str, budget: &mut Budget) -> Result<Value, GgufError> {
    let what = format!("the value of `{}`", shorten(key));
    match read_type(input, &what)? {
        ValueType::Text => read_text(input, &what, budget),
        ValueType::Array => read_array(input, &what, budget),
        number => read_number(input, number, &what),
    }
}

pub(super) fn shorten(key: &str) -> String {
    key.chars().filter(|c| !c.is_control()).take(80).collect()
}

fn read_type<R: Read + Seek>(input: &mut Input<R>, what: &str) -> Result<ValueType, GgufError> {
    let number = input.u32(what)?;
    ValueType::from_number(number).ok_or_else(|| input.corrupt(format!("{what} has the unknown type {number}")))
}

fn read_number<R: Read + Seek>(input: &mut Input<R>, kind: ValueType, what: &str) -> Result<Value, GgufError> {
    Ok(match kind {
        ValueType::U8 => Value::Unsigned(input.array::<1>(what)?[0].into()),
        ValueType::I8 => Value::Signed(i8::from_le_bytes(input.array(what)?).into()),
        ValueType::U16 => Value::Unsigned(u16::from_le_bytes(input.array(what)?).into()),
        ValueType::I16 => Value::Signed(i16::from_le_bytes(input.array(what)?).into()),
        ValueType::U32 => Value::Unsigned(input.u32(what)?.into()),
        ValueType::I32 => Value::Signed(i32::from_le_bytes(input.array(what)?).into()),
        ValueType::U64 => Value::Unsigned(input.u64(what)?),
        ValueType::I64 => Value::Signed(i64::from_le_bytes(input.array(what)?)),
        ValueType::F32 => Value::Float(f32::from_le_bytes(input.array(what)?).into()),
        ValueType::F64 => Value::Float(f64::from_le_bytes(input.array(what)?)),
        ValueType::Bool => match input.array::<1>(what)?[0] {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            other => return Err(input.corrupt(format!("{what} is {other}, neither true (1) nor false (0)"))),
        },
        ValueType::Text | ValueType::Array => {
            return Err(input.corrupt(format!("{what} is not a number")));
        }
    })
}

fn read_text<R: Read + Seek>(input: &mut Input<R>, what: &str, budget: &mut Budget) -> Result<Value, GgufError> {
    let bytes = input.u64(what)?;
    input.check(bytes, what)?;
    let fits = bytes <= TEXT_BYTES_MAX && usize::try_from(bytes).is_ok_and(|bytes| budget.take(bytes));
    if !fits {
        input.skip(bytes, what)?;
        return Ok(Value::Opaque { bytes });
    }
    Ok(match String::from_utf8(input.bytes(bytes, what)?) {
        Ok(text) => Value::Text(text),
        Err(_) => Value::Opaque { bytes },
    })
}

fn read_array<R: Read + Seek>(input: &mut Input<R>, what: &str, budget: &mut Budget) -> Result<Value, GgufError> {
    let element = read_type(input, what)?;
    let count = input.u64(what)?;
    if element == ValueType::Array {
        return Err(input.corrupt(format!("{what} is an array of arrays, which the engine does not read")));
    }
    let Some(size) = element.fixed_bytes() else {
        return skip_texts(input, count, what);
    };
    let bytes = count.checked_mul(size).ok_or_else(|| input.over(what, count, u64::MAX / size))?;
    input.check(bytes, what)?;
    let keep = count <= ARRAY_KEPT_MAX && usize::try_from(count).is_ok_and(|count| budget.take(count.saturating_mul(size_of::<Value>())));
    if !keep {
        input.skip(bytes, what)?;
        return Ok(Value::Skipped { element, count });
    }
    (0..count).map(|_| read_number(input, element, what)).collect::<Result<_, _>>().map(Value::Numbers)
}

fn skip_texts<R: Read + Seek>(input: &mut Input<R>, count: u64, what: &str) -> Result<Value, GgufError> {
    let least = count.checked_mul(8).ok_or_else(|| input.over(what, count, u64::MAX / 8))?;
    input.check(least, what)?;
    for _ in 0..count {
        let bytes = input.u64(what)?;
        input.skip(bytes, what)?;
    }
    Ok(Value::Skipped { element: ValueType::Text, count })
}
