//! ViT: an encoder of patches of images that normalises before each block.

use otfuse_graph::{Conv, DataType, Dim, Operator, ValueId, Window};

use super::HfError;
use super::blocks::{AttentionNames, LayerNames, MlpNames, Norm, Positions, Stack};
use super::config::Config;
use super::encoder::head_width;
use super::head::Head;
use super::sketch::{Linear, Sketch, activation_name};

const CLASSES: &[(&str, Head)] = &[("ViTModel", Head::Base), ("ViTForImageClassification", Head::ImageClassification)];

const LAYER: LayerNames = LayerNames {
    attention: AttentionNames {
        query: "attention.attention.query",
        key: "attention.attention.key",
        value: "attention.attention.value",
        output: "attention.output.dense",
        packed: None,
        norms: None,
    },
    attention_norm: "layernorm_before",
    cross: None,
    mlp: MlpNames { gate: None, up: "intermediate.dense", down: "output.dense" },
    mlp_norm: "layernorm_after",
};

/// Draws a vision transformer.
pub(super) fn draw(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let head = Head::of(config, CLASSES)?;
    let (width, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let epsilon = config.number("layer_norm_eps", 1e-12)?;
    let stack = Stack {
        names: LAYER,
        norm: Norm::Layer(epsilon),
        norm_first: true,
        width,
        inner: config.size("intermediate_size")?,
        heads,
        key_heads: heads,
        head_width: head_width(width, heads, "num_attention_heads")?,
        scale: 1.0 / ((width / heads) as f64).sqrt(),
        activation: activation_name(config, "hidden_act", "gelu")?,
        activation_field: "hidden_act",
        projections: Linear::biased_if(config.flag("qkv_bias", true)?),
        output: Linear::BIASED,
        mlp: Linear::BIASED,
    };
    let prefix = sketch.prefix("vit.", "embeddings.cls_token");
    let mut x = embeddings(sketch, config, prefix, width)?;
    for layer in 0..config.size("num_hidden_layers")? {
        let path = format!("{prefix}encoder.layer.{layer}.");
        x = sketch.layer(x, &path, &stack, Positions::default(), None)?;
    }
    x = sketch.layer_norm(x, &format!("{prefix}layernorm"), width, epsilon)?;
    if head == Head::ImageClassification {
        let first = sketch.take(x, 0, 1);
        let logits = if sketch.contains("classifier.weight") || sketch.draft.is_some() {
            sketch.classes(first, "classifier", width, Linear::BIASED)?
        } else {
            first
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

/// One vector per patch behind that of the class, with their positions.
fn embeddings(sketch: &mut Sketch<'_>, config: &Config, prefix: &str, width: usize) -> Result<ValueId, HfError> {
    let ([rows, columns], patch) = (config.pair("image_size")?, config.pair("patch_size")?);
    let channels = config.optional_size("num_channels")?.unwrap_or(3);
    let patches = (rows / patch[0]) * (columns / patch[1]);
    if patches == 0 {
        let expected = "patches no larger than the image".into();
        return Err(HfError::Config { field: "patch_size".into(), expected, found: format!("{patch:?}") });
    }
    let shape = [Dim::symbol("batch"), channels.into(), rows.into(), columns.into()];
    let image = sketch.b.input_of("pixel_values", DataType::F32, shape.to_vec());
    let path = format!("{prefix}embeddings");
    let projection = format!("{path}.patch_embeddings.projection");
    let weight = sketch.weight(&format!("{projection}.weight"), &[width, channels, patch[0], patch[1]])?;
    let bias = sketch.weight(&format!("{projection}.bias"), &[width])?;
    let window = Window { strides: patch.to_vec(), ..Window::uniform(2, 1, 0) };
    let x = sketch.b.conv(image, weight, Some(bias), Conv { groups: 1, window });
    let x = sketch.reshape(x, &[0, 0, patches as i64]);
    let x = sketch.transpose(x, &[0, 2, 1]);

    let class = sketch.weight(&format!("{path}.cls_token"), &[1, 1, width])?;
    let samples = sketch.b.node(Operator::Shape { start: 0, end: Some(1) }, &[x]);
    let ones = sketch.b.integers(&[1, 1]);
    let shape = sketch.b.concat(&[samples, ones], 0);
    let class = sketch.b.node(Operator::Expand, &[class, shape]);
    let x = sketch.b.concat(&[class, x], 1);
    let places = sketch.weight(&format!("{path}.position_embeddings"), &[1, patches + 1, width])?;
    Ok(sketch.b.add(x, places))
}
