//! The difference between two networks as an adapter.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use otfuse_formats::safetensors::write_safetensors_to;
use otfuse_formats::{Source, StateDict};
use otfuse_fusion::{LowRank, Truncation, low_rank};
use otfuse_graph::{DataType, Tensor};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use super::adapter::PREFIX;
use super::layers::{Form, Layers};
use super::settings::SETTINGS;
use crate::files::shown;
use crate::options::options;
use crate::{Context, Error, Model, Registry, Result, TypeName};

/// The module that scores tokens in the language models of transformers.
const HEAD: &str = "lm_head";
const HEAD_WEIGHT: &str = "lm_head.weight";

/// The file with the tensors.
const TENSORS: &str = "adapter_model.safetensors";

options!(
    /// How much of a difference an adapter keeps: a rank or a share, one of the two.
    ExtractOptions {
        /// The rank of each layer's product; a layer whose weight is smaller has its own size.
        rank ("rank"): usize,
        /// The share of the sum of squares of each layer's difference that is kept, from above 0 to 1.
        energy ("energy"): f64,
        /// The element type of the adapter's tensors; float32.
        dtype ("dtype"): TypeName,
        /// Leave out what is not the weight of a linear layer, which else is kept whole.
        linear_only ("linear-only"): bool,
    }
);

/// An adapter that was taken out of a network.
pub struct ExtractedLora {
    inputs: [Model; 2],
    /// Its tensors, by the names that PEFT gives them.
    pub tensors: StateDict,
    /// Its settings.
    pub settings: Value,
    /// What was done.
    pub report: ExtractReport,
}

/// What an adapter keeps of a difference.
#[derive(Clone, Debug, Serialize)]
pub struct ExtractReport {
    /// The folder that it was written to.
    pub output: String,
    /// The network that was tuned.
    pub tuned: String,
    /// The base.
    pub base: String,
    /// The layers whose difference is a product.
    pub layers: Vec<ExtractedLayer>,
    /// The share of the sum of squares of all these differences that is kept.
    pub energy: f64,
    /// Modules that are kept whole, since they are no linear layers and differ.
    pub saved: Vec<String>,
    /// Biases that are kept.
    pub biases: usize,
    /// Tensors that differ and are left out.
    pub left_out: Vec<String>,
    /// Numbers in the adapter.
    pub parameters: usize,
}

/// A layer whose difference is a product.
#[derive(Clone, Debug, Serialize)]
pub struct ExtractedLayer {
    /// The weight.
    pub name: String,
    /// Outputs and inputs.
    pub shape: [usize; 2],
    /// The rank of the product.
    pub rank: usize,
    /// The share of the difference's sum of squares that it keeps.
    pub energy: f64,
    /// The norm of the difference, relative to that of the base's weight.
    pub difference: f64,
}

/// Takes the difference between a network and its base as an adapter of low rank, in the form of PEFT: of each linear layer (and
/// convolution of one group) that differs the truncated singular value decomposition; biases, and modules that are no linear
/// layers (normalisations, embeddings), whole. `otfuse merge-lora BASE FOLDER` and PEFT give the tuned network back, up to the
/// energy that is not kept. `O(inputs outputs min(inputs, outputs))` for a layer.
///
/// # Errors
/// Networks in ONNX files, which have no modules; tensors that only one of the networks has, or in other shapes, by name;
/// networks that do not differ in any linear layer; a rank of 0, or larger than all layers; an energy out of range.
pub fn extract_lora(tuned: &Model, base: &Model, options: &ExtractOptions, context: &Context) -> Result<ExtractedLora> {
    context.install(|| extracted(tuned, base, options, context))
}

