//! ViT and what follows it: encoders of patches of images that normalise before each block.

mod convnext;
mod resnet;
mod swin;

use otfuse_graph::{Conv, DataType, Dim, Operator, ReduceKind, ValueId, Window};

pub(super) use self::convnext::draw as draw_convnext;
pub(super) use self::resnet::{draw_regnet, draw_resnet};
pub(super) use self::swin::draw as draw_swin;
use super::HfError;
use super::blocks::{AttentionNames, Gate, LayerNames, MlpNames, More, Norm, Order, Positions, Stack};
use super::config::Config;
use super::encoder::head_width;
use super::head::Head;
use super::sketch::{Linear, Sketch, activation_name};

const LAYER: LayerNames = LayerNames {
    attention: AttentionNames::separate([
        "attention.attention.query",
        "attention.attention.key",
        "attention.attention.value",
        "attention.output.dense",
    ]),
    attention_norm: "layernorm_before",
    cross: None,
    mlp: MlpNames { gate: Gate::No, up: "intermediate.dense", down: "output.dense" },
    mlp_norm: "layernorm_after",
};

/// What the families of encoders of patches differ in.
pub(super) struct Family {
    classes: &'static [(&'static str, Head)],
    prefix: &'static str,
    layer: LayerNames,
    /// Vectors before those of patches, by their names; their positions are the first.
    tokens: &'static [&'static str],
    /// What is classified.
    classified: Classified,
    epsilon: f64,
    /// DINO's: registers, layer scales and the sizes of perceptrons.
    is_dino: bool,
}

/// What a classifier reads.
#[derive(Clone, Copy)]
enum Classified {
    First,
    /// The mean over all vectors.
    Mean,
    /// The first, and the mean over patches.
    FirstAndMean,
}

pub(super) const VIT: Family = Family {
    classes: &[("ViTModel", Head::Base), ("ViTForImageClassification", Head::ImageClassification)],
    prefix: "vit.",
    layer: LAYER,
    tokens: &["cls_token"],
    classified: Classified::First,
    epsilon: 1e-12,
    is_dino: false,
};

pub(super) const DEIT: Family = Family {
    classes: &[("DeiTModel", Head::Base), ("DeiTForImageClassification", Head::ImageClassification)],
    prefix: "deit.",
    tokens: &["cls_token", "distillation_token"],
    ..VIT
};

pub(super) const VIT_MSN: Family = Family {
    classes: &[("ViTMSNModel", Head::Base), ("ViTMSNForImageClassification", Head::ImageClassification)],
    epsilon: 1e-6,
    ..VIT
};

pub(super) const IJEPA: Family = Family {
    classes: &[("IJepaModel", Head::Base), ("IJepaForImageClassification", Head::ImageClassification)],
    prefix: "ijepa.",
    tokens: &[],
    classified: Classified::Mean,
    ..VIT
};

pub(super) const DINOV2: Family = Family {
    classes: &[("Dinov2Model", Head::Base), ("Dinov2ForImageClassification", Head::ImageClassification)],
    prefix: "dinov2.",
    layer: LayerNames {
        attention_norm: "norm1",
        mlp: MlpNames { gate: Gate::No, up: "mlp.fc1", down: "mlp.fc2" },
        mlp_norm: "norm2",
        ..LAYER
    },
    classified: Classified::FirstAndMean,
    epsilon: 1e-6,
    is_dino: true,
    ..VIT
};

pub(super) const DINOV2_WITH_REGISTERS: Family = Family {
    classes: &[
        ("Dinov2WithRegistersModel", Head::Base),
        ("Dinov2WithRegistersForImageClassification", Head::ImageClassification),
    ],
    prefix: "dinov2_with_registers.",
    ..DINOV2
};

