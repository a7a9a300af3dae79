//! Values by name, as clap reads them.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use otfuse::Choice;

/// Reads the values of a closed set by their names.
pub fn choice<T: Choice>() -> impl TypedValueParser<Value = T> {
    let aliases = |value: T| T::ALIASES.iter().filter(move |(other, _)| *other == value).map(|(_, alias)| *alias);
    let values =
        T::ALL.iter().map(|(value, name, meaning)| PossibleValue::new(*name).help(*meaning).aliases(aliases(*value)));
    PossibleValuesParser::new(values.collect::<Vec<_>>())
        .try_map(|name| T::of_name(&name).ok_or("expected one of the names that `--help` lists"))
}

/// A flag that was given, or nothing: files may say otherwise.
pub fn said(flag: bool) -> Option<bool> {
    flag.then_some(true)
}
