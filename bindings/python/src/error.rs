//! Errors as exceptions of the classes in `otfuse._errors`.

use otfuse::{Error, ErrorKind};
use pyo3::prelude::*;

/// The exception for an error.
pub fn exception(py: Python<'_>, error: &Error) -> PyErr {
    let kind = match error.kind {
        ErrorKind::Input => "input",
        ErrorKind::Budget => "budget",
        ErrorKind::Cancelled => "cancelled",
        _ => "run",
    };
    let made = || {
        let fields = (kind, &error.message, &error.hint, &error.file, &error.node, &error.tensor);
        py.import("otfuse._errors")?.call_method1("of", fields)
    };
    made().map_or_else(|failure| failure, PyErr::from_value)
}

/// The exception for bad input, where the library is not asked.
pub fn input(py: Python<'_>, message: impl std::fmt::Display, hint: &str) -> PyErr {
    exception(py, &Error::input(message).hint(hint))
}
