//! The stack machine.

mod instructions;

use std::collections::HashMap;

use bytes::Bytes;

use super::PickleError;
use super::reduce::{Reduced, reduce};
use super::value::{Arena, Object, StorageReference, Value, ValueId};

/// What persistent ids that are plain text or numbers stand for (tar files only).
pub(crate) type PersistentIds = HashMap<Bytes, ValueId>;

/// Interprets the pickle that starts at byte `start` of `input`; returns its value and the byte behind it.
pub(crate) fn unpickle(
    arena: &mut Arena,
    input: &Bytes,
    start: usize,
    persistent_ids: &PersistentIds,
) -> Result<(ValueId, usize), PickleError> {
    let mut machine = Machine {
        arena,
        input,
        position: start,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        persistent_ids,
        copies: input.len().saturating_sub(start),
    };
    let value = machine.run()?;
    Ok((value, machine.position))
}

struct Machine<'a> {
    arena: &'a mut Arena,
    input: &'a Bytes,
    position: usize,
    stack: Vec<ValueId>,
    marks: Vec<usize>,
    memo: HashMap<u64, ValueId>,
    persistent_ids: &'a PersistentIds,
    /// Elements that may still be copied from one container to another.
    copies: usize,
}

type Step<T> = Result<T, PickleError>;

