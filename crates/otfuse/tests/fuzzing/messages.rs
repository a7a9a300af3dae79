//! Protocol buffers without a schema, and changes of them that keep their form.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

/// Numbers that are edges of something.
const EDGES: [u64; 22] = [
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    10,
    16,
    64,
    1000,
    1 << 20,
    1 << 28,
    1 << 31,
    1 << 33,
    1 << 40,
    1 << 62,
    u64::MAX,
    u64::MAX - 1,
    u64::MAX - 3,
    1 << 63,
];
/// Operators and attributes, to be put where others stand.
const WORDS: [&str; 40] = [
    "Concat",
    "Split",
    "Expand",
    "Tile",
    "Pad",
    "Resize",
    "Range",
    "ConstantOfShape",
    "OneHot",
    "EyeLike",
    "Gather",
    "GatherND",
    "ScatterND",
    "AveragePool",
    "MaxPool",
    "Conv",
    "ConvTranspose",
    "MatMul",
    "Gemm",
    "Add",
    "Transpose",
    "Reshape",
    "Flatten",
    "Slice",
    "Squeeze",
    "Unsqueeze",
    "ReduceSum",
    "Softmax",
    "LayerNormalization",
    "Shape",
    "Cast",
    "Identity",
    "NonZero",
    "axis",
    "pads",
    "strides",
    "dilations",
    "kernel_shape",
    "group",
    "perm",
];

/// The fields of a message.
#[derive(Clone, Debug)]
pub struct Message(Vec<(u64, Value)>);

#[derive(Clone, Debug)]
enum Value {
    Number(u64),
    Fixed(u64, Vec<u8>),
    Bytes(Vec<u8>),
    Message(Message),
}

impl Message {
    /// Bytes as a message; `None` if they are none.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Self::within(bytes, 0)
    }

    fn within(mut bytes: &[u8], depth: usize) -> Option<Self> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            let (field, kind) = (key >> 3, key & 7);
            if field == 0 || field > 200 {
                return None;
            }
            let value = match kind {
                0 => Value::Number(varint(&mut bytes)?),
                1 | 5 => {
                    let (value, rest) = bytes.split_at_checked(if kind == 1 { 8 } else { 4 })?;
                    bytes = rest;
                    Value::Fixed(kind, value.to_vec())
                }
                2 => {
                    let length = usize::try_from(varint(&mut bytes)?).ok()?;
                    let (value, rest) = bytes.split_at_checked(length)?;
                    bytes = rest;
                    let inner = if depth < 12 && length > 1 { Self::within(value, depth + 1) } else { None };
                    inner.map_or_else(|| Value::Bytes(value.to_vec()), Value::Message)
                }
                _ => return None,
            };
            fields.push((field, value));
        }
        Some(Self(fields))
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (field, value) in &self.0 {
            let kind = match value {
                Value::Number(_) => 0,
                Value::Fixed(kind, _) => *kind,
                Value::Bytes(_) | Value::Message(_) => 2,
            };
            write(&mut bytes, field << 3 | kind);
            match value {
                Value::Number(number) => write(&mut bytes, *number),
                Value::Fixed(_, fixed) => bytes.extend(fixed),
                Value::Bytes(inner) => {
                    write(&mut bytes, inner.len() as u64);
                    bytes.extend(inner);
                }
                Value::Message(inner) => {
                    let inner = inner.bytes();
                    write(&mut bytes, inner.len() as u64);
                    bytes.extend(inner);
                }
            }
        }
        bytes
    }

    /// Changes one thing.
    pub fn mutate(&mut self, random: &mut ChaCha8Rng) {
        let mut words = Vec::new();
        self.words(&mut words);
        let place = random.next_u64() as usize % self.count().max(1);
        self.change(place, &words, random);
    }

    /// All fields in it.
    fn count(&self) -> usize {
        self.0.iter().map(|(_, value)| 1 + if let Value::Message(inner) = value { inner.count() } else { 0 }).sum()
    }

    /// Short texts, names of values for instance.
    fn words(&self, words: &mut Vec<Vec<u8>>) {
        for (_, value) in &self.0 {
            match value {
                Value::Bytes(bytes) if bytes.len() < 40 => words.push(bytes.clone()),
                Value::Message(inner) => inner.words(words),
                _ => {}
            }
        }
    }

    fn change(&mut self, mut place: usize, words: &[Vec<u8>], random: &mut ChaCha8Rng) {
        for at in 0..self.0.len() {
            if place == 0 {
                return self.change_field(at, words, random);
            }
            place -= 1;
            if let Value::Message(inner) = &mut self.0[at].1 {
                let inside = inner.count();
                if place < inside {
                    return inner.change(place, words, random);
                }
                place -= inside;
            }
        }
    }

    fn change_field(&mut self, at: usize, words: &[Vec<u8>], random: &mut ChaCha8Rng) {
        let choice = random.next_u64();
        let mut pick = |length: usize| random.next_u64() as usize % length.max(1);
        match (choice % 8, &mut self.0[at].1) {
            (0, _) => drop(self.0.remove(at)),
            (1, _) => {
                let copy = self.0[at].clone();
                self.0.insert(at, copy);
            }
            (2, _) => {
                let other = pick(self.0.len());
                self.0.swap(at, other);
            }
            (_, Value::Number(number)) => {
                *number = match choice % 3 {
                    0 => number.wrapping_add(1),
                    1 => number.wrapping_sub(1),
                    _ => EDGES[pick(EDGES.len())],
                };
            }
            (_, Value::Fixed(_, fixed)) => {
                let byte = pick(fixed.len());
                fixed[byte] ^= 1 << (choice % 7);
            }
            (3 | 4, Value::Bytes(bytes)) if !words.is_empty() => *bytes = words[pick(words.len())].clone(),
            (5, Value::Bytes(bytes)) => *bytes = WORDS[pick(WORDS.len())].into(),
            (_, Value::Bytes(bytes)) if !bytes.is_empty() => {
                // Packed numbers are among these.
                let byte = pick(bytes.len());
                bytes[byte] = [0, 1, 2, 0x7f, 0x80, 0xff][pick(6)];
            }
            (_, Value::Bytes(bytes)) => bytes.push(1),
            (_, Value::Message(inner)) => {
                let copy = inner.0.first().cloned();
                inner.0.extend(copy);
            }
        }
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for at in 0..10 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(7 * at)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}
