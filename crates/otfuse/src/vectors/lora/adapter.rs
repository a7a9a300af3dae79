//! Adapters in folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use otfuse_formats::{StateDict, read_state_dict};
use otfuse_graph::Tensor;

use super::settings::{SETTINGS, Settings};
use crate::{Error, Result};

/// The files that an adapter's tensors may be in.
const TENSORS: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// What PEFT puts before the names of a network's tensors.
pub(super) const PREFIX: &str = "base_model.model.";

/// An adapter of low rank, as PEFT saves it: a folder with `adapter_config.json` and `adapter_model.safetensors` (or `.bin`).
#[derive(Debug)]
pub struct LoraAdapter {
    pub(super) path: PathBuf,
    /// The layers that it changes, by the names of their modules.
    pub(super) layers: BTreeMap<String, Layer>,
    /// Tensors that it has in place of those of the base.
    pub(super) saved: Vec<(String, Tensor)>,
    pub(super) is_transposed: bool,
}

/// The change of a layer: `scale * b a`.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub a: Option<Tensor>,
    pub b: Option<Tensor>,
    /// The change of the layer's bias, without the scale.
    pub bias: Option<Tensor>,
    pub is_embedding: bool,
    pub scale: f64,
}

impl Layer {
    /// Both factors, whose forms have been looked at.
    pub fn factors(&self) -> Option<(&Tensor, &Tensor)> {
        self.a.as_ref().zip(self.b.as_ref())
    }

    /// Elements of `b` beyond its columns, outputs of `b a` and its inputs.
    pub fn shape(&self) -> Option<[usize; 3]> {
        let (a, b) = self.factors()?;
        let rank = *a.shape().first()?;
        let outputs = *b.shape().first()?;
        (b.len() == outputs * rank && rank > 0).then(|| [rank, outputs, a.len() / rank])
    }
}

/// What the name of an adapter's tensor says.
enum Part {
    A,
    B,
    Bias,
    EmbeddingA,
    EmbeddingB,
}

impl LoraAdapter {
    /// Whether a folder is an adapter.
    pub fn is_at(path: &Path) -> bool {
        path.join(SETTINGS).is_file()
    }

    /// Reads an adapter.
    ///
    /// # Errors
    /// A folder without adapter; an adapter that is no LoRA or does more than adding products to weights (DoRA and others), by
    /// the name of the setting; tensors that are no factors of a product, by name.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let settings = Settings::read(folder)?;
        let path =
            TENSORS.iter().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
                Error::input(format!("expected {}, found none of them", TENSORS.join(" or "))).of(folder)
            })?;
        let mut adapter = Self {
            path: folder.into(),
            layers: BTreeMap::new(),
            saved: Vec::new(),
            is_transposed: settings.is_transposed,
        };
        adapter.sort(&read_state_dict(&path, None)?).map_err(|error| of_tensor(error, &path))?;
        for (name, layer) in &mut adapter.layers {
            let Some([rank, ..]) = layer.shape() else {
                let shapes = [&layer.a, &layer.b].map(|part| part.as_ref().map(|tensor| tensor.shape().to_vec()));
                let message = format!("'{name}': expected two factors of one rank, found {shapes:?}");
                return Err(of_tensor(Error { tensor: Some(name.clone()), ..Error::input(message) }, &path));
            };
            layer.scale = settings.scale(name, rank);
            if layer.scale == 0.0 && settings.rank() == 0 {
                return Err(of_tensor(Error::input(format!("'{name}': expected a rank from 1 on")), &path));
            }
        }
        if adapter.layers.is_empty() && adapter.saved.is_empty() {
            return Err(Error::input("expected tensors of an adapter, found none").of(&path));
        }
        Ok(adapter)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of layers that it changes by a product.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    fn sort(&mut self, dict: &StateDict) -> Result<()> {
        for (name, tensor) in dict.iter() {
            let own = name.strip_prefix(PREFIX).unwrap_or(name);
            if !tensor.data_type().is_float() {
                let message = format!("'{name}': expected floating-point numbers, found {}", tensor.data_type());
                return Err(Error { tensor: Some(name.into()), ..Error::input(message) });
            }
            let Some((module, part)) = part_of(own) else {
                if own.contains("lora_") {
                    let message =
                        format!("'{name}': expected a factor of a product (lora_A, lora_B), found something else");
                    return Err(Error { tensor: Some(name.into()), ..Error::input(message) }
                        .hint("PEFT merges it: PeftModel.from_pretrained(base, folder).merge_and_unload()"));
                }
                let plain = own.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".");
                self.saved.push((plain, tensor.clone()));
                continue;
            };
            let layer = self.layers.entry(module.to_owned()).or_default();
            layer.is_embedding |= matches!(part, Part::EmbeddingA | Part::EmbeddingB);
            let place = match part {
                Part::A | Part::EmbeddingA => &mut layer.a,
                Part::B | Part::EmbeddingB => &mut layer.b,
                Part::Bias => &mut layer.bias,
            };
            if place.replace(tensor.clone()).is_some() {
                let message = format!("'{name}': expected one adapter, found factors of several");
                return Err(Error { tensor: Some(name.into()), ..Error::input(message) });
            }
        }
        Ok(())
    }
}

/// The module that a factor belongs to, and which it is. Names may have the adapter's own behind the factor's.
fn part_of(name: &str) -> Option<(&str, Part)> {
    ["lora_embedding_A", "lora_embedding_B", "lora_A", "lora_B"].iter().find_map(|kind| {
        let (module, rest) = name.rsplit_once(&format!(".{kind}"))?;
        if !(rest.is_empty() || rest.starts_with('.')) {
            return None;
        }
        let part = match (*kind, rest.ends_with(".bias")) {
            ("lora_B", true) => Part::Bias,
            (_, true) => return None,
            ("lora_embedding_A", _) => Part::EmbeddingA,
            ("lora_embedding_B", _) => Part::EmbeddingB,
            ("lora_A", _) => Part::A,
            _ => Part::B,
        };
        Some((module, part))
    })
}

fn of_tensor(error: Error, path: &Path) -> Error {
    let tensor = error.tensor.clone();
    Error { tensor, ..error.of(path) }
}
