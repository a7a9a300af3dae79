//! The settings of an adapter.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{Error, Result};

/// The file with the settings.
pub(super) const SETTINGS: &str = "adapter_config.json";

/// Settings under which an adapter is more than products that are added, and what they mean.
const BEYOND: [(&str, &str); 11] = [
    ("use_dora", "weights are scaled column by column (DoRA)"),
    ("layer_replication", "layers of the base are repeated"),
    ("target_parameters", "parameters that are no layers are adapted"),
    ("trainable_token_indices", "single tokens of the embeddings are replaced"),
    ("use_qalora", "inputs are pooled first"),
    ("alora_invocation_tokens", "the adapter begins to count at a token"),
    ("use_bdlora", "factors are kept as blocks"),
    ("kasa_config", "the base is decomposed first (KaSA)"),
    ("monteclora_config", "factors are drawn at random"),
    ("arrow_config", "adapters are chosen token by token"),
    ("megatron_config", "layers are those of Megatron"),
];

/// Ways to begin that change the base too.
const CHANGES_BASE: [&str; 4] = ["pissa", "olora", "corda", "loftq"];

/// How an adapter's products count.
pub(super) struct Settings {
    rank: f64,
    alpha: f64,
    alphas: Vec<(String, f64)>,
    is_stabilised: bool,
    /// Whether weights are kept as `inputs x outputs`.
    pub is_transposed: bool,
}

impl Settings {
    /// Those of a folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(SETTINGS);
        let wrong = |problem: String| Error::input(problem).of(&path);
        let bytes = std::fs::read(&path).map_err(|error| {
            wrong(error.to_string())
                .hint("an adapter is a folder with adapter_config.json and adapter_model.safetensors")
        })?;
        let found: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("expected JSON: {error}")))?;
        let Value::Object(found) = found else { return Err(wrong("expected a JSON object".into())) };
        Self::of(&found).map_err(|error| Error { hint: error.hint.clone(), ..wrong(error.message) })
    }

    fn of(found: &Map<String, Value>) -> Result<Self> {
        match found.get("peft_type").and_then(Value::as_str) {
            Some("LORA") => {}
            other => {
                let message = format!("'peft_type': expected LORA, found {}", other.unwrap_or("none"));
                return Err(Error::input(message)
                    .hint("adapters of other kinds are merged by PEFT: PeftModel.from_pretrained(base, folder).merge_and_unload()"));
            }
        }
        let is_set = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(list) => !list.is_empty(),
            Value::Object(entries) => !entries.is_empty(),
            _ => true,
        };
        if let Some((name, meaning)) = BEYOND.iter().find(|(name, _)| found.get(*name).is_some_and(is_set)) {
            return Err(Error::input(format!(
                "'{name}': {meaning}, which is more than a product that is added to a weight"
            ))
            .hint("PEFT merges it: PeftModel.from_pretrained(base, folder).merge_and_unload()"));
        }
        if let Some(Value::String(start)) = found.get("init_lora_weights")
            && let Some(kind) = CHANGES_BASE.iter().find(|kind| start.to_lowercase().starts_with(*kind))
        {
            return Err(Error::input(format!(
                "'init_lora_weights' {start}: {kind} changes the weights of the base too"
            ))
            .hint("save the adapter with path_initial_model_for_weight_conversion, as PEFT's guide says"));
        }
        let number = |name: &str| match found.get(name).and_then(Value::as_f64) {
            Some(number) if number.is_finite() => Ok(number),
            _ => Err(Error::input(format!(
                "'{name}': expected a number, found {}",
                found.get(name).unwrap_or(&Value::Null)
            ))),
        };
        let flag = |name: &str| found.get(name).and_then(Value::as_bool).unwrap_or(false);
        let mut alphas = Vec::new();
        for (pattern, value) in found.get("alpha_pattern").and_then(Value::as_object).into_iter().flatten() {
            let plain = pattern.replace("\\.", ".");
            let plain = plain.trim_start_matches('^').trim_end_matches('$');
            let value = value
                .as_f64()
                .filter(|_| !plain.contains(['*', '+', '?', '[', ']', '(', ')', '|', '\\', '{', '^', '$']));
            let value = value.ok_or_else(|| {
                Error::input(format!("'alpha_pattern' {pattern}: expected the name of a layer and a number"))
                    .hint("write out the names of the layers in place of the pattern")
            })?;
            alphas.push((plain.to_owned(), value));
        }
        Ok(Self {
            rank: number("r")?,
            alpha: number("lora_alpha")?,
            alphas,
            is_stabilised: flag("use_rslora"),
            is_transposed: flag("fan_in_fan_out"),
        })
    }

    /// The factor of a layer's product of this rank: `alpha / r`, or `alpha / sqrt(r)` (D. Kalajdzievski, "A rank stabilization
    /// scaling factor for fine-tuning with LoRA", 2023).
    pub fn scale(&self, module: &str, rank: usize) -> f64 {
        let names = |pattern: &str| module == pattern || module.ends_with(&format!(".{pattern}"));
        let longest = self.alphas.iter().filter(|(pattern, _)| names(pattern)).max_by_key(|(pattern, _)| pattern.len());
        let alpha = longest.map_or(self.alpha, |(_, alpha)| *alpha);
        let rank = rank as f64;
        alpha / if self.is_stabilised { rank.sqrt() } else { rank }
    }

    /// The rank of layers that no pattern names.
    pub fn rank(&self) -> usize {
        self.rank as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Settings> {
        let Value::Object(found) = serde_json::from_str(text).unwrap() else { panic!("an object") };
        Settings::of(&found)
    }

    #[test]
    fn scales_are_alpha_by_rank_or_its_root() {
        let found =
            of(r#"{"peft_type": "LORA", "r": 8, "lora_alpha": 16, "alpha_pattern": {"^h\\.1.attn": 4}}"#).unwrap();
        assert_eq!(
            (found.scale("h.0.attn", 8), found.scale("h.1.attn", 2), found.scale("x.h.1.attn", 4)),
            (2.0, 2.0, 1.0)
        );
        let found = of(r#"{"peft_type": "LORA", "r": 16, "lora_alpha": 8, "use_rslora": true}"#).unwrap();
        assert_eq!(found.scale("a", 16), 2.0);
    }

    #[test]
    fn what_is_more_than_a_product_is_refused_by_name() {
        let refused = |text: &str| match of(text) {
            Err(error) => error.message,
            Ok(_) => panic!("{text}"),
        };
        assert!(refused(r#"{"peft_type": "LORA", "r": 8, "lora_alpha": 16, "use_dora": true}"#).contains("use_dora"));
        assert!(refused(r#"{"peft_type": "IA3"}"#).contains("IA3"));
        assert!(refused(r#"{"peft_type": "LORA", "r": 8}"#).contains("lora_alpha"));
        let text = r#"{"peft_type": "LORA", "r": 8, "lora_alpha": 1, "init_lora_weights": "pissa_niter_4"}"#;
        assert!(refused(text).contains("pissa"));
        let text = r#"{"peft_type": "LORA", "r": 8, "lora_alpha": 1, "alpha_pattern": {"h.[01].a": 1}}"#;
        assert!(refused(text).contains("alpha_pattern"));
    }
}