fn extracted(tuned: &Model, base: &Model, options: &ExtractOptions, context: &Context) -> Result<ExtractedLora> {
    let truncation = truncation(options)?;
    tuned.told(context)?;
    let layers = Layers::of(base.told(context)?);
    let differing = differing(tuned, base)?;
    let parted = Parted::of(&differing, dict_of(base)?, &layers, options.linear_only.unwrap_or(false));
    if parted.linear.is_empty() {
        let message = format!("no linear layer differs from that of {}, so that there is no adapter", base.shown());
        return Err(Error::input(message).of(tuned.path()).hint("name the tuned network first, then its base"));
    }
    check_rank(truncation, &parted.linear, tuned)?;
    let stage = context.stage("decomposing differences", parted.linear.len());
    let data_type = options.dtype.map_or(DataType::F32, TypeName::data_type);
    let found: Vec<(Product, ExtractedLayer)> = parted
        .linear
        .par_iter()
        .map(|layer| {
            context.check()?;
            let found = layer.product(truncation).ok_or_else(|| {
                let message = format!("'{}': the difference is not finite", layer.name);
                Error { tensor: Some(layer.name.into()), ..Error::input(message).of(tuned.path()) }
            });
            stage.step();
            found
        })
        .collect::<Result<_>>()?;
    drop(stage);
    let (tensors, saved) = adapter_tensors([tuned, base], &parted, (&found, data_type), &layers, context)?;
    let settings = settings(base, &parted, &found, &saved);
    let energies = found.iter().map(|(product, _)| (product.square * product.factors.energy, product.square));
    let (kept, total) = energies.fold((0.0, 0.0), |(kept, total), (own, all)| (kept + own, total + all));
    let parameters = tensors.iter().map(|(_, tensor)| tensor.len()).sum();
    for name in &parted.left_out {
        context.warn(&format!("'{name}' differs and is left out of the adapter"));
    }
    let report = ExtractReport {
        output: String::new(),
        tuned: tuned.shown(),
        base: base.shown(),
        layers: found.into_iter().map(|(_, layer)| layer).collect(),
        energy: if total > 0.0 { kept / total } else { 1.0 },
        saved: saved.iter().map(|name| (*name).to_owned()).collect(),
        biases: parted.biases.len(),
        left_out: parted.left_out.iter().map(|name| (*name).to_owned()).collect(),
        parameters,
    };
    Ok(ExtractedLora { inputs: [tuned.clone(), base.clone()], tensors, settings, report })
}

/// The tensors of an adapter by the names that PEFT gives them, and the modules that are kept whole.
fn adapter_tensors<'a>(
    [tuned, base]: [&Model; 2],
    parted: &Parted<'a>,
    (found, data_type): (&[(Product, ExtractedLayer)], DataType),
    layers: &Layers,
    context: &Context,
) -> Result<(StateDict, Vec<&'a str>)> {
    let mut tensors = StateDict::new();
    let mut add = |name: String, tensor: Tensor| {
        tensors.insert(name, tensor).map_err(|error| Error::input(error).of(tuned.path()))
    };
    for (layer, (product, _)) in parted.linear.iter().zip(found) {
        let [a, b] = product.tensors(layer, data_type);
        add(format!("{PREFIX}{}.lora_A.weight", layer.module()), a)?;
        add(format!("{PREFIX}{}.lora_B.weight", layer.module()), b)?;
    }
    let retyped = |tensor: &Tensor| match tensor.to_f32() {
        Some(values) => Tensor::from_f32_as(data_type, tensor.shape(), values),
        None => tensor.clone(),
    };
    let adapted: BTreeSet<&str> = parted.linear.iter().map(LinearLayer::module).collect();
    for (name, tensor) in &parted.biases {
        // PEFT's layer around a layer keeps it under a name of its own.
        let name = match name.strip_suffix(".bias").filter(|module| adapted.contains(module)) {
            Some(module) => format!("{module}.base_layer.bias"),
            None => (*name).to_owned(),
        };
        add(format!("{PREFIX}{name}"), retyped(tensor))?;
    }
    let mut saved: Vec<&'a str> = parted.modules.clone();
    for (name, tensor) in &parted.whole {
        add(format!("{PREFIX}{name}"), retyped(tensor))?;
        if !layers.is_shared(name) || tensor.shape().len() != 2 {
            continue;
        }
        // A table that embeds and scores is two modules, each of which PEFT replaces on its own.
        if task(base) == Some("CAUSAL_LM") && !dict_of(base)?.contains(HEAD_WEIGHT) && !saved.contains(&HEAD) {
            add(format!("{PREFIX}{HEAD_WEIGHT}"), retyped(tensor))?;
            saved.push(HEAD);
        } else {
            context.warn(&format!(
                "'{name}' is read in more than one place: PEFT changes the module of this name alone, `otfuse merge-lora` all \
                 that share it"
            ));
        }
    }
    Ok((tensors, saved))
}

