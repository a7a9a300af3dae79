//! Adapters merged into their base.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use otfuse_formats::checkpoint::Files;
use otfuse_formats::model::Architecture;
use otfuse_formats::{Checkpoint, Source, StateDict};
use otfuse_graph::Tensor;
use otfuse_transport::matrix::{Matrix, Update, product};
use serde::Serialize;

use super::adapter::{Layer, LoraAdapter};
use crate::files::shown;
use crate::{Context, Error, Model, Registry, Result};

/// A base with adapters merged into it. Its tensors are made when they are written, one after the other.
pub struct MergedLora<'a> {
    base: Checkpoint,
    changes: Changes<'a>,
    /// What was done.
    pub report: MergeLoraReport,
}

/// What was merged.
#[derive(Clone, Debug, Serialize)]
pub struct MergeLoraReport {
    /// Where the network was written.
    pub output: String,
    /// The base.
    pub base: String,
    /// The adapters.
    pub adapters: Vec<MergedAdapter>,
    /// Tensors of the base.
    pub tensors: usize,
    /// Those that were changed.
    pub changed: usize,
}

/// An adapter that was merged.
#[derive(Clone, Debug, Serialize)]
pub struct MergedAdapter {
    /// The folder.
    pub path: String,
    /// How much it counts.
    pub weight: f64,
    /// Layers to which a product was added.
    pub layers: usize,
    /// Tensors that it has whole.
    pub saved: usize,
}

/// Merges adapters into a base, a Hugging Face folder of any family or a file of tensors: to each weight that an adapter changes
/// its `weight` times `scale B A` is added, in single precision, and rounded to the base's type; of tensors that an adapter has
/// whole (`modules_to_save`, biases) its weight times the difference to the base's. `weights` has one number for each adapter,
/// or none: 1. Linear in the number of weights that change, times the rank.
///
/// # Errors
/// A base that cannot be read; an adapter for another base: tensors that the base lacks or has in another shape, by name; not
/// one weight for each adapter.
pub fn merge_lora<'a>(
    base: &Path,
    key: Option<&str>,
    adapters: &'a [LoraAdapter],
    weights: &[f64],
    context: &Context,
) -> Result<MergedLora<'a>> {
    context.check()?;
    let weights = match weights {
        [] => vec![1.0; adapters.len()],
        weights => weights.to_vec(),
    };
    if adapters.is_empty() {
        return Err(Error::input("expected an adapter, found none").hint("name its folder behind the base"));
    }
    if weights.len() != adapters.len() || !weights.iter().all(|weight| weight.is_finite()) {
        return Err(Error::input(format!("`weights` {weights:?}: expected {} finite numbers", adapters.len()))
            .hint("give one number for each adapter, separated by commas; without, each counts once"));
    }
    let base = Checkpoint::open_tensors(base, key)?;
    let changes = Changes::of(base.dict(), base.path(), adapters, &weights)?;
    let adapters = adapters.iter().zip(weights).map(|(adapter, weight)| MergedAdapter {
        path: shown(&adapter.path),
        weight,
        layers: adapter.layers.len(),
        saved: adapter.saved.len(),
    });
    let report = MergeLoraReport {
        output: String::new(),
        base: shown(base.path()),
        adapters: adapters.collect(),
        tensors: base.dict().len(),
        changed: changes.0.len(),
    };
    Ok(MergedLora { base, changes, report })
}

/// A network with an adapter merged into it, in memory.
///
/// # Errors
/// As [`merge_lora`]; a network in an ONNX file, which has no modules that an adapter could be for.
pub fn adapted(base: &Model, adapter: &LoraAdapter) -> Result<Model> {
    let file = base.file()?;
    let (architecture, given) = match &file.source {
        Source::HuggingFace(source) => {
            (Architecture::Settings(base.path().join(otfuse_formats::hf::CONFIG_FILE)), &source.dict)
        }
        Source::StateDict(source) => (source.architecture.clone(), &source.dict),
        Source::Onnx(_) => {
            return Err(Error::input("expected named tensors, found an ONNX file, to which no adapter fits")
                .of(base.path())
                .hint("give the checkpoint or the Hugging Face folder that the adapter was trained for"));
        }
    };
    let adapters = std::slice::from_ref(adapter);
    let changes = Changes::of(given, base.path(), adapters, &[1.0])?;
    let mut dict = given.clone();
    for name in changes.0.keys() {
        let tensor = given.get(name).map(|own| changes.applied(name, own));
        if let Some(tensor) = tensor {
            dict.replace(name, tensor);
        }
    }
    Model::filled(&adapter.path, dict, file.format(), &architecture)
}

