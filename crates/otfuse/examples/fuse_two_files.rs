//! Fuses two trained networks in files into one:
//!
//! ```sh
//! cargo run --release --example fuse_two_files -- a.onnx b.onnx fused.onnx
//! ```
//!
//! ONNX files and Hugging Face folders say what network they hold. A checkpoint of tensors alone has to be told:
//! `Model::open("a.pt")?.architecture("resnet")?`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use otfuse::{Context, Event, Fuse, Model};

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [a, b, output] = paths.as_slice() else {
        eprintln!("usage: fuse_two_files MODEL MODEL OUTPUT");
        return ExitCode::from(2);
    };
    match fuse(a, b, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            // What can be done about it stands apart from what went wrong, so that each can be shown where it fits.
            if let Some(hint) = error.hint {
                eprintln!("{hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn fuse(a: &str, b: &str, output: &str) -> otfuse::Result<()> {
    // The library prints nothing: whoever wants to know takes note of its events.
    let context = Context::new().observer(|event: &Event<'_>| {
        if let Event::Warning(text) = event {
            eprintln!("{text}");
        }
    });
    let (a, b) = (Model::open(a)?, Model::open(b)?);
    // The last model is the anchor: the result has its shapes, its names and its format.
    let fused = Fuse::new([&a, &b]).run(&context)?;
    for group in &fused.report.groups {
        println!(
            "{}: {} neurons, {:.0} % with one clear partner",
            group.name,
            group.size,
            100.0 * group.matched_fraction
        );
    }
    fused.save(output)
}
