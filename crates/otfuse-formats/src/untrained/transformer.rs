//! Transformers by family and sizes, to be trained from scratch.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::UntrainedError;
use crate::catalogue::SpecError;
use crate::file::open_mapped;
use crate::hf::{CONFIG_FILE, Config, HfError};

/// A transformer by family and sizes (`gpt2:2,64,4`), or by the settings of a folder or `config.json`.
///
/// Sizes are LAYERS,WIDTH,HEADS and, if wanted, the width of the perceptrons (else four times WIDTH, or for gated ones
/// 8/3 of it rounded up to a multiple of 8). HEADS may be QUERIES/KEYS where families share keys among heads.
#[derive(Clone, Debug, PartialEq)]
pub struct TransformerSpec {
    pub(super) text: String,
    form: Form,
}

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Sizes { family: Family, sizes: Sizes },
    Settings(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    layers: usize,
    width: usize,
    heads: usize,
    key_heads: Option<usize>,
    inner: Option<usize>,
}

/// What a network is trained for, and on what.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Samples of tokens.
    Text {
        /// The texts of the tokens; the index is the id.
        tokens: Vec<String>,
        /// Whether tokens are characters, or what stands between white space.
        characters: bool,
        /// The tokens of a sample.
        length: usize,
        /// The id of padding.
        padding: Option<u32>,
        /// The id of what stands for unknown tokens.
        unknown: u32,
        /// The id of the token that begins each sample.
        first: Option<u32>,
        /// The number of classes; `None` for the prediction of the next token.
        classes: Option<usize>,
    },
    /// Images to be classified: channels, height, width.
    Images {
        /// Channels, height and width.
        shape: [usize; 3],
        /// The number of classes.
        classes: usize,
    },
}

/// The families of transformers that are trained from scratch, and what their settings are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Family {
    name: &'static str,
    /// What the names of its classes begin with.
    class: &'static str,
    language: Option<&'static str>,
    classification: &'static str,
    /// Names of the settings of layers, width, heads, inner width and positions.
    fields: [&'static str; 5],
    gated: bool,
    /// The most characters of a position table behind the tokens of a sample.
    reserved: usize,
}