impl MergedLora<'_> {
    /// Makes known what will be written for `path`.
    ///
    /// # Errors
    /// As [`Registry::result`].
    pub fn register(&self, registry: &mut Registry, path: &Path) -> Result<()> {
        self.base.format_at(path)?;
        match self.base.writes_folder(path) {
            true => registry.folder("output", path),
            false => registry.output("output", path),
        }
    }

    /// Stages the network to be written, in the base's form; of a folder all but the weights is copied.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn write(&mut self, registry: &Registry, path: &Path, context: &Context) -> Result<()> {
        let written = context.install(|| {
            let (plan, dict) = (self.base.plan(), self.base.dict());
            let stage = context.stage("merging adapters", plan.len());
            let make = |places: &[usize]| {
                context.check().map_err(io::Error::other)?;
                let of = |&place: &usize| {
                    let name = plan[place].name.as_str();
                    let own = dict.get(name).ok_or_else(|| io::Error::other(format!("no tensor {name:?}")))?;
                    stage.step();
                    Ok(self.changes.applied(name, own))
                };
                places.iter().map(of).collect::<io::Result<Vec<Tensor>>>()
            };
            self.base.write(registry.outputs(), path, (&plan, &make), &[], Files::AsRead)
        });
        context.check()?;
        written?;
        self.report.output = shown(path);
        Ok(())
    }

    /// Writes the network, whole or not at all.
    ///
    /// # Errors
    /// A path that cannot be written, or is the base.
    pub fn save(&mut self, path: impl AsRef<Path>, context: &Context) -> Result<()> {
        let path = path.as_ref();
        let mut registry = Registry::new();
        registry.input("network", self.base.path())?;
        self.report.adapters.iter().try_for_each(|adapter| registry.input("adapter", Path::new(&adapter.path)))?;
        self.register(&mut registry, path)?;
        self.write(&registry, path, context)?;
        registry.commit()
    }
}

/// What becomes of the tensors of a base, by name.
struct Changes<'a>(BTreeMap<String, Vec<Change<'a>>>);

