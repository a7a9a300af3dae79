//! Transformers in Hugging Face folders: what they compute, their neuron groups, fusing them, writing them back.

mod families;
mod files;
mod forward;
mod groups;
mod recovery;
mod rotations;
mod settings;
mod sizes;
mod tiny;
#[cfg(feature = "training")]
mod training;
mod vocabularies;