impl ExtractedLora {
    /// Stages the folder.
    ///
    /// # Errors
    /// A folder that is there and not empty, or cannot be written.
    pub fn write(&mut self, registry: &Registry, folder: &Path) -> Result<()> {
        let outputs = registry.outputs();
        outputs.new_folder(folder)?;
        write_safetensors_to(outputs, &folder.join(TENSORS), &self.tensors)?;
        let json = serde_json::to_vec_pretty(&self.settings);
        let json = json.map_err(|error| Error::run(format!("cannot write JSON: {error}")))?;
        outputs.write(&folder.join(SETTINGS), |file| std::io::Write::write_all(file, &json))?;
        self.report.output = shown(folder);
        Ok(())
    }

    /// Writes the folder, whole or not at all.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn save(&mut self, folder: impl AsRef<Path>) -> Result<()> {
        let (folder, mut registry) = (folder.as_ref(), Registry::new());
        self.inputs.iter().try_for_each(|model| registry.model(model))?;
        registry.folder("output", folder)?;
        self.write(&registry, folder)?;
        registry.commit()
    }
}

fn truncation(options: &ExtractOptions) -> Result<Truncation> {
    let hint = "for example `rank` 16, or `energy` 0.9";
    match (options.rank, options.energy) {
        (Some(0), None) => Err(Error::input("`rank` 0: expected a rank from 1 on").hint(hint)),
        (Some(rank), None) => Ok(Truncation::Rank(rank)),
        (None, Some(energy)) if energy > 0.0 && energy <= 1.0 => Ok(Truncation::Energy(energy)),
        (None, Some(energy)) => {
            Err(Error::input(format!("`energy` {energy}: expected a number above 0 and up to 1")).hint(hint))
        }
        (Some(_), Some(_)) => Err(Error::input("`rank` and `energy` exclude each other").hint("leave one of them out")),
        (None, None) => Err(Error::input("expected `rank` or `energy`, found neither").hint(hint)),
    }
}

/// Refuses a rank that no layer has.
fn check_rank(truncation: Truncation, layers: &[LinearLayer<'_>], tuned: &Model) -> Result<()> {
    let Truncation::Rank(rank) = truncation else { return Ok(()) };
    let least = |layer: &&LinearLayer<'_>| layer.shape()[0].min(layer.shape()[1]);
    let Some(widest) = layers.iter().max_by_key(least) else { return Ok(()) };
    let most = least(&widest);
    if rank <= most {
        return Ok(());
    }
    let [outputs, inputs] = widest.shape();
    let message = format!("`rank` {rank}: the largest layer, '{}', is {outputs} x {inputs}", widest.name);
    let error = Error::input(message).of(tuned.path());
    Err(Error { tensor: Some(widest.name.into()), ..error.hint(format!("`rank` {most} keeps everything")) })
}

/// The named tensors of a network.
fn dict_of(model: &Model) -> Result<&StateDict> {
    match &model.file()?.source {
        Source::HuggingFace(source) => Ok(&source.dict),
        Source::StateDict(source) => Ok(&source.dict),
        Source::Onnx(_) => Err(Error::input(
            "expected a checkpoint or a Hugging Face folder, found an ONNX file, which has no modules",
        )
        .of(model.path())
        .hint("give the checkpoint that it was exported from, with `arch`")),
    }
}

/// Whether a tensor is that of several experts, which files keep apart.
fn is_stacked(model: &Model, name: &str) -> bool {
    matches!(model.file().map(|file| &file.source), Ok(Source::HuggingFace(source)) if source.is_stacked(name))
}

/// A tensor of the base and of the tuned network, which differ.
struct Differing<'a> {
    name: &'a str,
    before: &'a Tensor,
    after: &'a Tensor,
}

