//! Folders of one family whose weights are kept in different number types, and one with tied weights.

use std::fs;
use std::path::Path;

use crate::desk::Desk;

/// The number type of a folder's tensors, as the header of the file says.
fn kind(folder: &str) -> String {
    let bytes = fs::read(Path::new(folder).join("model.safetensors")).expect("weights");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
    let header: serde_json::Value =
        serde_json::from_slice(&bytes[8..][..usize::try_from(length).expect("a length")]).expect("a header");
    let tensors = header.as_object().expect("tensors");
    let mut kinds: Vec<&str> = tensors.values().filter_map(|tensor| tensor["dtype"].as_str()).collect();
    kinds.dedup();
    assert_eq!(kinds.len(), 1, "{folder}: {kinds:?}");
    kinds[0].to_owned()
}

#[test]
fn number_types_are_no_difference_and_the_result_has_the_anchors() {
    let desk = Desk::of("hf-bf16-with-f32");
    for (a, b, expected) in [
        ("llama-f32", "llama-bf16", "BF16"),
        ("llama-bf16", "llama-f32", "F32"),
        ("gemma-f16", "gemma-bf16", "BF16"),
        ("gemma-bf16", "gemma-f16", "F16"),
    ] {
        let out = desk.out(&format!("{a}-{b}"));
        desk.ends(0, &["fuse", &desk.file(a), &desk.file(b), "-o", &out]);
        assert_eq!(kind(&out), expected);
        desk.ends(0, &["verify", &out]);
    }
}

#[test]
fn a_network_is_itself_in_another_number_type() {
    let desk = Desk::of("hf-bf16-with-f32");
    let (bf16, out) = (desk.file("llama-bf16"), desk.out("same"));
    desk.ends(0, &["fuse", &bf16, &bf16, "-o", &out]);
    let weights = |folder: &str| fs::read(Path::new(folder).join("model.safetensors")).expect("weights");
    assert!(weights(&out) == weights(&bf16));
}

#[test]
fn tied_weights_are_named() {
    let desk = Desk::of("hf-bf16-with-f32");
    let [untied, tied, out] = [desk.file("llama-f32"), desk.file("llama-tied"), desk.out("fused")];
    let words = ["tie_word_embeddings differs", "lm_head.weight", "model.embed_tokens.weight"];
    desk.refuses(&["fuse", &untied, &tied, "-o", &out], &words);
}
