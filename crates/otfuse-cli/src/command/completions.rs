//! `otfuse completions`.

use clap::{Args, Command};
use clap_complete::Shell;
use otfuse::Result;

use crate::session::Session;

/// `completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut command: Command = crate::command_line();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "otfuse", &mut script);
        session.write(&script)
    }
}
