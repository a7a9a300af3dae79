//! The command `otfuse`; [`otfuse_cli`] is all of it.

use std::process::{ExitCode, exit};

/// Training and running networks allocate tensors of the same few sizes all the time. The system's allocator hands large ones
/// back each time and gets fresh pages, which cost a third of a training step of a perceptron.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(otfuse_cli::main_with(std::env::args_os(), |code| exit(i32::from(code))))
}
