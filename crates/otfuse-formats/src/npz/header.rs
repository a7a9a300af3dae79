//! The header of an array: a Python dict literal with `descr`, `fortran_order` and `shape`.
//!
//! It is parsed here because the crates that do multiply the shape without a check for overflow and copy the data.

use otfuse_graph::DataType;

/// The greatest number of axes that NumPy has.
const MAX_RANK: usize = 64;

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// NumPy's type code, such as `<f4`.
    pub(super) type_code: String,
    /// Whether the first axis varies fastest.
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<usize>,
}

impl Header {
    /// Parses the literal; the error says what was expected.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text };
        let (mut type_code, mut fortran_order, mut shape) = (None, None, None);
        parser.token("{")?;
        while !parser.accept("}") {
            let key = parser.text()?;
            parser.token(":")?;
            let is_new = match key {
                "descr" => type_code.replace(parser.text()?.to_owned()).is_none(),
                "fortran_order" => fortran_order.replace(parser.boolean()?).is_none(),
                "shape" => shape.replace(parser.shape()?).is_none(),
                _ => false,
            };
            if !is_new {
                return Err(format!("the keys descr, fortran_order and shape, once each, not {key:?}"));
            }
            if !parser.accept(",") {
                parser.token("}")?;
                break;
            }
        }
        if !parser.rest.trim().is_empty() {
            return Err("nothing behind the dict".into());
        }
        match (type_code, fortran_order, shape) {
            (Some(type_code), Some(fortran_order), Some(shape)) => Ok(Self { type_code, fortran_order, shape }),
            _ => Err("the keys descr, fortran_order and shape".into()),
        }
    }

    /// The element type and whether its bytes are in reverse; `None` for types without a counterpart.
    pub(super) fn data_type(&self) -> Option<(DataType, bool)> {
        let mut characters = self.type_code.chars();
        let big_endian = match characters.next()? {
            '>' => true,
            '<' | '|' | '=' => false,
            _ => return None,
        };
        let data_type = match characters.as_str() {
            "f2" => DataType::F16,
            "f4" => DataType::F32,
            "f8" => DataType::F64,
            "i1" => DataType::I8,
            "i2" => DataType::I16,
            "i4" => DataType::I32,
            "i8" => DataType::I64,
            "u1" => DataType::U8,
            "u2" => DataType::U16,
            "u4" => DataType::U32,
            "u8" => DataType::U64,
            "b1" => DataType::Bool,
            _ => return None,
        };
        Some((data_type, big_endian))
    }
}

/// NumPy's code of an element type; `None` for bfloat16.
pub(super) fn type_code(data_type: DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::F16 => "<f2",
        DataType::F32 => "<f4",
        DataType::F64 => "<f8",
        DataType::I8 => "|i1",
        DataType::I16 => "<i2",
        DataType::I32 => "<i4",
        DataType::I64 => "<i8",
        DataType::U8 => "|u1",
        DataType::U16 => "<u2",
        DataType::U32 => "<u4",
        DataType::U64 => "<u8",
        DataType::Bool => "|b1",
        DataType::BF16 => return None,
    })
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn accept(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn token(&mut self, token: &str) -> Result<(), String> {
        if self.accept(token) { Ok(()) } else { Err(format!("{token:?}")) }
    }

    /// Quoted text; none that a header needs has escapes.
    fn text(&mut self) -> Result<&'a str, String> {
        let quote = match () {
            () if self.accept("'") => '\'',
            () if self.accept("\"") => '"',
            () => return Err("quoted text (arrays of records are not supported)".into()),
        };
        let (text, rest) = self.rest.split_once(quote).ok_or("a closing quote")?;
        self.rest = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        match () {
            () if self.accept("True") => Ok(true),
            () if self.accept("False") => Ok(false),
            () => Err("True or False".into()),
        }
    }

    fn shape(&mut self) -> Result<Vec<usize>, String> {
        let mut shape = Vec::new();
        self.token("(")?;
        while !self.accept(")") {
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at(end);
            shape.push(digits.parse().map_err(|_| "a natural number of up to 64 bits")?);
            // Python 2 wrote long integers so.
            self.rest = rest.strip_prefix('L').unwrap_or(rest);
            if shape.len() > MAX_RANK {
                return Err(format!("up to {MAX_RANK} axes"));
            }
            if !self.accept(",") {
                self.token(")")?;
                break;
            }
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_numpy_writes() {
        for (text, shape) in [("()", vec![]), ("(3,)", vec![3]), ("(2, 3)", vec![2, 3]), ("(2L,3L)", vec![2, 3])] {
            let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {text}, }}   \n");
            let expected = Header { type_code: "<f4".into(), fortran_order: false, shape };
            assert_eq!(Header::parse(&text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "{",
            "{}",
            "{'descr': '<f4'}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': ()}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': ()} x",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}",
        ] {
            assert!(Header::parse(text).is_err(), "{text}");
        }
    }
}
