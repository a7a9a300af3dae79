//! The `otfuse` command.

use std::process::ExitCode;

/// Training and running networks allocate tensors of the same few sizes all the time. The system's allocator hands large ones
/// back each time and gets fresh pages, which cost a third of a training step of a perceptron.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    otfuse::cli::main()
}
