//! Options as they are typed: the library names them `` `width_budget` ``, the command line `--width-budget`.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory};
use otfuse::Error;

use crate::arguments::Arguments;

/// An error whose options are spelt as they are typed.
pub fn as_typed(mut error: Error) -> Error {
    error.message = options(&error.message);
    error.hint = error.hint.as_deref().map(options);
    error
}

/// A text whose options are spelt as they are typed. Everything else in backticks stays as it is.
pub fn options(text: &str) -> String {
    if !text.contains('`') {
        return text.to_owned();
    }
    let known = names(&Arguments::command());
    let mut typed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('`') {
        typed.push_str(before);
        let Some((quoted, behind)) = behind.split_once('`') else {
            typed.push('`');
            rest = behind;
            continue;
        };
        let option = quoted.replace('_', "-");
        match known.contains(&option) {
            true => typed.extend(["--", &option]),
            false => typed.extend(["`", quoted, "`"]),
        }
        rest = behind;
    }
    typed + rest
}

/// The long names of all options of a command and its subcommands.
fn names(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_long().map(str::to_owned));
    own.chain(command.get_subcommands().flat_map(names)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_spelt_as_they_are_typed() {
        let text = "`width_budget` and `method` exclude each other; `otfuse inspect` shows `layer1.weight`, `";
        let expected = "--width-budget and --method exclude each other; `otfuse inspect` shows `layer1.weight`, `";
        assert_eq!(options(text), expected);
    }
}
