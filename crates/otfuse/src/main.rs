//! The `otfuse` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    otfuse::cli::main()
}
