//! The instructions, by the codes and names of Python's `pickletools`, in groups.

use super::{Machine, Step};
use crate::pytorch::pickle::text::{unescape, unquote};
use crate::pytorch::pickle::value::{Class, Value};

/// Bytes of a value that is stored for later, about.
const MEMO: usize = 40;

impl Machine<'_> {
    /// Executes one instruction.
    pub(super) fn execute(&mut self, instruction: u8) -> Step<()> {
        let groups = [
            Self::execute_memo,
            Self::execute_stack,
            Self::execute_scalar,
            Self::execute_text,
            Self::execute_sequence,
            Self::execute_dict,
            Self::execute_object,
            Self::execute_persistent,
        ];
        for execute in groups {
            if execute(self, instruction)? {
                return Ok(());
            }
        }
        let shown = char::from(instruction).escape_default();
        Err(self.error("a pickle instruction", format!("byte {instruction:#04x} ({shown})")))
    }

    /// Protocol, frames, and what moves on the stack. Returns whether the instruction is one of these, as the other groups do.
    fn execute_stack(&mut self, instruction: u8) -> Step<bool> {
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
            b'(' => {
                if !self.arena.take(2 * size_of::<usize>()) {
                    return Err(self.too_much());
                }
                self.marks.push(self.stack.len());
            }
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
                self.push_again(top)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Numbers and what else is one value.
    fn execute_scalar(&mut self, instruction: u8) -> Step<bool> {
        match instruction {
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Text and bytes.
    fn execute_text(&mut self, instruction: u8) -> Step<bool> {
        match instruction {
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Tuples, lists and sets.
    fn execute_sequence(&mut self, instruction: u8) -> Step<bool> {
        match instruction {
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Dicts.
    fn execute_dict(&mut self, instruction: u8) -> Step<bool> {
        match instruction {
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Values stored for later.
    fn execute_memo(&mut self, instruction: u8) -> Step<bool> {
        match instruction {
            b'p' | b'q' | b'r' | 0x94 => {
                let key = match instruction {
                    b'p' => self.memo_key()?,
                    b'q' => self.length(1)?,
                    b'r' => self.length(4)?,
                    _ => self.memo.len() as u64,
                };
                let top = self.top()?;
                if !self.arena.take(MEMO) {
                    return Err(self.too_much());
                }
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
                self.push_again(value)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Classes, what is made of them, and their attributes.
    fn execute_object(&mut self, instruction: u8) -> Step<bool> {
        match instruction {
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Values that the archive holds beside the pickle.
    fn execute_persistent(&mut self, instruction: u8) -> Step<bool> {
        match instruction {
            b'P' => {
                let line = self.line()?;
                self.resolve_persistent_text(&line)?;
            }
            b'Q' => self.resolve_persistent()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
