//! The attributes of a node, by name and type.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute_type};
use crate::error::OnnxError;

/// Reads attributes and remembers which ones were asked for: a node with others means something unknown.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    node: &'a NodeProto,
    name: &'a str,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(node: &'a NodeProto, name: &'a str) -> Self {
        Self { node, name, asked: RefCell::default() }
    }

    /// Whether some attribute has not been asked for.
    pub(super) fn any_left(&self) -> bool {
        let asked = self.asked.borrow();
        self.node.attribute.iter().any(|attribute| !asked.contains(attribute.name.as_deref().unwrap_or_default()))
    }

    /// Lets an attribute pass that has no bearing on what is computed.
    pub(super) fn ignore(&self, names: &[&'static str]) {
        self.asked.borrow_mut().extend(names);
    }

    /// An attribute that breaks the rules.
    pub(super) fn error(
        &self,
        attribute: &str,
        expected: impl Into<String>,
        found: impl std::fmt::Display,
    ) -> OnnxError {
        OnnxError::Attribute {
            node: self.name.into(),
            operator: self.node.op_type.clone().unwrap_or_default(),
            attribute: attribute.into(),
            expected: expected.into(),
            found: found.to_string(),
        }
    }

    fn find(&self, name: &'static str, wanted: i32, expected: &str) -> Result<Option<&'a AttributeProto>, OnnxError> {
        self.asked.borrow_mut().insert(name);
        let mut found = self.node.attribute.iter().filter(|attribute| attribute.name.as_deref() == Some(name));
        let Some(attribute) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(self.error(name, "one attribute of that name", "several"));
        }
        if let Some(reference) = attribute.ref_attr_name.as_deref().filter(|name| !name.is_empty()) {
            return Err(self.error(name, expected, format!("a reference to '{reference}' outside of a function")));
        }
        match attribute.r#type {
            // The type was no part of the first versions of the format.
            None | Some(0) => Ok(Some(attribute)),
            Some(found) if found == wanted => Ok(Some(attribute)),
            Some(found) => Err(self.error(name, expected, format!("an attribute of type {found}"))),
        }
    }

    /// A whole number.
    pub(super) fn int(&self, name: &'static str) -> Result<Option<i64>, OnnxError> {
        let found = self.find(name, attribute_type::INT, "an integer")?;
        // A field that holds its default may be left out.
        Ok(found.map(|attribute| attribute.i.unwrap_or(0)))
    }

    /// A whole number other than 0 as true.
    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, OnnxError> {
        Ok(self.int(name)?.map(|value| value != 0))
    }

    /// A floating-point number.
    pub(super) fn float(&self, name: &'static str) -> Result<Option<f32>, OnnxError> {
        let found = self.find(name, attribute_type::FLOAT, "a number")?;
        Ok(found.map(|attribute| attribute.f.unwrap_or(0.0)))
    }

    /// Whole numbers.
    pub(super) fn ints(&self, name: &'static str) -> Result<Option<&'a [i64]>, OnnxError> {
        let found = self.find(name, attribute_type::INTS, "a list of integers")?;
        Ok(found.map(|attribute| attribute.ints.as_slice()))
    }

    /// Floating-point numbers.
    pub(super) fn floats(&self, name: &'static str) -> Result<Option<&'a [f32]>, OnnxError> {
        let found = self.find(name, attribute_type::FLOATS, "a list of numbers")?;
        Ok(found.map(|attribute| attribute.floats.as_slice()))
    }

    /// Whole numbers that are at least `least`.
    pub(super) fn sizes(&self, name: &'static str, least: usize) -> Result<Option<Vec<usize>>, OnnxError> {
        let Some(values) = self.ints(name)? else { return Ok(None) };
        let sizes: Option<Vec<usize>> =
            values.iter().map(|&value| usize::try_from(value).ok().filter(|&size| size >= least)).collect();
        let error = || self.error(name, format!("integers of at least {least}"), format!("{values:?}"));
        sizes.map(Some).ok_or_else(error)
    }

    /// A text; that of an attribute that is no valid UTF-8 is an error.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<&'a str>, OnnxError> {
        let Some(found) = self.find(name, attribute_type::STRING, "a text")? else { return Ok(None) };
        let text = std::str::from_utf8(found.s.as_deref().unwrap_or_default());
        text.map(Some).map_err(|_| self.error(name, "a text", "bytes that are no UTF-8"))
    }

    /// Texts; one that is no valid UTF-8 is an error.
    pub(super) fn texts(&self, name: &'static str) -> Result<Option<Vec<&'a str>>, OnnxError> {
        let Some(found) = self.find(name, attribute_type::STRINGS, "a list of texts")? else { return Ok(None) };
        let texts: Result<Vec<&str>, _> = found.strings.iter().map(|text| std::str::from_utf8(text)).collect();
        texts.map(Some).map_err(|_| self.error(name, "texts", "bytes that are no UTF-8"))
    }

    /// The body of a control-flow operator.
    pub(super) fn graph(&self, name: &'static str) -> Result<&'a GraphProto, OnnxError> {
        let found = self.find(name, attribute_type::GRAPH, "a graph")?.and_then(|attribute| attribute.g.as_deref());
        found.ok_or_else(|| self.error(name, "a graph", "nothing"))
    }

    /// A tensor.
    pub(super) fn tensor(&self, name: &'static str) -> Result<Option<&'a TensorProto>, OnnxError> {
        let Some(found) = self.find(name, attribute_type::TENSOR, "a tensor")? else { return Ok(None) };
        found.t.as_deref().map(Some).ok_or_else(|| self.error(name, "a tensor", "nothing"))
    }
}