/// What differs, in the order of the base.
fn differing<'a>(tuned: &'a Model, base: &'a Model) -> Result<Vec<Differing<'a>>> {
    let (before, after) = (dict_of(base)?, dict_of(tuned)?);
    let wrong = |model: &Model, name: &str, message: String| {
        let error = Error::input(message).of(model.path()).hint("the base has to be the network that was tuned");
        Error { tensor: Some(name.to_owned()), ..error }
    };
    if let Some(name) = after.names().find(|name| !before.contains(name)) {
        return Err(wrong(tuned, name, format!("'{name}': expected the tensors of {}, found one more", base.shown())));
    }
    let mut found = Vec::new();
    for (name, own) in before.iter() {
        let Some(other) = after.get(name) else {
            return Err(wrong(tuned, name, format!("'{name}': {} has it, found no such tensor", base.shown())));
        };
        if own.shape() != other.shape() || own.data_type().is_float() != other.data_type().is_float() {
            let described = |tensor: &Tensor| format!("{} of shape {:?}", tensor.data_type(), tensor.shape());
            let message = format!("'{name}': expected {}, found {}", described(own), described(other));
            return Err(wrong(tuned, name, message));
        }
        if own.bytes() != other.bytes() || own.data_type() != other.data_type() {
            if is_stacked(base, name) {
                let message = format!("'{name}': the experts of a layer differ, of which no adapter can be made");
                return Err(wrong(tuned, name, message).hint("networks whose experts were not tuned have one"));
            }
            found.push(Differing { name, before: own, after: other });
        }
    }
    Ok(found)
}

/// A linear layer that differs.
struct LinearLayer<'a> {
    name: &'a str,
    before: &'a Tensor,
    after: &'a Tensor,
    form: Form,
}

/// The product that stands for a difference.
struct Product {
    factors: LowRank,
    /// The sum of squares of the difference.
    square: f64,
}

impl LinearLayer<'_> {
    fn module(&self) -> &str {
        self.name.strip_suffix(".weight").unwrap_or(self.name)
    }

    /// Outputs and inputs.
    fn shape(&self) -> [usize; 2] {
        let shape = self.before.shape();
        match self.form {
            Form::Turned => [shape[1], shape[0]],
            Form::Linear | Form::Convolution => [shape[0], self.before.len() / shape[0].max(1)],
        }
    }

    fn product(&self, truncation: Truncation) -> Option<(Product, ExtractedLayer)> {
        let (before, after) = (self.before.to_f32()?, self.after.to_f32()?);
        let [outputs, inputs] = self.shape();
        let at = |index: usize| match self.form {
            Form::Turned => index % inputs * outputs + index / inputs,
            Form::Linear | Form::Convolution => index,
        };
        let difference = (0..before.len()).map(|index| f64::from(after[at(index)]) - f64::from(before[at(index)]));
        let difference: Vec<f64> = difference.collect();
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
        let norm = square(&mut before.iter().map(|&value| f64::from(value)));
        let own = square(&mut difference.iter().copied());
        let factors = low_rank(difference, outputs, inputs, truncation)?;
        let layer = ExtractedLayer {
            name: self.name.to_owned(),
            shape: [outputs, inputs],
            rank: factors.rank,
            energy: factors.energy,
            difference: if norm > 0.0 { (own / norm).sqrt() } else { f64::from(u8::from(own > 0.0)) },
        };
        Some((Product { factors, square: own }, layer))
    }
}

impl Product {
    /// The factors `A` and `B` as PEFT keeps them.
    fn tensors(&self, layer: &LinearLayer<'_>, data_type: DataType) -> [Tensor; 2] {
        let ([outputs, inputs], rank) = (layer.shape(), self.factors.rank);
        let (a, b) = match layer.form {
            Form::Convolution => {
                let kernel = &layer.before.shape()[1..];
                ([&[rank], kernel].concat(), vec![outputs, rank, 1, 1])
            }
            Form::Linear | Form::Turned => (vec![rank, inputs], vec![outputs, rank]),
        };
        let values = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
        [
            Tensor::from_f32_as(data_type, &a, values(&self.factors.right)),
            Tensor::from_f32_as(data_type, &b, values(&self.factors.left)),
        ]
    }
}

/// What becomes of the tensors that differ.
struct Parted<'a> {
    linear: Vec<LinearLayer<'a>>,
    biases: Vec<(&'a str, &'a Tensor)>,
    /// Modules that are kept whole, and all their tensors.
    modules: Vec<&'a str>,
    whole: Vec<(&'a str, &'a Tensor)>,
    left_out: Vec<&'a str>,
}

