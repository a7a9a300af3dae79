//! Adapters: weights that were trained beside those of a base.

use std::path::Path;

use serde_json::Value;

use super::HfError;
use crate::StateDict;
use crate::file::open_mapped;

/// The file with the settings of an adapter.
const ADAPTER_FILE: &str = "adapter_config.json";

/// The error that says that a folder holds an adapter; `None` if it holds none.
pub(super) fn adapter_of_folder(folder: &Path) -> Option<HfError> {
    let path = folder.join(ADAPTER_FILE);
    if !path.is_file() {
        return None;
    }
    let settings: Value = open_mapped(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())?;
    let text = |field: &str| settings.get(field).and_then(Value::as_str);
    let kind = match text("peft_type") {
        None | Some("LORA") => "a LoRA adapter".into(),
        Some(other) => format!("an adapter of kind {other}"),
    };
    Some(HfError::Adapter { kind, base: text("base_model_name_or_path").map(str::to_owned) })
}

/// The error that says that tensors are those of an adapter; `None` if they are not.
pub(crate) fn adapter_of_tensors(dict: &StateDict) -> Option<HfError> {
    let is_adapter = |name: &str| name.contains(".lora_A.") || name.contains(".lora_B.");
    let all = !dict.is_empty() && dict.iter().all(|(name, _)| is_adapter(name) || name.starts_with("base_model."));
    let found = all && dict.iter().any(|(name, _)| is_adapter(name));
    found.then(|| HfError::Adapter { kind: "the tensors of a LoRA adapter".into(), base: None })
}
