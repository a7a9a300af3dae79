//! ConvNeXT: depthwise convolutions and perceptrons of channels.

use otfuse_graph::{Binary, Conv, DataType, Dim, Operator, Reduce, ReduceKind, ValueId, Window};

use super::{Config, Head, HfError, Linear, Sketch};
use crate::hf::sketch::activation_name;

/// What normalisations inside of the network add to variances.
const EPSILON: f64 = 1e-6;

/// Channels behind rows and columns, and back.
const CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];
const CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];

impl Sketch<'_> {
    fn patched(&mut self, x: ValueId, path: &str, channels: [usize; 2], patch: usize) -> Result<ValueId, HfError> {
        let [inputs, outputs] = channels;
        let weight = self.weight(&format!("{path}.weight"), &[outputs, inputs, patch, patch])?;
        let bias = self.weight(&format!("{path}.bias"), &[outputs])?;
        let window = Window { strides: vec![patch; 2], ..Window::uniform(2, 1, 0) };
        Ok(self.b.conv(x, weight, Some(bias), Conv { groups: 1, window }))
    }

    fn channel_norm(&mut self, x: ValueId, path: &str, width: usize) -> Result<ValueId, HfError> {
        let x = self.transpose(x, &CHANNELS_LAST);
        let x = self.layer_norm(x, path, width, EPSILON)?;
        Ok(self.transpose(x, &CHANNELS_FIRST))
    }

    fn convnext_layer(
        &mut self,
        x: ValueId,
        path: &str,
        width: usize,
        (activation, is_second): (&str, bool),
    ) -> Result<ValueId, HfError> {
        let weight = self.weight(&format!("{path}dwconv.weight"), &[width, 1, 7, 7])?;
        let bias = self.weight(&format!("{path}dwconv.bias"), &[width])?;
        let conv = Conv { groups: width, window: Window::uniform(2, 1, 3) };
        let change = self.b.conv(x, weight, Some(bias), conv);
        let change = self.transpose(change, &CHANNELS_LAST);
        let change = self.layer_norm(change, &format!("{path}layernorm"), width, EPSILON)?;
        let mut change = self.linear(change, &format!("{path}pwconv1"), [4 * width, width], Linear::BIASED)?;
        change = self.activation(change, activation, "hidden_act")?;
        if is_second {
            change = self.responses(change, &format!("{path}grn"), 4 * width)?;
        }
        change = self.linear(change, &format!("{path}pwconv2"), [width, 4 * width], Linear::BIASED)?;
        let scale = format!("{path}layer_scale_parameter");
        if !is_second && (self.contains(&scale) || self.draft.is_some()) {
            let scale = self.weight(&scale, &[width])?;
            change = self.binary(Binary::Mul, change, scale);
        }
        let change = self.transpose(change, &CHANNELS_FIRST);
        Ok(self.b.add(x, change))
    }

    /// Channels times their norms over the image in relation to those of the others.
    fn responses(&mut self, x: ValueId, path: &str, width: usize) -> Result<ValueId, HfError> {
        let axes = self.b.integers(&[1, 2]);
        let norm = Reduce { kind: ReduceKind::L2, keep_dims: true, noop_with_empty_axes: false };
        let norms = self.b.node(Operator::Reduce(norm), &[x, axes]);
        let mean = self.reduced(norms, ReduceKind::Mean, -1);
        let epsilon = self.scalar(1e-6);
        let mean = self.b.add(mean, epsilon);
        let relative = self.binary(Binary::Div, norms, mean);
        let product = self.binary(Binary::Mul, x, relative);
        let weight = self.weight(&format!("{path}.weight"), &[1, 1, 1, width])?;
        let bias = self.weight(&format!("{path}.bias"), &[1, 1, 1, width])?;
        let product = self.binary(Binary::Mul, weight, product);
        let product = self.b.add(product, bias);
        Ok(self.b.add(product, x))
    }
}

/// Draws the first ConvNeXT, or the second.
pub(crate) fn draw(sketch: &mut Sketch<'_>, config: &Config, is_second: bool) -> Result<(), HfError> {
    let (prefix, classes) = match is_second {
        false => ("convnext.", ["ConvNextModel", "ConvNextForImageClassification"]),
        true => ("convnextv2.", ["ConvNextV2Model", "ConvNextV2ForImageClassification"]),
    };
    let head = Head::of(config, &[(classes[0], Head::Base), (classes[1], Head::ImageClassification)])?;
    let prefix = sketch.prefix(prefix, "embeddings.patch_embeddings.weight");
    let activation = activation_name(config, "hidden_act", "gelu")?;
    let channels = config.optional_size("num_channels")?.unwrap_or(3);
    let [rows, columns] = match config.get("image_size") {
        Some(_) => config.pair("image_size")?,
        None => [224; 2],
    };
    let shape = [Dim::symbol("batch"), channels.into(), rows.into(), columns.into()];
    let image = sketch.b.input_of("pixel_values", DataType::F32, shape.to_vec());
    let (sizes, depths) = (config.sizes("hidden_sizes")?, config.sizes("depths")?);
    let patch = config.optional_size("patch_size")?.unwrap_or(4);
    let first = sizes.first().copied().unwrap_or(1);
    let mut x = sketch.patched(image, &format!("{prefix}embeddings.patch_embeddings"), [channels, first], patch)?;
    x = sketch.channel_norm(x, &format!("{prefix}embeddings.layernorm"), first)?;
    let mut inputs = first;
    for (stage, (&width, &depth)) in sizes.iter().zip(&depths).enumerate() {
        let path = format!("{prefix}encoder.stages.{stage}.");
        if stage > 0 {
            x = sketch.channel_norm(x, &format!("{path}downsampling_layer.0"), inputs)?;
            x = sketch.patched(x, &format!("{path}downsampling_layer.1"), [inputs, width], 2)?;
        }
        for layer in 0..depth {
            x = sketch.convnext_layer(x, &format!("{path}layers.{layer}."), width, (activation, is_second))?;
        }
        inputs = width;
    }
    let axes = sketch.b.integers(&[2, 3]);
    let mean = Reduce { kind: ReduceKind::Mean, keep_dims: false, noop_with_empty_axes: false };
    let pooled = sketch.b.node(Operator::Reduce(mean), &[x, axes]);
    let epsilon = config.number("layer_norm_eps", 1e-12)?;
    let pooled = sketch.layer_norm(pooled, &format!("{prefix}layernorm"), inputs, epsilon)?;
    if head == Head::Base {
        sketch.output(x, "last_hidden_state");
        sketch.output(pooled, "pooler_output");
        return Ok(());
    }
    let logits = sketch.classes(pooled, "classifier", inputs, Linear::BIASED)?;
    sketch.output(logits, "logits");
    Ok(())
}
