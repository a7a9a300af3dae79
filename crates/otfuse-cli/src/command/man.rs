//! `otfuse man`.

use clap::Args;
use otfuse::{Error, Result};

use crate::session::Session;

/// `man`.
#[derive(Args, Debug)]
pub struct Man {
    /// A command; the page of all commands without
    command: Option<String>,
}

impl Man {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut all = crate::command_line();
        all.build();
        let command = match &self.command {
            None => all,
            Some(name) => {
                let missing = || Error::input(format!("no command '{name}'")).hint("`otfuse -h` lists all commands");
                let found = all.find_subcommand(name).cloned().ok_or_else(missing)?;
                found.display_name(format!("otfuse-{name}"))
            }
        };
        let mut page = Vec::new();
        let failure = |error| Error::run(format!("cannot write the page: {error}"));
        clap_mangen::Man::new(command).render(&mut page).map_err(failure)?;
        session.write(&page)
    }
}