impl<'a> Parted<'a> {
    fn of(differing: &[Differing<'a>], base: &'a StateDict, layers: &Layers, linear_only: bool) -> Self {
        let mut found = Self {
            linear: Vec::new(),
            biases: Vec::new(),
            modules: Vec::new(),
            whole: Vec::new(),
            left_out: Vec::new(),
        };
        let is_linear_bias = |name: &str| {
            let weight = name.strip_suffix(".bias").map(|module| format!("{module}.weight"));
            weight.is_some_and(|weight| layers.form(&weight).is_some())
        };
        let is_inside = |name: &str, module: &str| name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'));
        let mut modules: BTreeSet<&'a str> = BTreeSet::new();
        for &Differing { name, before, after } in differing {
            let form = layers.form(name).filter(|_| name.ends_with(".weight"));
            match (form, name.rsplit_once('.')) {
                (Some(form), _) => found.linear.push(LinearLayer { name, before, after, form }),
                _ if linear_only || !before.data_type().is_float() => found.left_out.push(name),
                _ if is_linear_bias(name) => found.biases.push((name, after)),
                (None, Some((module, _))) => {
                    modules.insert(module);
                }
                (None, None) => found.left_out.push(name),
            }
        }
        // The outermost alone.
        let outer = |module: &&'a str| !modules.iter().any(|other| is_inside(module, other));
        found.modules = modules.iter().copied().filter(outer).collect();
        let is_whole = |name: &str| found.modules.iter().any(|module| is_inside(name, module));
        found.linear.retain(|layer| !is_whole(layer.name));
        found.biases.retain(|(name, _)| !is_whole(name));
        let after: BTreeMap<&str, &'a Tensor> = differing.iter().map(|it| (it.name, it.after)).collect();
        let whole = base.iter().filter(|(name, tensor)| is_whole(name) && tensor.data_type().is_float());
        found.whole = whole.map(|(name, own)| (name, after.get(name).copied().unwrap_or(own))).collect();
        found
    }
}

/// The settings as PEFT reads them: with `alpha` as large as the rank, so that products count as they are.
fn settings(base: &Model, parted: &Parted<'_>, found: &[(Product, ExtractedLayer)], saved: &[&str]) -> Value {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    found.iter().for_each(|(_, layer)| *counts.entry(layer.rank).or_default() += 1);
    let usual = counts.iter().max_by_key(|(_, count)| **count).map_or(1, |(rank, _)| *rank);
    let modules = || parted.linear.iter().map(LinearLayer::module);
    let others: BTreeMap<&str, usize> = modules()
        .zip(found)
        .filter(|(_, (_, layer))| layer.rank != usual)
        .map(|(name, (_, layer))| (name, layer.rank))
        .collect();
    let is_turned = parted.linear.iter().any(|layer| layer.form == Form::Turned);
    json!({
        "peft_type": "LORA",
        "task_type": task(base),
        "base_model_name_or_path": base.shown(),
        "inference_mode": true,
        "r": usual,
        "lora_alpha": usual,
        "lora_dropout": 0.0,
        "bias": if parted.biases.is_empty() { "none" } else { "all" },
        "fan_in_fan_out": is_turned,
        "target_modules": modules().collect::<Vec<_>>(),
        "modules_to_save": (!saved.is_empty()).then_some(saved),
        "rank_pattern": others,
        "alpha_pattern": others,
        "use_rslora": false,
        "use_dora": false,
        "init_lora_weights": true,
    })
}

/// The task of a folder's class, where PEFT has a model of its own for it that changes nothing.
fn task(base: &Model) -> Option<&'static str> {
    let text = otfuse_formats::read_regular_text(&base.path().join(otfuse_formats::hf::CONFIG_FILE)).ok()?;
    let settings: Value = serde_json::from_str(&text).ok()?;
    let class = settings.get("architectures")?.get(0)?.as_str()?;
    match class {
        class if class.ends_with("ForCausalLM") || class.ends_with("LMHeadModel") => Some("CAUSAL_LM"),
        class if class.ends_with("ForConditionalGeneration") => Some("SEQ_2_SEQ_LM"),
        _ => None,
    }
}
