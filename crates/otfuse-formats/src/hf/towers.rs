//! CLIP and SigLIP: an encoder of texts and one of images, whose vectors are compared.

use otfuse_graph::{Binary, Operator, ReduceKind, Unary, ValueId};
use serde_json::{Map, Value};

use super::HfError;
use super::blocks::{AttentionNames, Gate, LayerNames, MlpNames, More, Norm, Order, Positions, Stack};
use super::config::{Config, unfit};
use super::encoder::head_width;
use super::head::Head;
use super::sketch::{Linear, Sketch, activation_name};
use super::vision::PatchNames;

const LAYER: LayerNames = LayerNames {
    attention: AttentionNames::separate([
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.out_proj",
    ]),
    attention_norm: "layer_norm1",
    cross: None,
    mlp: MlpNames { gate: Gate::No, up: "mlp.fc1", down: "mlp.fc2" },
    mlp_norm: "layer_norm2",
};

/// What the two kinds differ in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Clip,
    Siglip,
}

/// What an encoder gives.
struct Encoded {
    stream: ValueId,
    /// One vector for the whole.
    pooled: Option<ValueId>,
    width: usize,
}

impl Kind {
    fn activation(self) -> &'static str {
        match self {
            Self::Clip => "quick_gelu",
            Self::Siglip => "gelu_pytorch_tanh",
        }
    }

    /// Width, inner width, layers and heads where the settings leave them out.
    fn sizes(self, is_text: bool) -> [usize; 4] {
        match (self, is_text) {
            (Self::Clip, true) => [512, 2048, 12, 8],
            _ => [768, 3072, 12, 12],
        }
    }

    fn stack(self, config: &Config, is_text: bool) -> Result<(Stack<'_>, usize), HfError> {
        let [width, inner, layers, heads] = self.sizes(is_text);
        let size = |field, default| Ok::<_, HfError>(config.optional_size(field)?.unwrap_or(default));
        let (width, heads) = (size("hidden_size", width)?, size("num_attention_heads", heads)?);
        let head_width = head_width(width, heads, "num_attention_heads")?;
        let epsilon = if self == Self::Clip { 1e-5 } else { 1e-6 };
        let stack = Stack {
            names: LAYER,
            norm: Norm::Layer(config.number("layer_norm_eps", epsilon)?),
            order: Order::Before,
            width,
            inner: size("intermediate_size", inner)?,
            heads,
            key_heads: heads,
            head_width,
            scale: 1.0 / (head_width as f64).sqrt(),
            activation: activation_name(config, "hidden_act", self.activation())?,
            activation_field: "hidden_act",
            projections: Linear::BIASED,
            output: Linear::BIASED,
            mlp: Linear::BIASED,
            more: More::NOTHING,
        };
        Ok((stack, size("num_hidden_layers", layers)?))
    }

    fn text(self, sketch: &mut Sketch<'_>, config: &Config) -> Result<Encoded, HfError> {
        let prefix = sketch.prefix("text_model.", "embeddings.token_embedding.weight");
        let (stack, layers) = self.stack(config, true)?;
        let width = stack.width;
        let (words, length) = if self == Self::Clip { (49_408, 77) } else { (32_000, 64) };
        let words = config.optional_size("vocab_size")?.unwrap_or(words);
        let length = config.optional_size("max_position_embeddings")?.unwrap_or(length);
        let tokens = sketch.tokens("input_ids", "sequence");
        let mut x = sketch.embed(&format!("{prefix}embeddings.token_embedding.weight"), [words, width], tokens)?;
        let positions = sketch.positions(tokens);
        let table = format!("{prefix}embeddings.position_embedding.weight");
        let places = sketch.embed(&table, [length, width], positions)?;
        x = sketch.b.add(x, places);
        let mut view = Positions::default();
        if self == Self::Clip {
            let attention_mask = sketch.tokens("attention_mask", "sequence");
            let attended = sketch.attended(attention_mask);
            let causal = sketch.causal(positions, None);
            let causal = sketch.unsqueeze(causal, &[0, 1]);
            let allowed = sketch.binary(Binary::And, causal, attended);
            view.mask = Some(sketch.mask(allowed));
        }
        for layer in 0..layers {
            x = sketch.layer(x, &format!("{prefix}encoder.layers.{layer}."), &stack, view, None)?;
        }
        x = sketch.norm(x, &format!("{prefix}final_layer_norm"), width, stack.norm)?;
        let pooled = match self {
            Self::Clip => end_of_text(sketch, config, x, tokens)?,
            Self::Siglip => {
                let last = sketch.take(x, -1, 1);
                let outputs = config.optional_size("projection_size")?.unwrap_or(width);
                sketch.linear(last, &format!("{prefix}head"), [outputs, width], Linear::BIASED)?
            }
        };
        Ok(Encoded { stream: x, pooled: Some(pooled), width })
    }

    fn image(self, sketch: &mut Sketch<'_>, config: &Config, batch: &'static str) -> Result<Encoded, HfError> {
        let prefix = sketch.prefix("vision_model.", "embeddings.patch_embedding.weight");
        let (stack, layers) = self.stack(config, false)?;
        let width = stack.width;
        let pair = |field, default| match config.get(field) {
            Some(_) => config.pair(field),
            None => Ok([default; 2]),
        };
        let sizes = [pair("image_size", 224)?, pair("patch_size", if self == Self::Clip { 32 } else { 16 })?];
        let names = PatchNames {
            projection: format!("{prefix}embeddings.patch_embedding"),
            places: Some(format!("{prefix}embeddings.position_embedding.weight")),
            tokens: match self {
                Self::Clip => vec![format!("{prefix}embeddings.class_embedding")],
                Self::Siglip => Vec::new(),
            },
            is_table: true,
            is_biased: self == Self::Siglip,
            batch,
        };
        let mut x = sketch.patches(config, sizes, width, &names)?;
        if self == Self::Clip {
            x = sketch.norm(x, &format!("{prefix}pre_layrnorm"), width, stack.norm)?;
        }
        for layer in 0..layers {
            let path = format!("{prefix}encoder.layers.{layer}.");
            x = sketch.layer(x, &path, &stack, Positions::default(), None)?;
        }
        let last = format!("{prefix}post_layernorm");
        if self == Self::Clip {
            let first = sketch.take(x, 0, 1);
            let pooled = sketch.norm(first, &last, width, stack.norm)?;
            return Ok(Encoded { stream: x, pooled: Some(pooled), width });
        }
        x = sketch.norm(x, &last, width, stack.norm)?;
        let pooled = match config.flag("vision_use_head", true)? {
            true => Some(sketch.probed(x, &format!("{prefix}head."), &stack)?),
            false => None,
        };
        Ok(Encoded { stream: x, pooled, width })
    }
}

