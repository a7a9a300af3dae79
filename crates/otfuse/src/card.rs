//! Model cards: what a fused network is made of, beside it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::{FuseReport, visible};

/// Where the card of a network goes: `README.md` in its folder, or `NAME.README.md` beside its file.
pub fn card_path(output: &Path, is_folder: bool) -> PathBuf {
    if is_folder {
        return output.join("README.md");
    }
    let mut name = output.file_name().unwrap_or_default().to_os_string();
    name.push(".README.md");
    output.with_file_name(name)
}

/// The card of a fusion whose result is written to `output`, as Markdown.
pub fn card(output: &Path, is_folder: bool, report: &FuseReport) -> String {
    let name = line(&output.file_name().unwrap_or_default().to_string_lossy());
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "---\ntags:\n- otfuse\n- model-fusion\n- merge\n---\n\n# {name}\n");
    let _ = writeln!(
        text,
        "One network fused from {} with otfuse {}: the neurons of all networks are aligned by optimal transport (S. P. Singh \
         and M. Jaggi, \"Model Fusion via Optimal Transport\", NeurIPS 2020), then the weights are averaged. It has the shape \
         and the cost of one of them.\n",
        report.models.len(),
        env!("CARGO_PKG_VERSION")
    );
    let _ = writeln!(text, "## Parents\n\n| model | weight | parameters | SHA-256 |\n|---|---|---|---|");
    for model in &report.models {
        let (path, sha256) = (line(&model.path), line(&model.sha256));
        let _ = writeln!(text, "| {path} | {:?} | {} | `{sha256}` |", model.weight, model.parameters);
    }
    let _ = writeln!(text, "\n## Method\n\n- method: {}", report.method);
    let _ = writeln!(text, "- {}", line(&report.coverage.to_string()));
    for (name, value) in report.settings.entries() {
        let _ = writeln!(text, "- {name}: {}", line(&value));
    }
    let _ = writeln!(text, "\n## Measured\n");
    match &report.comparison {
        None => {
            let _ = writeln!(text, "Not measured when it was made. `otfuse eval FILE --data SPEC` measures it.");
        }
        Some(comparison) => {
            let _ = writeln!(
                text,
                "On {} {} samples of {}:\n\n| network | {} |\n|---|{}",
                comparison.samples,
                comparison.split,
                line(&comparison.data),
                comparison.fused.columns().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" | "),
                "---|".repeat(comparison.fused.columns().len())
            );
            for (name, measure, _) in comparison.rows() {
                let cells: Vec<String> = measure.columns().into_iter().map(|(_, value)| value).collect();
                let _ = writeln!(text, "| {} | {} |", line(&name), cells.join(" | "));
            }
        }
    }
    let _ = writeln!(text, "\n## Use\n\n{}", usage(output, is_folder, &name));
    text
}

/// How the file is loaded, by its kind.
fn usage(output: &Path, is_folder: bool, name: &str) -> String {
    let extension = output.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default();
    let code = match extension.as_str() {
        _ if is_folder => {
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

/// Text that stays on its line and is no markup.
pub(crate) fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in visible(text, false).chars() {
        match c {
            '|' | '`' | '*' | '<' | '>' | '[' | ']' | '\\' => shown.extend(['\\', c]),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_markup() {
        assert_eq!(line("a|<b>\n.pt"), "a\\|\\<b\\>\\\\n.pt");
        assert_eq!(card_path(Path::new("x/out.pt"), false), Path::new("x/out.pt.README.md"));
        assert_eq!(card_path(Path::new("x"), true), Path::new("x/README.md"));
    }
}
