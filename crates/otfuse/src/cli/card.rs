//! Model cards: what a fused network is made of, beside it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Failure;
use super::models::check_output;
use super::pages::{compared, write_text};

/// Where the card of a network goes: `README.md` in its folder, or `NAME.README.md` beside its file.
pub fn place(output: &Path, is_folder: bool) -> PathBuf {
    if is_folder {
        return output.join("README.md");
    }
    let mut name = output.file_name().unwrap_or_default().to_os_string();
    name.push(".README.md");
    output.with_file_name(name)
}

/// Refuses a card that cannot be written, before any work is done.
pub fn check(output: &Path, is_folder: bool, inputs: &[PathBuf]) -> Result<(), Failure> {
    match is_folder {
        true => Ok(()),
        false => check_output(&place(output, false), inputs, None),
    }
}

/// Writes the card of a fusion from the command's own JSON.
pub fn write(output: &Path, data: &Value) -> Result<(), Failure> {
    write_text(&place(output, output.is_dir()), &card(output, data))
}

fn card(output: &Path, data: &Value) -> String {
    let name = line(&output.file_name().unwrap_or_default().to_string_lossy());
    let models = data["models"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "---\ntags:\n- otfuse\n- model-fusion\n- merge\n---\n\n# {name}\n");
    let _ = writeln!(
        text,
        "One network fused from {} with otfuse {}: the neurons of all networks are aligned by optimal transport (S. P. Singh \
         and M. Jaggi, \"Model Fusion via Optimal Transport\", NeurIPS 2020), then the weights are averaged. It has the shape \
         and the cost of one of them.\n",
        models.len(),
        env!("CARGO_PKG_VERSION")
    );
    let _ = writeln!(text, "## Parents\n\n| model | weight | parameters | SHA-256 |\n|---|---|---|---|");
    for model in models {
        let shown = |key: &str| plain(&model[key]);
        let _ = writeln!(
            text,
            "| {} | {} | {} | `{}` |",
            shown("path"),
            shown("weight"),
            shown("parameters"),
            shown("sha256")
        );
    }
    let _ = writeln!(text, "\n## Method\n\n- method: {}", plain(&data["method"]));
    for (key, value) in data["settings"].as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let _ = writeln!(text, "- {}: {}", key.replace('_', " "), plain(value));
    }
    let results = compared(&data["comparison"]);
    let _ = writeln!(text, "\n## Measured\n");
    if results.is_empty() {
        let _ = writeln!(text, "Not measured when it was made. `otfuse eval FILE --data SPEC` measures it.");
    } else {
        let comparison = &data["comparison"];
        let _ = writeln!(
            text,
            "On {} {} samples of {}:\n\n| network | accuracy | loss |\n|---|---|---|",
            comparison["samples"],
            plain(&comparison["split"]),
            plain(&comparison["data"])
        );
        for (name, row, _) in results {
            let accuracy = row["accuracy"].as_f64().map_or_else(String::new, |value| format!("{:.2} %", 100.0 * value));
            let loss = row["loss"].as_f64().map_or_else(String::new, |value| format!("{value:.4}"));
            let _ = writeln!(text, "| {} | {accuracy} | {loss} |", line(&name));
        }
    }
    let _ = writeln!(text, "\n## Use\n\n{}", usage(output, &name));
    text
}

/// How the file is loaded, by its kind.
fn usage(output: &Path, name: &str) -> String {
    let extension = output.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default();
    let code = match extension.as_str() {
        _ if output.is_dir() => {
            format!("from transformers import AutoModel\nmodel = AutoModel.from_pretrained(\"{name}\")")
        }
        "onnx" => format!(
            "import onnxruntime\nsession = onnxruntime.InferenceSession(\"{name}\")\noutputs = session.run(None, inputs)"
        ),
        "safetensors" => format!(
            "from safetensors.torch import load_file\nmodel.load_state_dict(load_file(\"{name}\"))  # a model of the parents' class"
        ),
        _ => format!(
            "import torch\nmodel.load_state_dict(torch.load(\"{name}\", weights_only=True))  # a model of the parents' class"
        ),
    };
    format!("```python\n{code}\n```\n")
}

/// A value in a line of Markdown.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => line(text),
        other => line(&other.to_string()),
    }
}

/// Text that stays on its line and is no markup.
fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '`' | '*' | '<' | '>' | '[' | ']' | '\\' => shown.extend(['\\', c]),
            c if c.is_control() => shown.push(' '),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_card_names_parents_settings_and_results() {
        let data = json!({
            "method": "ot",
            "models": [{"path": "a|<b>.pt", "sha256": "00", "parameters": 3, "weight": 0.5}],
            "settings": {"preset": null, "anchor": 1},
            "comparison": {"parents": [], "fused": {"accuracy": 0.5, "loss": 0.25}},
        });
        let card = card(Path::new("out.pt"), &data);
        for expected in ["| a\\|\\<b\\>.pt | 0.5 | 3 |", "- anchor: 1", "| fused | 50.00 % | 0.2500 |", "torch.load"] {
            assert!(card.contains(expected), "{expected} in {card}");
        }
        assert!(!card.contains("preset"));
        assert_eq!(place(Path::new("x/out.pt"), false), Path::new("x/out.pt.README.md"));
    }
}
