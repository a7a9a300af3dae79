//! What mergekit has and a fusion has not: each gets a sentence of its own.

use serde_json::Value;

use crate::{Error, Numbers, Result};

/// Weights add up to 1 but for so much.
const ROUNDING: f64 = 1e-6;

/// Keys of mergekit that mean nothing here, why, and what to do instead.
const KEYS: [(&str, &str, &str); 6] = [
    ("slices", "layers of several networks in one make another architecture", "name whole networks under models"),
    ("modules", "parts of a network are not merged on their own", "name whole networks under models"),
    ("tokenizer", "the result has the tokenizer of the anchor", "leave it out, and name the anchor as base_model"),
    (
        "chat_template",
        "the result has the chat template of the anchor",
        "leave it out, and name the anchor as base_model",
    ),
    ("name", "the result is named by `output`", "leave it out"),
    ("metadata", "the card is written from what was fused", "leave it out"),
];

/// Parameters of mergekit, of all models or of one.
const PARAMETERS: [(&str, &str, &str); 8] = [
    ("t", "how far to go has a place of its own", "alignment: {t: 0.5}"),
    ("density", "task vectors are not thinned out", "leave it out"),
    ("gamma", "task vectors are not thinned out", "leave it out"),
    ("epsilon", "task vectors are not thinned out", "leave it out"),
    ("lambda", "there are no task vectors to scale", "leave it out"),
    ("int8_mask", "there are no masks that int8_mask could make smaller", "leave it out"),
    ("rescale", "task vectors are not thinned out, so that there is nothing to rescale", "leave it out"),
    ("select_topk", "task vectors are not thinned out", "leave it out"),
];

/// Methods of mergekit, and why they are none here.
const METHODS: [(&str, &str, &str); 14] = [
    ("slerp", "the way to merge is an option of the alignment", "merge_method: ot, alignment: {merge: slerp, t: 0.5}"),
    (
        "nuslerp",
        "the way to merge is an option of the alignment",
        "merge_method: ot, alignment: {merge: slerp, t: 0.5}",
    ),
    ("multislerp", "merge slerp takes two models", "merge_method: ot, which averages any number of models"),
    ("passthrough", "layers of several networks in one make another architecture", "merge_method: ot or linear"),
    ("task_arithmetic", TASKS, WHOLE),
    ("ties", TASKS, WHOLE),
    ("dare_ties", TASKS, WHOLE),
    ("dare_linear", TASKS, WHOLE),
    ("della", TASKS, WHOLE),
    ("della_linear", TASKS, WHOLE),
    ("breadcrumbs", TASKS, WHOLE),
    ("breadcrumbs_ties", TASKS, WHOLE),
    ("sce", TASKS, WHOLE),
    ("model_stock", TASKS, WHOLE),
];

const TASKS: &str = "it merges task vectors, differences to a base that all models come from";
const WHOLE: &str = "merge_method: linear averages such models, ot aligns those that come from no common base";

/// Refuses what stands for something else in a file of mergekit.
pub(super) fn check(file: &Value) -> Result<()> {
    let Some(file) = file.as_object() else { return Ok(()) };
    for (key, why, way) in KEYS {
        if file.contains_key(key) {
            return Err(Error::input(format!("{key}: {why}")).hint(way));
        }
    }
    let method = file.get("merge_method").and_then(Value::as_str).unwrap_or_default();
    if let Some((name, why, way)) = METHODS.into_iter().find(|(name, ..)| *name == method) {
        return Err(Error::input(format!("merge_method: {name} is not done here: {why}")).hint(way));
    }
    check_parameters("parameters", file.get("parameters"))?;
    let models = file.get("models").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (at, model) in models.iter().enumerate() {
        let place = format!("models[{at}].parameters");
        let parameters = model.get("parameters");
        check_parameters(&place, parameters)?;
        if parameters.and_then(|parameters| parameters.get("weight")).is_some_and(Value::is_array) {
            let message =
                format!("{place}.weight: expected one number, found a list, which mergekit spreads over the layers");
            return Err(Error::input(message).hint("give each model one number for all layers"));
        }
    }
    Ok(())
}

fn check_parameters(place: &str, parameters: Option<&Value>) -> Result<()> {
    let Some(parameters) = parameters.and_then(Value::as_object) else { return Ok(()) };
    match PARAMETERS.into_iter().find(|(key, ..)| parameters.contains_key(*key)) {
        Some((key, why, way)) => Err(Error::input(format!("{place}.{key}: {why}")).hint(way)),
        None => Ok(()),
    }
}

/// Refuses weights that are to be used as they are and do not add up to 1.
pub(super) fn check_weights(normalize: Option<bool>, weights: Option<&Numbers>) -> Result<()> {
    let total: f64 = weights.map_or(1.0, |weights| weights.0.iter().sum());
    if normalize == Some(false) && (total - 1.0).abs() > ROUNDING {
        let message = format!("parameters.normalize: expected weights that add up to 1, found {total}");
        return Err(Error::input(message).hint("weights are divided by their sum always: say normalize: true"));
    }
    Ok(())
}

/// Refuses a tokenizer other than the anchor's.
pub(super) fn check_tokenizer(source: Option<&str>, base: Option<&str>, is_anchored: bool) -> Result<()> {
    match source {
        None => Ok(()),
        Some("base") if is_anchored => Ok(()),
        Some(source) if Some(source) == base => Ok(()),
        Some("base") => Err(Error::input("tokenizer_source: base: expected a base_model, found none")
            .hint("the result has the tokenizer of the anchor: name it as base_model, or leave tokenizer_source out")),
        Some(source) => {
            Err(Error::input(format!("tokenizer_source: {source}: vocabularies are not put together here"))
                .hint("the result has the tokenizer of the anchor, base_model: say tokenizer_source: base"))
        }
    }
}
