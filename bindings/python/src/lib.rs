//! The native module `otfuse._otfuse`: the library's face for the Python package around it.
//!
//! Networks, samples and results are objects that hold the library's own; options and reports pass as JSON in the names
//! that files have. What a user sees (names, docstrings, what a network in memory is) is made in Python.

mod arrays;
mod costs;
mod error;
mod functions;
mod fusing;
mod merging;
mod network;
mod samples;
mod transport;
mod work;

use pyo3::prelude::*;

/// As the command's: networks allocate tensors of the same few sizes all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The command line: its words, the program's name first; returns the exit code. Ends the process when it is told to end.
#[pyfunction]
fn main(py: Python<'_>, words: Vec<std::ffi::OsString>) -> u8 {
    py.detach(|| otfuse_cli::main_with(words, |code| std::process::exit(i32::from(code))))
}

/// The names of options.
type Names = Vec<&'static str>;

/// The names of the options of fusions, alignments and task vectors, as files have them.
#[pyfunction]
fn option_names() -> (Names, Names, Names) {
    let names = [otfuse::FuseOptions::KEYS, otfuse::AlignOptions::KEYS, otfuse::TransportOptions::KEYS];
    let [fuse, align, transport] = names.map(<[_]>::to_vec);
    (fuse, align, transport)
}

#[pymodule]
mod _otfuse {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::{main, option_names};
    #[pymodule_export]
    use crate::functions::{
        adapted, align, apply, compare, evaluate, extract_lora, fuse, inspect, interpolate, merge_lora, outputs, plan,
        prune, run, sweep, transport_task_vector, verify,
    };
    #[pymodule_export]
    use crate::fusing::{Fused, Made, Plan};
    #[pymodule_export]
    use crate::merging::Settings;
    #[pymodule_export]
    use crate::network::Network;
    #[pymodule_export]
    use crate::samples::{Data, Samples};
    #[pymodule_export]
    use crate::transport::{assignment, exact, ground_cost, sinkhorn};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::work::watch_panics();
        crate::work::process();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
