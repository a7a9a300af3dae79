//! Transformers in Hugging Face folders: what they compute, their neuron groups, fusing them, writing them back.
#![allow(clippy::print_stderr)]

mod files;
mod forward;
mod groups;
mod recovery;
mod settings;
mod sizes;
mod tiny;
mod training;
