//! The files beside the weights of a merged network.

use std::path::Path;

use serde_json::{Map, Value};

use super::file::MergeDocument;
use super::plan::{Plan, renumber};
use super::{Layers, templates};
use crate::card::line;
use crate::{Error, Result};

/// The files beside the weights that are not the donor's.
pub(super) fn beside(
    plan: &Plan,
    document: &MergeDocument,
    path: &Path,
    text: &str,
) -> Result<Vec<(String, Option<Vec<u8>>)>> {
    let donor = &plan.models[plan.donor].1;
    let mut files: Vec<(String, Option<Vec<u8>>)> =
        plan.words.as_ref().map(|words| words.files.clone()).unwrap_or_default();
    if let Some(settings) = donor.settings() {
        let mut settings = settings.clone();
        if let Some(layers) = &plan.layers {
            let count = Layers::of(donor.dict().names()).main().map_or(0, |(_, count)| count);
            if !renumber(&mut settings, layers, count) {
                return Err(Error::input("expected the number of layers in config.json, found none")
                    .of(donor.path())
                    .hint("num_hidden_layers says how many layers a network has"));
            }
        }
        if let Some(words) = &plan.words {
            settings.insert("vocab_size".into(), words.count.into());
        }
        if let Some(dtype) = document.out_dtype.or(document.dtype) {
            // Newer versions of the library say dtype, and files of some have both.
            let keys: Vec<&str> =
                ["torch_dtype", "dtype"].into_iter().filter(|key| settings.contains_key(*key)).collect();
            for key in if keys.is_empty() { vec!["dtype"] } else { keys } {
                settings.insert(key.into(), dtype.to_string().into());
            }
        }
        let has_output = plan.tensors.iter().any(|planned| planned.name.ends_with("lm_head.weight"));
        let had_output = donor.dict().contains("lm_head.weight")
            || donor.dict().names().any(|name| name.ends_with("lm_head.weight"));
        if has_output && !had_output {
            settings.insert("tie_word_embeddings".into(), false.into());
        }
        files.push((
            "config.json".into(),
            Some(serde_json::to_vec_pretty(&Value::Object(settings)).map_err(Error::run)?),
        ));
    }
    if let Some(template) = &document.chat_template {
        set_template(&mut files, plan, template)?;
    }
    files.push(("README.md".into(), Some(card(plan, document, path, text).into_bytes())));
    Ok(files)
}

/// The chat template in a file of its own, and nowhere else.
fn set_template(files: &mut Vec<(String, Option<Vec<u8>>)>, plan: &Plan, template: &str) -> Result<()> {
    let text = templates::chosen(template, plan.models.iter().map(|(_, model)| model))?;
    let Some(text) = text else { return Ok(()) };
    files.retain(|(name, _)| name != "chat_template.jinja");
    files.push(("chat_template.jinja".into(), Some(text.into_bytes())));
    let own = plan.models[plan.donor].1.companions()?;
    let known = files.iter().position(|(name, _)| name == "tokenizer_config.json");
    let content = match known {
        Some(at) => files.remove(at).1,
        None => own.iter().find(|(name, _)| name == "tokenizer_config.json").map(|(_, content)| content.clone()),
    };
    if let Some(content) = content {
        let mut settings: Map<String, Value> = serde_json::from_slice(&content).map_err(Error::input)?;
        settings.remove("chat_template");
        files.push(("tokenizer_config.json".into(), Some(serde_json::to_vec_pretty(&settings).map_err(Error::run)?)));
    }
    Ok(())
}

/// The card of a merged network, with the settings in it.
fn card(plan: &Plan, document: &MergeDocument, path: &Path, text: &str) -> String {
    let name = line(&path.file_name().unwrap_or_default().to_string_lossy());
    let models: String = plan.models.iter().map(|(reference, _)| format!("- {}\n", line(&reference.0))).collect();
    let base = document.base.as_ref().map_or_else(String::new, |base| format!(" with {} as the base", line(&base.0)));
    let fence = if text.contains("```") { "~~~~" } else { "```" };
    format!(
        "---\ntags:\n- otfuse\n- merge\n---\n\n# {name}\n\nMerged by the method {}{base} with otfuse {} from\n\n{models}\n## Settings\n\n\
         {fence}yaml\n{}\n{fence}\n",
        document.method,
        env!("CARGO_PKG_VERSION"),
        text.trim_end()
    )
}
