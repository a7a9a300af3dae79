//! Options as they are typed: the library names them `` `width_budget` ``, the command line `--width-budget`.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Command;

/// The long names of all options.
#[derive(Clone, Debug)]
pub struct Spelling(Arc<BTreeSet<String>>);

impl Spelling {
    /// The options of a command and its subcommands.
    pub fn of(command: &Command) -> Self {
        Self(Arc::new(names(command)))
    }

    /// A text whose options are spelt as they are typed. Everything else in backticks stays as it is.
    pub fn typed(&self, text: &str) -> String {
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
            match self.0.contains(&option) {
                true => typed.extend(["--", &option]),
                false => typed.extend(["`", quoted, "`"]),
            }
            rest = behind;
        }
        typed + rest
    }
}

fn names(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_long().map(str::to_owned));
    own.chain(command.get_subcommands().flat_map(names)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_spelt_as_they_are_typed() {
        let option = |name: &'static str| clap::Arg::new(name).long(name);
        let fuse = Command::new("fuse").arg(option("width-budget")).arg(option("method"));
        let spelling = Spelling::of(&Command::new("otfuse").subcommand(fuse));
        let text = "`width_budget` and `method` exclude each other; `otfuse inspect` shows `layer1.weight`, `";
        let expected = "--width-budget and --method exclude each other; `otfuse inspect` shows `layer1.weight`, `";
        assert_eq!(spelling.typed(text), expected);
    }
}