/// The vector of the token that ends the text: of the largest id, as the first checkpoints have it, or of that one.
fn end_of_text(sketch: &mut Sketch<'_>, config: &Config, x: ValueId, tokens: ValueId) -> Result<ValueId, HfError> {
    let end = config.token("eos_token_id")?.unwrap_or(49_407);
    let searched = match end {
        2 => tokens,
        end => {
            let end = sketch.integer(end);
            let is_end = sketch.binary(Binary::Equal, tokens, end);
            sketch.cast(is_end, otfuse_graph::DataType::I64)
        }
    };
    let first = Operator::ArgExtremum { largest: true, axis: -1, keep_dims: true };
    let place = sketch.b.node(first, &[searched]);
    Ok(sketch.vector_at(x, tokens, place))
}

impl Sketch<'_> {
    /// What a learned query finds in a stream.
    fn probed(&mut self, x: ValueId, path: &str, stack: &Stack<'_>) -> Result<ValueId, HfError> {
        let Stack { width, heads, head_width, .. } = *stack;
        let probe = self.weight(&format!("{path}probe"), &[1, 1, width])?;
        let probe = self.for_each_sample(probe, x);
        let weight = self.weight(&format!("{path}attention.in_proj_weight"), &[3 * width, width])?;
        let bias = self.weight(&format!("{path}attention.in_proj_bias"), &[3 * width])?;
        let weights = self.thirds(weight, width);
        let biases = self.thirds(bias, width);
        let mut parts = Vec::new();
        for (index, read) in [probe, x, x].into_iter().enumerate() {
            let weight = self.transpose(weights[index], &[1, 0]);
            let product = self.b.node(Operator::MatMul, &[read, weight]);
            let product = self.b.add(product, biases[index]);
            let split = self.reshape(product, &[0, 0, heads as i64, head_width as i64]);
            parts.push(self.transpose(split, if index == 1 { &[0, 2, 3, 1] } else { &[0, 2, 1, 3] }));
        }
        let scores = self.b.node(Operator::MatMul, &[parts[0], parts[1]]);
        let scores = self.times(scores, stack.scale);
        let weights = self.b.node(Operator::Softmax { axis: -1 }, &[scores]);
        let mixed = self.b.node(Operator::MatMul, &[weights, parts[2]]);
        let mixed = self.transpose(mixed, &[0, 2, 1, 3]);
        let joined = self.reshape(mixed, &[0, 0, width as i64]);
        let found = self.linear(joined, &format!("{path}attention.out_proj"), [width; 2], Linear::BIASED)?;
        let normalised = self.norm(found, &format!("{path}layernorm"), width, stack.norm)?;
        let change = self.perceptron(normalised, path, stack, stack.names.mlp, stack.inner)?;
        let sum = self.b.add(found, change);
        Ok(self.take(sum, 0, 1))
    }

    /// Three equal parts of the first axis.
    fn thirds(&mut self, x: ValueId, length: usize) -> Vec<ValueId> {
        let lengths = self.b.integers(&[length as i64; 3]);
        self.b.node_with_options(Operator::Split { axis: 0 }, vec![Some(x), Some(lengths)], 3)
    }

    /// Vectors of length 1.
    fn directions(&mut self, x: ValueId) -> ValueId {
        let length = self.reduced(x, ReduceKind::L2, -1);
        self.binary(Binary::Div, x, length)
    }
}

