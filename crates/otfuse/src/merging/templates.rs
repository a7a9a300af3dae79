//! Chat templates by name.

use std::collections::BTreeMap;

use otfuse_formats::Checkpoint;
use serde_json::Value;

use crate::{Error, Result};

/// Templates of well-known formats, written for this purpose.
const KNOWN: [(&str, &str); 4] = [
    (
        "chatml",
        "{%- for message in messages -%}\n{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}\n\
         {%- endfor -%}\n{%- if add_generation_prompt -%}\n{{ '<|im_start|>assistant\\n' }}\n{%- endif -%}\n",
    ),
    (
        "alpaca",
        "{%- for message in messages -%}\n{%- if message['role'] == 'system' -%}\n{{ message['content'] + '\\n\\n' }}\n\
         {%- elif message['role'] == 'user' -%}\n{{ '### Instruction:\\n' + message['content'] + '\\n\\n' }}\n{%- else -%}\n\
         {{ '### Response:\\n' + message['content'] + '\\n\\n' }}\n{%- endif -%}\n{%- endfor -%}\n\
         {%- if add_generation_prompt -%}\n{{ '### Response:\\n' }}\n{%- endif -%}\n",
    ),
    (
        "llama3",
        "{{ bos_token }}\n{%- for message in messages -%}\n{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + \
         message['content'] | trim + '<|eot_id|>' }}\n{%- endfor -%}\n{%- if add_generation_prompt -%}\n\
         {{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif -%}\n",
    ),
    (
        "mistral",
        "{{ bos_token }}\n{%- for message in messages -%}\n{%- if message['role'] == 'assistant' -%}\n\
         {{ ' ' + message['content'] | trim + eos_token }}\n{%- else -%}\n{{ '[INST] ' + message['content'] | trim + ' [/INST]' }}\n\
         {%- endif -%}\n{%- endfor -%}\n",
    ),
];

/// The shortest text that is taken for a template and not for a name.
const SHORTEST: usize = 20;

/// The template that is meant: by name, `auto` for the one that most models have, or a template itself. `None` if no model has one.
///
/// # Errors
/// A name that is none.
pub(super) fn chosen<'m>(template: &str, models: impl Iterator<Item = &'m Checkpoint>) -> Result<Option<String>> {
    if template == "auto" {
        let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for (at, model) in models.enumerate() {
            if let Some(found) = of_model(model)? {
                counts.entry(found.trim().to_owned()).or_insert((0, usize::MAX - at)).0 += 1;
            }
        }
        return Ok(counts.into_iter().max_by_key(|(_, count)| *count).map(|(template, _)| template));
    }
    if let Some((_, text)) = KNOWN.iter().find(|(name, _)| *name == template) {
        return Ok(Some((*text).to_owned()));
    }
    if template.len() >= SHORTEST && template.contains('{') {
        return Ok(Some(template.to_owned()));
    }
    let names: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
    Err(Error::input(format!("chat_template: '{template}' is neither a name that is known here nor a Jinja template"))
        .hint(format!("auto, {}, or the text of a template", names.join(", "))))
}

fn of_model(model: &Checkpoint) -> Result<Option<String>> {
    let files = model.companions()?;
    if let Some((_, content)) = files.iter().find(|(name, _)| name == "chat_template.jinja") {
        return Ok(Some(String::from_utf8_lossy(content).into_owned()));
    }
    let Some((_, content)) = files.iter().find(|(name, _)| name == "tokenizer_config.json") else { return Ok(None) };
    let settings: Value = serde_json::from_slice(content).map_err(|error| Error::input(error).of(model.path()))?;
    Ok(settings.get("chat_template").and_then(Value::as_str).map(str::to_owned))
}
