//! What names of tensors tell.

use otfuse_formats::Checkpoint;
use serde_json::Value;

/// Parts of names of what is no weight: constants of architectures that some files have.
const CONSTANTS: [&str; 6] =
    [".inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.masked_bias", "position_ids", "num_batches_tracked"];

/// Parts of names of tables of tokens at the inputs.
const TABLES: [&str; 6] = [
    "embed_tokens.weight",
    "wte.weight",
    "word_embeddings.weight",
    "shared.weight",
    "tok_embeddings.weight",
    "embed_in.weight",
];

/// Parts of names of what comes before the layers.
const BEFORE: [&str; 7] = ["embed_tokens", "embed_in", "wte", "wpe", "embeddings", "embed_positions", "shared."];

/// Prefixes that classes around a network add to its names.
const WRAPPERS: [&str; 9] =
    ["transformer.", "model.", "bert.", "roberta.", "distilbert.", "electra.", "vit.", "module.", "gpt_neox."];

/// Parts of names of tables of tokens at the outputs.
const OUTPUT_TABLES: [&str; 6] = [
    "lm_head.weight",
    "lm_head.bias",
    "embed_out.weight",
    "cls.predictions.bias",
    "predictions.decoder.weight",
    "predictions.decoder.bias",
];

/// Whether a tensor is a constant of its architecture.
pub(super) fn is_constant(name: &str) -> bool {
    CONSTANTS.iter().any(|part| name.contains(part))
}

/// Whether a tensor outside the layers stands before them.
pub(super) fn is_before(name: &str) -> bool {
    BEFORE.iter().any(|part| name.contains(part))
}

/// The name that a tensor has in a network: its own, one with a wrapper's prefix or without, or the inputs' table where outputs share it.
pub(super) fn found(model: &Checkpoint, name: &str) -> Option<String> {
    let dict = model.dict();
    let bare = WRAPPERS.iter().filter_map(|prefix| name.strip_prefix(prefix)).map(str::to_owned);
    let wrapped = WRAPPERS.iter().map(|prefix| format!("{prefix}{name}"));
    let mut names = std::iter::once(name.to_owned()).chain(bare).chain(wrapped);
    if let Some(found) = names.find(|name| dict.contains(name)) {
        return Some(found);
    }
    if !name.ends_with("lm_head.weight") {
        return None;
    }
    dict.names().find(|name| TABLES.iter().any(|table| name.ends_with(table))).map(str::to_owned)
}

/// The tensors with an entry for each token: those whose sizes tell, or else those whose names do.
pub(in super::super) fn token_axes(model: &Checkpoint) -> Vec<(String, usize)> {
    if let Ok(axes) = model.token_axes() {
        return axes;
    }
    let rows = model.settings().and_then(|settings| settings.get("vocab_size")).and_then(Value::as_u64);
    let is_table = |name: &str| TABLES.iter().chain(&OUTPUT_TABLES).any(|table| name.ends_with(table));
    let tensors = model.dict().iter().filter(|(name, tensor)| {
        is_table(name) && tensor.shape().first().is_some_and(|&length| rows.is_none_or(|rows| length as u64 == rows))
    });
    tensors.map(|(name, _)| (name.to_owned(), 0)).collect()
}
