//! The options of the program's commands, as an experiment gives them.
//!
//! A network's `options` are those of the command that makes it, so that what is known, which values are taken and what is
//! used where nothing is given is defined in one place: the command line.

use clap::{CommandFactory, Parser};
use serde_json::Value;

use super::file::{Named, suggestion};
use super::variables::shown;
use crate::cli::Failure;
use crate::cli::arguments::{Arguments, Command};

/// Options that the experiment itself gives.
const RESERVED: [&str; 13] = [
    "arch",
    "csv",
    "data",
    "help",
    "json",
    "normalize",
    "output",
    "restart",
    "save-alignment",
    "state",
    "sweep",
    "version",
    "device",
];

/// The options that a command takes from an experiment.
fn known(command: &str) -> Vec<String> {
    let all = Arguments::command();
    let names = all.find_subcommand(command).into_iter().flat_map(clap::Command::get_arguments);
    let longs = names.filter_map(|argument| argument.get_long().map(str::to_owned));
    // The network that a student begins with is a key of its own; `fuse` has another option of this name.
    let is_reserved = |name: &str| RESERVED.contains(&name) || (command, name) == ("distill", "start");
    longs.filter(|name| !is_reserved(name)).collect()
}

/// Whether an option takes no value.
fn is_flag(command: &str, name: &str) -> bool {
    let all = Arguments::command();
    let found = all.find_subcommand(command).and_then(|command| {
        command
            .get_arguments()
            .find(|argument| argument.get_long() == Some(name))
            .map(|it| it.get_action().takes_values())
    });
    found == Some(false)
}

/// Options as words: `--lr=0.1`, `--flip`. Those that are null or false are left out. Sorted by name.
pub fn words(command: &str, options: &Named) -> Result<Vec<String>, Failure> {
    let known = known(command);
    let mut words = Vec::new();
    for (name, value) in options {
        if !known.contains(name) {
            return Err(Failure::input(format!("options: `{command}` takes no option '{name}' here"))
                .hint(suggestion(name, known.iter().map(String::as_str), "it takes")));
        }
        match (is_flag(command, name), value) {
            (_, Value::Null) | (true, Value::Bool(false)) => {}
            (true, Value::Bool(true)) => words.push(format!("--{name}")),
            (true, other) => {
                return Err(Failure::input(format!("options.{name}: expected true or false, found {other}"))
                    .hint("the option takes no value"));
            }
            (false, Value::Object(_) | Value::Bool(_)) => {
                return Err(Failure::input(format!("options.{name}: expected a number or text, found {value}"))
                    .hint(format!("`otfuse {command} --help` says what it takes")));
            }
            (false, value) => words.push(format!("--{name}={}", shown(value))),
        }
    }
    words.sort();
    Ok(words)
}

/// A command line as the command it stands for.
pub fn parsed(words: &[String]) -> Result<Command, Failure> {
    match Arguments::try_parse_from(std::iter::once("otfuse").chain(words.iter().map(String::as_str))) {
        Ok(arguments) => Ok(arguments.command),
        Err(error) => {
            let text = error.to_string();
            let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            let command = words.first().map_or("", String::as_str);
            Err(Failure::input(message).hint(format!("`otfuse {command} --help` lists options and values")))
        }
    }
}

#[cfg(test)]
mod tests;