impl Machine<'_> {
    fn run(&mut self) -> Step<ValueId> {
        loop {
            let [instruction] = self.array()?;
            if instruction == b'.' {
                return self.pop();
            }
            self.execute(instruction)?;
        }
    }

    fn error(&self, expected: impl Into<String>, found: impl Into<String>) -> PickleError {
        PickleError { position: self.position, expected: expected.into(), found: found.into() }
    }

    // Reading the input.

    fn take(&mut self, length: u64) -> Step<Bytes> {
        let rest = (self.input.len() - self.position) as u64;
        if length > rest {
            return Err(self.error(format!("{length} more bytes"), format!("{rest}")));
        }
        let start = self.position;
        self.position += length as usize;
        Ok(self.input.slice(start..self.position))
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let rest = &self.input[self.position..];
        let found = rest.len();
        let array = rest.first_chunk().copied();
        let array = array.ok_or_else(|| self.error(format!("{N} more bytes"), format!("{found}")))?;
        self.position += N;
        Ok(array)
    }

    /// An unsigned little-endian number of `width` bytes.
    fn length(&mut self, width: usize) -> Step<u64> {
        Ok(match width {
            1 => u64::from(self.array::<1>()?[0]),
            4 => u64::from(u32::from_le_bytes(self.array()?)),
            _ => u64::from_le_bytes(self.array()?),
        })
    }

    fn line(&mut self) -> Step<Bytes> {
        let end = self.input[self.position..].iter().position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| self.error("a line of text", "no line feed"))?;
        let line = self.take(end as u64)?;
        self.position += 1;
        Ok(line)
    }

    fn text_line(&mut self) -> Step<Bytes> {
        let line = self.line()?;
        match std::str::from_utf8(&line) {
            Ok(_) => Ok(line),
            Err(_) => Err(self.error("text in UTF-8", "other bytes")),
        }
    }

    fn memo_key(&mut self) -> Step<u64> {
        let line = self.line()?;
        let key = std::str::from_utf8(&line).ok().and_then(|line| line.parse().ok());
        key.ok_or_else(|| self.error("a decimal number", "other text"))
    }

    // The stack.

    fn add(&mut self, value: Value) -> Step<ValueId> {
        let id = self.arena.add(value);
        id.ok_or_else(|| self.too_much())
    }

    fn too_much(&self) -> PickleError {
        self.error("values that a file of this length has", "more")
    }

    /// Puts a value on the stack again.
    fn push_again(&mut self, id: ValueId) -> Step<()> {
        if !self.arena.take(2 * size_of::<ValueId>()) {
            return Err(self.too_much());
        }
        self.stack.push(id);
        Ok(())
    }

    fn push(&mut self, value: Value) -> Step<()> {
        let id = self.add(value)?;
        self.push_again(id)
    }

    /// The top of the stack above the last mark.
    fn top(&self) -> Step<ValueId> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&top) if self.stack.len() > floor => Ok(top),
            _ => Err(self.error("a value on the stack", "none")),
        }
    }

    fn pop(&mut self) -> Step<ValueId> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Step<Vec<ValueId>> {
        let mark = self.marks.pop().ok_or_else(|| self.error("a mark on the stack", "none"))?;
        Ok(self.stack.split_off(mark))
    }

    // Scalars.

    /// An integer of `length` bytes in two's complement.
    fn push_long(&mut self, length: u64) -> Step<()> {
        let bytes = self.take(length)?;
        let value = if bytes.len() > 8 {
            Value::BigInteger(bytes)
        } else {
            let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
            let mut array = [if negative { 0xff } else { 0 }; 8];
            array[..bytes.len()].copy_from_slice(&bytes);
            Value::Integer(i64::from_le_bytes(array))
        };
        self.push(value)
    }

    fn push_decimal(&mut self) -> Step<()> {
        let line = self.line()?;
        let value = match &line[..] {
            b"00" => Value::Bool(false),
            b"01" => Value::Bool(true),
            other => {
                let digits = other.strip_suffix(b"L").unwrap_or(other);
                let integer = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
                match integer {
                    Some(integer) => Value::Integer(integer),
                    // Beyond 64 bits: nothing that is read here needs the value.
                    None if digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-') => Value::BigInteger(line),
                    None => return Err(self.error("a decimal integer", "other text")),
                }
            }
        };
        self.push(value)
    }

    fn push_string(&mut self, bytes: Bytes) -> Step<()> {
        let is_text = std::str::from_utf8(&bytes).is_ok();
        self.push(if is_text { Value::Text(bytes) } else { Value::Raw(bytes) })
    }

    // Containers.

    fn append(&mut self, elements: Vec<ValueId>) -> Step<()> {
        let target = self.top()?;
        if !self.arena.take(4 * size_of::<ValueId>() * elements.len()) {
            return Err(self.too_much());
        }
        match self.arena.get_mut(target) {
            Value::List(list) | Value::Set(list) => list.extend(elements),
            Value::Object(object) => object.elements.extend(elements),
            _ => return Err(self.error("a list or set to append to", self.arena.describe(target))),
        }
        Ok(())
    }

    fn set_items(&mut self, flat: &[ValueId]) -> Step<()> {
        let (pairs, []) = flat.as_chunks::<2>() else {
            return Err(self.error("keys and values in pairs", "a key without a value"));
        };
        let target = self.top()?;
        if !self.arena.take(4 * size_of::<ValueId>() * flat.len()) {
            return Err(self.too_much());
        }
        let entries = match self.arena.get_mut(target) {
            Value::Dict(entries) => entries,
            Value::Object(object) => &mut object.items,
            _ => return Err(self.error("a dict to set entries of", self.arena.describe(target))),
        };
        entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    // Callables and references.

    fn apply(&mut self, callable: ValueId, arguments: ValueId) -> Step<()> {
        let reduced = reduce(self.arena, callable, arguments, &mut self.copies);
        match reduced.ok_or_else(|| self.error("a pickle that copies no more than it holds", "more copies"))? {
            Reduced::Existing(id) => self.push_again(id)?,
            Reduced::New(value) => self.push(value)?,
        }
        Ok(())
    }

    fn resolve_persistent(&mut self) -> Step<()> {
        let id = self.pop()?;
        if let Some(text) = self.arena.text(id) {
            let text = text.to_owned();
            return self.resolve_persistent_text(text.as_bytes());
        }
        if let Some(number) = self.arena.integer(id) {
            return self.resolve_persistent_text(number.to_string().as_bytes());
        }
        let elements = self.arena.sequence(id).unwrap_or_default();
        let resolved = match *elements {
            // ("module", class, source file, source): a module saved together with its source.
            [tag, class, ..] if self.arena.text(tag) == Some("module") => Reduced::Existing(class),
            [tag, ..] if self.arena.text(tag) == Some("storage") => match StorageReference::parse(self.arena, id) {
                Some(storage) => Reduced::New(Value::Storage(storage)),
                None => return Err(self.error("type, key, place and length of a storage", "something else")),
            },
            // Tar files: (class, source file, source).
            [class, ..] if self.arena.class(class).is_some() => Reduced::Existing(class),
            // Other programs' ids: kept as something unknown.
            _ => {
                let object = Object { class: id, arguments: id, state: None, items: Vec::new(), elements: Vec::new() };
                Reduced::New(Value::Object(Box::new(object)))
            }
        };
        match resolved {
            Reduced::Existing(id) => self.push_again(id)?,
            Reduced::New(value) => self.push(value)?,
        }
        Ok(())
    }

    fn resolve_persistent_text(&mut self, text: &[u8]) -> Step<()> {
        match self.persistent_ids.get(text) {
            Some(&value) => self.push_again(value)?,
            None => return Err(self.error("a known persistent id", String::from_utf8_lossy(text))),
        }
        Ok(())
    }
}