const BERT: Family = Family {
    name: "bert",
    class: "Bert",
    language: None,
    classification: "ForSequenceClassification",
    fields: ["num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "max_position_embeddings"],
    gated: false,
    reserved: 0,
};

const LLAMA: Family = Family { name: "llama", class: "Llama", language: Some("ForCausalLM"), gated: true, ..BERT };

const FAMILIES: [Family; 9] = [
    BERT,
    // Positions are counted from behind the padding token's id.
    Family { name: "roberta", class: "Roberta", reserved: 2, ..BERT },
    Family {
        name: "distilbert",
        class: "DistilBert",
        fields: ["n_layers", "dim", "n_heads", "hidden_dim", "max_position_embeddings"],
        ..BERT
    },
    Family {
        name: "gpt2",
        class: "GPT2",
        language: Some("LMHeadModel"),
        fields: ["n_layer", "n_embd", "n_head", "n_inner", "n_positions"],
        ..BERT
    },
    LLAMA,
    Family { name: "mistral", class: "Mistral", ..LLAMA },
    Family { name: "qwen2", class: "Qwen2", ..LLAMA },
    Family { name: "qwen3", class: "Qwen3", ..LLAMA },
    Family { name: "vit", class: "ViT", classification: "ForImageClassification", ..BERT },
];

/// Pixels of a patch's side in images that are smaller than ImageNet's, and in those.
const PATCH: [usize; 2] = [4, 16];
const LARGE: usize = 128;
/// A network is not deeper or wider.
const MOST: usize = 1 << 16;

impl TransformerSpec {
    /// The names of the families.
    pub fn families() -> impl Iterator<Item = &'static str> {
        FAMILIES.iter().map(|family| family.name)
    }

    /// Reads a specification; `None` if the text names no transformer: neither a family nor a folder or file of settings.
    ///
    /// # Errors
    /// A family with sizes that are not understood.
    pub fn parse(text: &str) -> Option<Result<Self, SpecError>> {
        let (name, sizes) = text.split_once(':').unwrap_or((text, ""));
        let path = Path::new(text);
        if let Some(&family) = FAMILIES.iter().find(|family| family.name == name.trim().to_ascii_lowercase()) {
            let form = Sizes::parse(sizes).map(|sizes| Form::Sizes { family, sizes });
            let expected = format!(
                "{name}:LAYERS,WIDTH,HEADS or {name}:LAYERS,WIDTH,HEADS,INNER, each from 1 to {MOST} (HEADS may be \
                 QUERIES/KEYS for {})",
                FAMILIES.iter().filter(|family| family.gated).map(|it| it.name).collect::<Vec<_>>().join(", ")
            );
            let is_valid = |sizes: &Sizes| sizes.key_heads.is_none() || family.gated;
            let form = form.filter(|form| matches!(form, Form::Sizes { sizes, .. } if is_valid(sizes)));
            return Some(match form {
                Some(form) => Ok(Self { text: text.into(), form }),
                None => Err(SpecError::Text { found: text.into(), expected }),
            });
        }
        let file = if path.is_dir() { path.join(CONFIG_FILE) } else { path.to_path_buf() };
        let is_settings = file.extension().is_some_and(|extension| extension == "json") && file.is_file();
        is_settings.then(|| Ok(Self { text: text.into(), form: Form::Settings(file) }))
    }

    /// The settings of the network for a task.
    pub(super) fn config(&self, task: &Task) -> Result<Config, UntrainedError> {
        let mut config = match &self.form {
            Form::Sizes { family, sizes } => sizes.config(family),
            Form::Settings(file) => {
                let bytes = open_mapped(file).map_err(|error| self.settings_error(error.into()))?;
                Config::parse(&bytes).map_err(|error| self.settings_error(error))?
            }
        };
        let name = config.text("model_type").map_err(|error| self.settings_error(error))?.unwrap_or_default();
        let family = FAMILIES.iter().find(|family| family.name == name);
        let family = family.ok_or_else(|| SpecError::Text {
            found: format!("{}: model_type '{name}'", self.text),
            expected: Self::families().collect::<Vec<_>>().join(", "),
        })?;
        self.fit(&mut config, family, task)?;
        Ok(config)
    }

    pub(super) fn settings_error(&self, source: HfError) -> UntrainedError {
        UntrainedError::Settings { spec: self.text.clone(), source: Box::new(source) }
    }

    /// Settles what follows from the task: vocabulary, positions, classes.
    fn fit(&self, config: &mut Config, family: &Family, task: &Task) -> Result<(), UntrainedError> {
        let wrong = |expected: &str, found: String| SpecError::Input {
            spec: self.text.clone(),
            expected: expected.into(),
            found,
        };
        let (head, classes) = match task {
            Task::Text { .. } if family.name == "vit" => return Err(wrong("images", "text".into()).into()),
            Task::Images { shape, .. } if family.name != "vit" => {
                return Err(
                    wrong("text (data of the kinds text and sst2)", format!("samples of shape {shape:?}")).into()
                );
            }
            Task::Text { classes: None, .. } => {
                let found = "text to be continued".to_owned();
                (family.language.ok_or_else(|| wrong("sentences with labels, which it judges", found))?, None)
            }
            Task::Text { classes, .. } => (family.classification, *classes),
            Task::Images { classes, .. } => (family.classification, Some(*classes)),
        };
        let known = config.optional_size(family.fields[4]).map_err(|error| self.settings_error(error))?;
        let config = &mut config.0;
        let mut set = |field: &str, value: Value| config.insert(field.into(), value);
        set("architectures", json!([format!("{}{head}", family.class)]));
        if let Some(classes) = classes {
            let names = |at: usize| format!("LABEL_{at}");
            let of_id: Map<String, Value> = (0..classes).map(|at| (at.to_string(), names(at).into())).collect();
            let of_label: Map<String, Value> = (0..classes).map(|at| (names(at), at.into())).collect();
            set("id2label", of_id.into());
            set("label2id", of_label.into());
        }
        match task {
            Task::Text { tokens, length, padding, .. } => {
                set("vocab_size", tokens.len().into());
                set("pad_token_id", json!(padding));
                // Ids of other vocabularies would lie beyond this one.
                set("bos_token_id", Value::Null);
                set("eos_token_id", Value::Null);
                let needed = length + family.reserved;
                set(family.fields[4], known.map_or(needed, |known| needed.max(known)).into());
            }
            Task::Images { shape: [channels, height, width], .. } => {
                let patch = PATCH[usize::from((*height).min(*width) >= LARGE)];
                set("num_channels", (*channels).into());
                set("image_size", if height == width { json!(height) } else { json!([height, width]) });
                config.entry("patch_size").or_insert_with(|| patch.into());
            }
        }
        // What the classes take for granted where the settings are silent.
        config.entry("tie_word_embeddings").or_insert_with(|| (!family.gated).into());
        config.entry("initializer_range").or_insert_with(|| json!(DEVIATION));
        Ok(())
    }
}