/// Draws a vision transformer.
pub(super) fn draw(sketch: &mut Sketch<'_>, config: &Config, family: &Family) -> Result<(), HfError> {
    let head = Head::of(config, family.classes)?;
    let stack = stack(config, family)?;
    let Stack { width, norm, .. } = stack;
    let prefix = sketch.prefix(family.prefix, "embeddings.patch_embeddings.projection.weight");
    let [image, patch] = [config.pair("image_size")?, config.pair("patch_size")?];
    let names = PatchNames {
        projection: format!("{prefix}embeddings.patch_embeddings.projection"),
        places: Some(format!("{prefix}embeddings.position_embeddings")),
        tokens: family.tokens.iter().map(|token| format!("{prefix}embeddings.{token}")).collect(),
        is_table: false,
        is_biased: true,
        batch: "batch",
    };
    let mut x = sketch.patches(config, [image, patch], width, &names)?;
    let registers = match family.prefix == DINOV2_WITH_REGISTERS.prefix {
        true => config.optional_size("num_register_tokens")?.unwrap_or(4),
        false => 0,
    };
    if registers > 0 {
        let added = sketch.weight(&format!("{prefix}embeddings.register_tokens"), &[1, registers, width])?;
        let added = sketch.for_each_sample(added, x);
        let patches = patch_count([image, patch])?;
        let lengths = sketch.b.integers(&[1, patches as i64]);
        let split = Operator::Split { axis: 1 };
        let parts = sketch.b.node_with_options(split, vec![Some(x), Some(lengths)], 2);
        x = sketch.b.concat(&[parts[0], added, parts[1]], 1);
    }
    // Some versions of the library leave the prefix out before the layers alone.
    let of_layers = sketch.prefix(prefix, &format!("encoder.layer.0.{}.weight", family.layer.attention_norm));
    for layer in 0..config.size("num_hidden_layers")? {
        let path = format!("{of_layers}encoder.layer.{layer}.");
        x = sketch.layer(x, &path, &stack, Positions::default(), None)?;
    }
    x = sketch.norm(x, &format!("{prefix}layernorm"), width, norm)?;
    finish(sketch, config, family, (head, width, registers), prefix, x)
}

fn stack<'c>(config: &'c Config, family: &Family) -> Result<Stack<'c>, HfError> {
    let (width, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let mut names = family.layer;
    let inner = match family.is_dino {
        false => config.size("intermediate_size")?,
        true => {
            let inner = (width as f64 * config.number("mlp_ratio", 4.0)?) as usize;
            match config.flag("use_swiglu_ffn", false)? {
                true => {
                    names.mlp = MlpNames { gate: Gate::Half, up: "mlp.weights_in", down: "mlp.weights_out" };
                    ((inner as f64 * 2.0 / 3.0) as usize).next_multiple_of(8)
                }
                false => inner,
            }
        }
    };
    let layer_scales = family.is_dino.then_some(["layer_scale1.lambda1", "layer_scale2.lambda1"]);
    let activation = activation_name(config, "hidden_act", "gelu")?;
    Ok(Stack {
        names,
        norm: Norm::Layer(config.number("layer_norm_eps", family.epsilon)?),
        order: Order::Before,
        width,
        inner,
        heads,
        key_heads: heads,
        head_width: head_width(width, heads, "num_attention_heads")?,
        scale: 1.0 / ((width / heads) as f64).sqrt(),
        activation: if matches!(names.mlp.gate, Gate::Half) { "silu" } else { activation },
        activation_field: "hidden_act",
        projections: Linear::biased_if(config.flag("qkv_bias", true)?),
        output: Linear::BIASED,
        mlp: Linear::BIASED,
        more: More { layer_scales, ..More::NOTHING },
    })
}

fn finish(
    sketch: &mut Sketch<'_>,
    config: &Config,
    family: &Family,
    (head, width, registers): (Head, usize, usize),
    prefix: &str,
    x: ValueId,
) -> Result<(), HfError> {
    if head == Head::ImageClassification {
        let (read, width) = match family.classified {
            Classified::First => (sketch.take(x, 0, 1), width),
            Classified::Mean => {
                let mean = sketch.reduced(x, ReduceKind::Mean, 1);
                (sketch.take(mean, 0, 1), width)
            }
            Classified::FirstAndMean => {
                let first = sketch.take(x, 0, 1);
                let count = patch_count([config.pair("image_size")?, config.pair("patch_size")?])?;
                let lengths = sketch.b.integers(&[(1 + registers) as i64, count as i64]);
                let split = Operator::Split { axis: 1 };
                let parts = sketch.b.node_with_options(split, vec![Some(x), Some(lengths)], 2);
                let mean = sketch.reduced(parts[1], ReduceKind::Mean, 1);
                let mean = sketch.take(mean, 0, 1);
                (sketch.b.concat(&[first, mean], -1), 2 * width)
            }
        };
        let logits = if sketch.contains("classifier.weight") || sketch.draft.is_some() {
            sketch.classes(read, "classifier", width, Linear::BIASED)?
        } else {
            read
        };
        sketch.output(logits, "logits");
        return Ok(());
    }
    sketch.output(x, "last_hidden_state");
    let path = format!("{prefix}pooler.dense");
    if sketch.contains(&format!("{path}.weight")) {
        let first = sketch.take(x, 0, 1);
        let pooled = sketch.classes(first, &path, width, Linear::BIASED)?;
        let pooled = sketch.activation(pooled, activation_name(config, "pooler_act", "tanh")?, "pooler_act")?;
        sketch.output(pooled, "pooler_output");
    }
    Ok(())
}

