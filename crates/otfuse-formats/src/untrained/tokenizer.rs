//! The tokenizer of a network whose vocabulary was made from its data.

use serde_json::{Map, Value, json};

use super::transformer::Task;

/// The files that `AutoTokenizer` reads: every token is a piece of text between white space, or a character.
pub(super) fn tokenizer_files(task: &Task) -> Vec<(String, Vec<u8>)> {
    let Task::Text { tokens, characters, length, padding, unknown, first, .. } = task else { return Vec::new() };
    let text = |id: u32| tokens.get(id as usize).cloned().unwrap_or_default();
    let special: Vec<u32> = padding.iter().chain([unknown]).chain(first).copied().collect();
    let added: Vec<Value> = special
        .iter()
        .map(|&id| {
            json!({
                "id": id, "content": text(id), "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true
            })
        })
        .collect();
    let ids: Map<String, Value> = tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    let pieces = match characters {
        true => json!({"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": false}),
        false => json!({"type": "WhitespaceSplit"}),
    };
    let behind = first.map(|id| {
        json!({
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": text(id), "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {text(id): {"id": text(id), "ids": [id], "tokens": [text(id)]}}
        })
    });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": pieces, "post_processor": behind,
        "decoder": if *characters { json!({"type": "Fuse"}) } else { Value::Null },
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": text(*unknown)}
    });
    let mut settings = json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": length, "unk_token": text(*unknown),
        "clean_up_tokenization_spaces": false
    });
    for (name, id) in [("pad_token", padding), ("cls_token", first)] {
        if let Some(id) = id {
            settings[name] = text(*id).into();
        }
    }
    let bytes = |value: &Value| format!("{value:#}").into_bytes();
    vec![("tokenizer.json".into(), bytes(&tokenizer)), ("tokenizer_config.json".into(), bytes(&settings))]
}