/// The standard deviation of new weights.
pub(super) const DEVIATION: f64 = 0.02;

impl Sizes {
    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| text.trim().parse().ok().filter(|&number: &usize| (1..=MOST).contains(&number));
        let fields: Vec<&str> = text.split(',').collect();
        let (&[layers, width, heads] | &[layers, width, heads, _]) = fields.as_slice() else { return None };
        let (heads, key_heads) = heads.split_once('/').map_or((heads, None), |(heads, keys)| (heads, Some(keys)));
        let key_heads = match key_heads {
            Some(keys) => Some(number(keys)?),
            None => None,
        };
        let inner = match fields.get(3) {
            Some(inner) => Some(number(inner)?),
            None => None,
        };
        Some(Self { layers: number(layers)?, width: number(width)?, heads: number(heads)?, key_heads, inner })
    }

    fn config(&self, family: &Family) -> Config {
        let inner = self.inner.unwrap_or(match family.gated {
            true => (8 * self.width).div_ceil(3).next_multiple_of(8),
            false => 4 * self.width,
        });
        let mut map = Map::new();
        map.insert("model_type".into(), family.name.into());
        for (field, value) in family.fields.into_iter().zip([self.layers, self.width, self.heads, inner]) {
            map.insert(field.into(), value.into());
        }
        if family.gated {
            map.insert("num_key_value_heads".into(), self.key_heads.unwrap_or(self.heads).into());
            map.insert("head_dim".into(), (self.width / self.heads).max(1).into());
        }
        // Training here leaves nothing out at random.
        let dropouts: &[&str] = match family.name {
            "gpt2" => &["attn_pdrop", "embd_pdrop", "resid_pdrop"],
            "distilbert" => &["attention_dropout", "dropout", "seq_classif_dropout"],
            _ if family.gated => &["attention_dropout"],
            _ => &["attention_probs_dropout_prob", "hidden_dropout_prob"],
        };
        for dropout in dropouts {
            map.insert((*dropout).into(), json!(0.0));
        }
        Config(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_understood() {
        let sizes = |text| Sizes::parse(text).map(|it| (it.layers, it.width, it.heads, it.key_heads, it.inner));
        assert_eq!(sizes("2,64,4"), Some((2, 64, 4, None, None)));
        assert_eq!(sizes("2, 64, 4/2, 172"), Some((2, 64, 4, Some(2), Some(172))));
        for text in ["", "2,64", "2,64,0", "2,64,4,5,6", "2,64,4/", "2,64,x", "99999999,64,4"] {
            assert_eq!(sizes(text), None, "{text}");
        }
        assert!(TransformerSpec::parse("vgg11").is_none());
        assert!(TransformerSpec::parse("bert:2,64,4/2").unwrap().is_err());
        assert!(TransformerSpec::parse("llama:2,64,4/2").unwrap().is_ok());
    }
}
