//! What is known of one value.

use crate::{DataType, Dim, Shape, Tensor};

/// Contents of longer tensors are not followed: lists of axes, shapes, pads and indices are short.
pub(crate) const MOST_ELEMENTS: usize = 1024;

/// What is known of a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fact {
    /// Element type.
    pub data_type: Option<DataType>,
    /// Length of each axis, `None` if not even the rank is known.
    pub shape: Option<Shape>,
    /// Contents in row-major order, where they are integers and at most 1,024: of integer tensors, of what is computed
    /// from shapes, and of single floating-point numbers without a fraction. Then all lengths of `shape` are known.
    pub elements: Option<Vec<Element>>,
}

/// One element of an integer tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// A known number; truth values are 0 and 1.
    Number(i64),
    /// A length that is not known, and so not negative. A known length is a [`Number`](Self::Number).
    Length(Dim),
}

impl Element {
    /// The number, if it is known.
    pub fn as_number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Length(_) => None,
        }
    }

    /// The length of an axis that the element stands for; `None` if it is a negative number.
    pub fn as_length(&self) -> Option<Dim> {
        match self {
            Self::Number(number) => usize::try_from(*number).ok().map(Dim::known),
            Self::Length(dim) => Some(dim.clone()),
        }
    }
}

impl From<Dim> for Element {
    fn from(dim: Dim) -> Self {
        match dim.as_known() {
            Some(length) => Self::Number(i64::try_from(length).unwrap_or(i64::MAX)),
            None => Self::Length(dim),
        }
    }
}

impl From<i64> for Element {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl Fact {
    /// A value of that type and shape.
    pub(crate) fn new(data_type: Option<DataType>, shape: Option<Shape>) -> Self {
        Self { data_type, shape, elements: None }
    }

    /// A constant tensor.
    pub(crate) fn of_tensor(tensor: &Tensor) -> Self {
        let shape = tensor.shape().iter().copied().map(Dim::known).collect();
        let elements = match tensor.len() {
            0..=MOST_ELEMENTS if !tensor.data_type().is_float() => tensor.to_i64(),
            1 => whole(tensor),
            _ => None,
        };
        Self {
            data_type: Some(tensor.data_type()),
            shape: Some(shape),
            elements: elements.map(|elements| elements.into_iter().map(Element::Number).collect()),
        }
    }

    /// The lengths of all axes, if all are known.
    pub(crate) fn known_shape(&self) -> Option<Vec<usize>> {
        self.shape.as_ref()?.iter().map(Dim::as_known).collect()
    }

    /// The contents, if all are known numbers.
    pub fn integers(&self) -> Option<Vec<i64>> {
        self.elements.as_ref()?.iter().map(Element::as_number).collect()
    }
}

/// The number in a floating-point tensor of one element, if it has no fraction and its integer type holds it.
fn whole(tensor: &Tensor) -> Option<Vec<i64>> {
    let value = scalar(tensor)?;
    let exact = value.fract() == 0.0 && !(value == 0.0 && value.is_sign_negative());
    (exact && fits(tensor.data_type(), value as i64)).then(|| vec![value as i64])
}

/// The number in a floating-point tensor of one element.
pub(crate) fn scalar(tensor: &Tensor) -> Option<f64> {
    match tensor.data_type() {
        _ if tensor.len() != 1 => None,
        DataType::F64 => <[u8; 8]>::try_from(tensor.bytes().as_ref()).ok().map(f64::from_le_bytes),
        _ => tensor.to_f32()?.first().copied().map(f64::from),
    }
}

/// Whether a type holds the number exactly.
pub(crate) fn fits(data_type: DataType, number: i64) -> bool {
    let within = |bits: u32| number.unsigned_abs() <= 1 << bits;
    match data_type {
        DataType::F16 => within(11),
        DataType::BF16 => within(8),
        DataType::F32 => within(24),
        DataType::F64 => within(53),
        DataType::I8 => i8::try_from(number).is_ok(),
        DataType::I16 => i16::try_from(number).is_ok(),
        DataType::I32 => i32::try_from(number).is_ok(),
        DataType::I64 => true,
        DataType::U8 => u8::try_from(number).is_ok(),
        DataType::U16 => u16::try_from(number).is_ok(),
        DataType::U32 => u32::try_from(number).is_ok(),
        DataType::U64 => number >= 0,
        DataType::Bool => number == 0 || number == 1,
    }
}