/// Draws both encoders and what compares them.
pub(super) fn draw(sketch: &mut Sketch<'_>, config: &Config, kind: Kind) -> Result<(), HfError> {
    let class = if kind == Kind::Clip { "CLIPModel" } else { "SiglipModel" };
    Head::of(config, &[(class, Head::Base)])?;
    let (texts, images) = (part(config, "text_config")?, part(config, "vision_config")?);
    let text = kind.text(sketch, &texts)?;
    let image = kind.image(sketch, &images, "images")?;
    let outputs = config.optional_size("projection_dim")?.unwrap_or(512);
    let mut vectors = Vec::new();
    for (encoded, name) in [(text, "text_projection"), (image, "visual_projection")] {
        let pooled = encoded.pooled.ok_or_else(|| unfit("vision_use_head", "true", &false.into()))?;
        let projected = match kind {
            Kind::Clip => sketch.linear(pooled, name, [outputs, encoded.width], Linear::PLAIN)?,
            Kind::Siglip => pooled,
        };
        vectors.push(sketch.directions(projected));
    }
    let [text, image] = [vectors[0], vectors[1]];
    let across = sketch.transpose(image, &[1, 0]);
    let likeness = sketch.b.node(Operator::MatMul, &[text, across]);
    let shape: &[usize] = if kind == Kind::Clip { &[] } else { &[1] };
    let scale = sketch.weight("logit_scale", shape)?;
    let scale = sketch.unary(Unary::Exp, scale);
    let mut logits = sketch.binary(Binary::Mul, likeness, scale);
    if kind == Kind::Siglip {
        let bias = sketch.weight("logit_bias", shape)?;
        logits = sketch.b.add(logits, bias);
    }
    let by_image = sketch.transpose(logits, &[1, 0]);
    sketch.output(by_image, "logits_per_image");
    sketch.output(logits, "logits_per_text");
    sketch.output(text, "text_embeds");
    sketch.output(image, "image_embeds");
    Ok(())
}

/// Draws the encoder of texts alone.
pub(super) fn draw_text(sketch: &mut Sketch<'_>, config: &Config, kind: Kind) -> Result<(), HfError> {
    let class = if kind == Kind::Clip { "CLIPTextModel" } else { "SiglipTextModel" };
    Head::of(config, &[(class, Head::Base)])?;
    let encoded = kind.text(sketch, config)?;
    finish(sketch, &encoded);
    Ok(())
}

/// Draws the encoder of images alone.
pub(super) fn draw_image(sketch: &mut Sketch<'_>, config: &Config, kind: Kind) -> Result<(), HfError> {
    let class = if kind == Kind::Clip { "CLIPVisionModel" } else { "SiglipVisionModel" };
    Head::of(config, &[(class, Head::Base)])?;
    let encoded = kind.image(sketch, config, "batch")?;
    finish(sketch, &encoded);
    Ok(())
}

fn finish(sketch: &mut Sketch<'_>, encoded: &Encoded) {
    sketch.output(encoded.stream, "last_hidden_state");
    if let Some(pooled) = encoded.pooled {
        sketch.output(pooled, "pooler_output");
    }
}

/// The settings of one of the two encoders.
fn part(config: &Config, field: &str) -> Result<Config, HfError> {
    match config.get(field) {
        None => Ok(Config(Map::new())),
        Some(Value::Object(part)) => Ok(Config(part.clone())),
        Some(other) => Err(unfit(field, "an object", other)),
    }
}
