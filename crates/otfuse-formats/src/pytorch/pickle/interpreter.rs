//! The stack machine.

use std::collections::HashMap;

use bytes::Bytes;

use super::PickleError;
use super::reduce::{Reduced, reduce};
use super::text::{unescape, unquote};
use super::value::{Arena, Class, Object, StorageReference, Value, ValueId};

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

    /// The instructions, by the codes and names of Python's `pickletools`.
    fn execute(&mut self, instruction: u8) -> Step<()> {
        match instruction {
            0x80 => {
                let [version] = self.array()?;
                if version > 5 {
                    return Err(self.error("pickle protocol 0 to 5", format!("protocol {version}")));
                }
            }
            0x95 => {
                self.array::<8>()?; // FRAME: a hint for readers of streams
            }
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.marks.last() == Some(&self.stack.len()) => {
                self.marks.pop();
            }
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_to_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }

            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Value::Integer(value.into()))?;
            }
            b'K' => {
                let [value] = self.array()?;
                self.push(Value::Integer(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Value::Integer(value.into()))?;
            }
            0x8a => {
                let [length] = self.array()?;
                self.push_long(length.into())?;
            }
            0x8b => {
                let length = u32::from_le_bytes(self.array()?);
                self.push_long(length.into())?;
            }
            b'I' | b'L' => self.push_decimal()?,
            b'F' => {
                let line = self.line()?;
                let value = std::str::from_utf8(&line).ok().and_then(|line| line.parse().ok());
                let value = value.ok_or_else(|| self.error("a decimal number", "other text"))?;
                self.push(Value::Float(value))?;
            }
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Value::Float(value))?;
            }

            b'X' | 0x8c | 0x8d => {
                let length = self.length(match instruction {
                    0x8c => 1,
                    b'X' => 4,
                    _ => 8,
                })?;
                let text = self.take(length)?;
                if std::str::from_utf8(&text).is_err() {
                    return Err(self.error("text in UTF-8", "other bytes"));
                }
                self.push(Value::Text(text))?;
            }
            b'U' | b'T' => {
                // Python 2 strings: text if it reads as such.
                let length = self.length(if instruction == b'U' { 1 } else { 4 })?;
                let bytes = self.take(length)?;
                self.push_string(bytes)?;
            }
            b'C' | b'B' | 0x8e | 0x96 => {
                let length = self.length(match instruction {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                })?;
                let bytes = self.take(length)?;
                self.push(Value::Raw(bytes))?;
            }
            b'S' => {
                let line = self.line()?;
                let text = unquote(&line).ok_or_else(|| self.error("quoted text", "other bytes"))?;
                self.push_string(text.into())?;
            }
            b'V' => {
                let line = self.line()?;
                let text = unescape(&line).ok_or_else(|| self.error("escaped text", "other bytes"))?;
                self.push(Value::Text(text.into()))?;
            }

            b')' => self.push(Value::Tuple(Vec::new()))?,
            b't' => {
                let elements = self.pop_to_mark()?;
                self.push(Value::Tuple(elements))?;
            }
            0x85..=0x87 => {
                let mut elements = vec![self.top()?; usize::from(instruction - 0x84)];
                for element in elements.iter_mut().rev() {
                    *element = self.pop()?;
                }
                self.push(Value::Tuple(elements))?;
            }
            b']' => self.push(Value::List(Vec::new()))?,
            b'l' => {
                let elements = self.pop_to_mark()?;
                self.push(Value::List(elements))?;
            }
            b'a' => {
                let element = self.pop()?;
                self.append(vec![element])?;
            }
            b'e' | 0x90 => {
                let elements = self.pop_to_mark()?;
                self.append(elements)?;
            }
            0x8f => self.push(Value::Set(Vec::new()))?,
            0x91 => {
                let elements = self.pop_to_mark()?;
                self.push(Value::Set(elements))?;
            }
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b'd' => {
                let entries = self.pop_to_mark()?;
                self.push(Value::Dict(Vec::new()))?;
                self.set_items(&entries)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let entries = self.pop_to_mark()?;
                self.set_items(&entries)?;
            }

            b'p' | b'q' | b'r' | 0x94 => {
                let key = match instruction {
                    b'p' => self.memo_key()?,
                    b'q' => self.length(1)?,
                    b'r' => self.length(4)?,
                    _ => self.memo.len() as u64,
                };
                let top = self.top()?;
                self.memo.insert(key, top);
            }
            b'g' | b'h' | b'j' => {
                let key = match instruction {
                    b'g' => self.memo_key()?,
                    b'h' => self.length(1)?,
                    _ => self.length(4)?,
                };
                let value = self.memo.get(&key).copied();
                let value = value.ok_or_else(|| self.error("a stored value", format!("number {key}, not stored")))?;
                self.stack.push(value);
            }

            b'c' => {
                let (module, name) = (self.text_line()?, self.text_line()?);
                self.push(Value::Class(Class { module, name }))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (self.arena.get(module), self.arena.get(name)) else {
                    return Err(self.error("the name of a class", "other values"));
                };
                let class = Class { module: module.clone(), name: name.clone() };
                self.push(Value::Class(class))?;
            }
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                let callable = self.pop()?;
                self.apply(callable, arguments)?;
            }
            0x92 => {
                let (_keywords, arguments) = (self.pop()?, self.pop()?);
                let callable = self.pop()?;
                self.apply(callable, arguments)?;
            }
            b'i' => {
                let (module, name) = (self.text_line()?, self.text_line()?);
                let arguments = self.pop_to_mark()?;
                let callable = self.add(Value::Class(Class { module, name }))?;
                let arguments = self.add(Value::Tuple(arguments))?;
                self.apply(callable, arguments)?;
            }
            b'o' => {
                let mut arguments = self.pop_to_mark()?;
                if arguments.is_empty() {
                    return Err(self.error("a class to instantiate", "nothing"));
                }
                let callable = arguments.remove(0);
                let arguments = self.add(Value::Tuple(arguments))?;
                self.apply(callable, arguments)?;
            }
            b'b' => {
                let state = self.pop()?;
                let target = self.top()?;
                // Attributes of containers and tensors (`_metadata`, hooks) carry nothing that is needed here.
                if let Value::Object(object) = self.arena.get_mut(target) {
                    object.state = Some(state);
                }
            }
            b'P' => {
                let line = self.line()?;
                self.resolve_persistent_text(&line)?;
            }
            b'Q' => self.resolve_persistent()?,
            other => {
                let shown = char::from(other).escape_default();
                return Err(self.error("a pickle instruction", format!("byte {other:#04x} ({shown})")));
            }
        }
        Ok(())
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
        id.ok_or_else(|| self.error("fewer than 2^32 values", "more"))
    }

    fn push(&mut self, value: Value) -> Step<()> {
        let id = self.add(value)?;
        self.stack.push(id);
        Ok(())
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
            Reduced::Existing(id) => self.stack.push(id),
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
                let object = Object { class: id, state: None, items: Vec::new(), elements: Vec::new() };
                Reduced::New(Value::Object(Box::new(object)))
            }
        };
        match resolved {
            Reduced::Existing(id) => self.stack.push(id),
            Reduced::New(value) => self.push(value)?,
        }
        Ok(())
    }

    fn resolve_persistent_text(&mut self, text: &[u8]) -> Step<()> {
        match self.persistent_ids.get(text) {
            Some(&value) => self.stack.push(value),
            None => return Err(self.error("a known persistent id", String::from_utf8_lossy(text))),
        }
        Ok(())
    }
}
