//! Adapters of low rank (E. J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022) as the library PEFT
//! keeps them: merged into their base, and taken out of a network that was tuned whole.

mod adapter;
mod extract;
mod layers;
mod merge;
mod settings;

pub use adapter::LoraAdapter;
pub use extract::{ExtractOptions, ExtractReport, ExtractedLayer, ExtractedLora, extract_lora};
pub use merge::{MergeLoraReport, MergedAdapter, MergedLora, adapted, merge_lora};
