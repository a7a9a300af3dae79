//! Bad input through the real command line: every case ends with exit code 2, nothing on stdout, one `error:` that names
//! the file and what was expected and found, a `hint:`, no panic, and no file written or changed.

mod data;
mod files;
mod fusing;
mod networks;
mod options;
mod outputs;
mod running;
mod tensors;
mod workshop;