/// Where an image's patches are mapped to vectors.
pub(super) struct PatchNames {
    pub projection: String,
    pub places: Option<String>,
    /// Vectors before those of patches.
    pub tokens: Vec<String>,
    /// Whether positions are a table of rows, and the vectors before those of patches are without axes of length 1.
    pub is_table: bool,
    pub is_biased: bool,
    /// The name of the number of images.
    pub batch: &'static str,
}

/// How many patches an image has.
pub(super) fn patch_count([[rows, columns], patch]: [[usize; 2]; 2]) -> Result<usize, HfError> {
    let patches = (rows / patch[0]) * (columns / patch[1]);
    if patches == 0 {
        let expected = "patches no larger than the image".into();
        return Err(HfError::Config { field: "patch_size".into(), expected, found: format!("{patch:?}") });
    }
    Ok(patches)
}

impl Sketch<'_> {
    /// A vector that stands before a sequence, once for each sample of `x`.
    pub fn for_each_sample(&mut self, vectors: ValueId, x: ValueId) -> ValueId {
        let samples = self.b.node(Operator::Shape { start: 0, end: Some(1) }, &[x]);
        let ones = self.b.integers(&[1, 1]);
        let shape = self.b.concat(&[samples, ones], 0);
        self.b.node(Operator::Expand, &[vectors, shape])
    }

    /// One vector per patch of an image, behind others, with their positions.
    pub fn patches(
        &mut self,
        config: &Config,
        sizes: [[usize; 2]; 2],
        width: usize,
        names: &PatchNames,
    ) -> Result<ValueId, HfError> {
        let [[rows, columns], patch] = sizes;
        let channels = config.optional_size("num_channels")?.unwrap_or(3);
        let patches = patch_count(sizes)?;
        let shape = [Dim::symbol(names.batch), channels.into(), rows.into(), columns.into()];
        let image = self.b.input_of("pixel_values", DataType::F32, shape.to_vec());
        let projection = &names.projection;
        let weight = self.weight(&format!("{projection}.weight"), &[width, channels, patch[0], patch[1]])?;
        let bias = match names.is_biased {
            true => Some(self.weight(&format!("{projection}.bias"), &[width])?),
            false => None,
        };
        let window = Window { strides: patch.to_vec(), ..Window::uniform(2, 1, 0) };
        let x = self.b.conv(image, weight, bias, Conv { groups: 1, window });
        let x = self.reshape(x, &[0, 0, patches as i64]);
        let mut x = self.transpose(x, &[0, 2, 1]);
        if !names.tokens.is_empty() {
            let mut parts = Vec::new();
            for name in &names.tokens {
                let shape = if names.is_table { vec![width] } else { vec![1, 1, width] };
                let mut token = self.weight(name, &shape)?;
                if names.is_table {
                    token = self.unsqueeze(token, &[0, 1]);
                }
                parts.push(self.for_each_sample(token, x));
            }
            parts.push(x);
            x = self.b.concat(&parts, 1);
        }
        let Some(places) = &names.places else { return Ok(x) };
        let length = patches + names.tokens.len();
        let shape = if names.is_table { vec![length, width] } else { vec![1, length, width] };
        let places = self.weight(places, &shape)?;
        Ok(self.b.add(x, places))
    }
}