/// A change of one tensor, times a weight.
enum Change<'a> {
    /// `scale b a`, turned where the base keeps it so.
    Product { layer: &'a Layer, is_turned: bool, factor: f64 },
    /// `factor` times these numbers.
    Added { tensor: &'a Tensor, factor: f64 },
    /// The tensor in place of the base's.
    Replaced { tensor: &'a Tensor, factor: f64 },
}

impl<'a> Changes<'a> {
    fn of(dict: &StateDict, path: &Path, adapters: &'a [LoraAdapter], weights: &[f64]) -> Result<Self> {
        let mut changes: BTreeMap<String, Vec<Change<'a>>> = BTreeMap::new();
        for (adapter, &weight) in adapters.iter().zip(weights) {
            let base = Base { dict, path, adapter };
            for (module, layer) in &adapter.layers {
                let (name, own) = base.tensor(&format!("{module}.weight"))?;
                let is_turned = base.is_turned(name, own, layer)?;
                let factor = weight * layer.scale;
                changes.entry(name.to_owned()).or_default().push(Change::Product { layer, is_turned, factor });
                if let Some(tensor) = &layer.bias {
                    let (name, own) = base.tensor(&format!("{module}.bias"))?;
                    base.check(name, own, tensor)?;
                    changes.entry(name.to_owned()).or_default().push(Change::Added { tensor, factor });
                }
            }
            for (name, tensor) in &adapter.saved {
                if base.is_twin(name, tensor) {
                    continue;
                }
                let (name, own) = base.tensor(name)?;
                base.check(name, own, tensor)?;
                changes.entry(name.to_owned()).or_default().push(Change::Replaced { tensor, factor: weight });
            }
        }
        Ok(Self(changes))
    }

    /// A tensor after its changes.
    fn applied(&self, name: &str, own: &Tensor) -> Tensor {
        let Some(changes) = self.0.get(name) else { return own.clone() };
        if let [Change::Replaced { tensor, factor: 1.0 }] = changes[..] {
            let values = tensor.to_f32().unwrap_or_default();
            return Tensor::from_f32_as(own.data_type(), own.shape(), values);
        }
        let base = own.to_f32().unwrap_or_default();
        let mut values = base.clone();
        for change in changes {
            match change {
                Change::Product { layer, is_turned, factor } => {
                    add_product(&mut values, layer, *is_turned, *factor as f32)
                }
                Change::Added { tensor, factor } => {
                    let added = tensor.to_f32().unwrap_or_default();
                    values.iter_mut().zip(added).for_each(|(value, added)| *value += *factor as f32 * added);
                }
                Change::Replaced { tensor, factor } => {
                    let saved = tensor.to_f32().unwrap_or_default();
                    let of = values.iter_mut().zip(&base).zip(saved);
                    of.for_each(|((value, base), saved)| *value += *factor as f32 * (saved - base));
                }
            }
        }
        Tensor::from_f32_as(own.data_type(), own.shape(), values)
    }
}

/// Adds `factor b a` to a weight.
fn add_product(values: &mut [f32], layer: &Layer, is_turned: bool, factor: f32) {
    let (Some((a, b)), Some([rank, outputs, inputs])) = (layer.factors(), layer.shape()) else { return };
    let a = a.to_f32().unwrap_or_default();
    let b: Vec<f32> = b.to_f32().unwrap_or_default().into_iter().map(|value| factor * value).collect();
    let (a, b) = (Matrix::row_major(&a, inputs), Matrix::row_major(&b, rank));
    match is_turned {
        false => product(values, inputs, [outputs, rank, inputs], b, a, Update::Add),
        true => product(values, outputs, [inputs, rank, outputs], a.transposed(), b.transposed(), Update::Add),
    }
}

/// A base, as an adapter sees it.
struct Base<'a> {
    dict: &'a StateDict,
    path: &'a Path,
    adapter: &'a LoraAdapter,
}

impl<'a> Base<'a> {
    /// The base's tensor of this name. Files of networks without their head lack the first words of names, those with more
    /// have further words in front.
    fn tensor(&self, name: &str) -> Result<(&'a str, &'a Tensor)> {
        let exact = |name: &str| self.dict.iter().find(|(own, _)| *own == name);
        if let Some(found) = self.dict.get(name).and_then(|_| exact(name)) {
            return Ok(found);
        }
        if let Some((_, shorter)) = name.split_once('.')
            && self.dict.contains(shorter)
            && shorter.contains('.')
            && let Some(found) = exact(shorter)
        {
            return Ok(found);
        }
        let behind = format!(".{name}");
        let mut longer = self.dict.iter().filter(|(own, _)| own.ends_with(&behind));
        if let (Some(found), None) = (longer.next(), longer.next()) {
            return Ok(found);
        }
        let message = format!("'{name}': the adapter changes it, and {} has no such tensor", self.path.display());
        Err(self
            .wrong(name, message)
            .hint("an adapter fits the base that it was trained for; tied weights have one name alone"))
    }

    /// Whether the base has a saved tensor under another name alone: weights that are tied are one tensor there, and one for
    /// each module in the adapter.
    fn is_twin(&self, name: &str, tensor: &Tensor) -> bool {
        let is_same = |(other, found): &(String, Tensor)| {
            other != name
                && found.shape() == tensor.shape()
                && found.bytes() == tensor.bytes()
                && self.dict.contains(other)
        };
        self.tensor(name).is_err() && self.adapter.saved.iter().any(is_same)
    }

    /// Whether the base keeps a layer's weight as `inputs x outputs`: its shape says so; of square ones the settings.
    fn is_turned(&self, name: &str, own: &Tensor, layer: &Layer) -> Result<bool> {
        let [_, outputs, inputs] = layer.shape().unwrap_or_default();
        let shape = own.shape();
        let first = shape.first().copied().unwrap_or_default();
        let rest = own.len() / first.max(1);
        let (straight, turned) = ([first, rest] == [outputs, inputs], [first, rest] == [inputs, outputs]);
        let is_float = own.data_type().is_float();
        match (straight, turned && shape.len() == 2) {
            // The factors of embeddings are those of the turned table.
            (_, true) if layer.is_embedding && is_float => Ok(true),
            (true, true) if is_float => Ok(self.adapter.is_transposed),
            (true, false) if !layer.is_embedding && is_float => Ok(false),
            (false, true) if is_float => Ok(true),
            _ => {
                let message = format!(
                    "'{name}': the adapter's product is {outputs} x {inputs}, the tensor of {} is {} of shape {shape:?}",
                    self.path.display(),
                    own.data_type()
                );
                Err(self.wrong(name, message).hint("an adapter fits the base that it was trained for"))
            }
        }
    }

    fn check(&self, name: &str, own: &Tensor, saved: &Tensor) -> Result<()> {
        if own.shape() == saved.shape() && own.data_type().is_float() {
            return Ok(());
        }
        let message = format!(
            "'{name}': the adapter's has the shape {:?}, that of {} is {} of shape {:?}",
            saved.shape(),
            self.path.display(),
            own.data_type(),
            own.shape()
        );
        Err(self.wrong(name, message).hint("an adapter fits the base that it was trained for"))
    }

    fn wrong(&self, name: &str, message: String) -> Error {
        Error { tensor: Some(name.to_owned()), ..Error::input(message).of(&self.adapter.path) }
    }
}
