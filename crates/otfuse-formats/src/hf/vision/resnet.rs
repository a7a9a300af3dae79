//! ResNet and RegNet: convolutions with batch normalisation around residual connections.

use otfuse_graph::{Conv, DataType, Dim, Operator, PoolKind, Unary, ValueId, Window};

use super::{Config, Head, HfError, Linear, Sketch};
use crate::hf::config::unfit;
use crate::hf::sketch::activation_name;

/// What batch normalisation adds to variances in these classes.
const EPSILON: f32 = 1e-5;

/// A convolution: channels before and behind it, the length of its kernel, its stride and its groups.
#[derive(Clone, Copy)]
struct Form {
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
}

impl Form {
    fn of(channels: [usize; 2], kernel: usize, stride: usize) -> Self {
        Self { channels, kernel, stride, groups: 1 }
    }
}

/// Which layers stages are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Basic,
    /// Whether the first of the three convolutions has the stride.
    Bottleneck(bool),
    /// RegNet's, with groups of so many channels, and whether channels are weighted by what they are in the whole image.
    Grouped(usize, bool),
}

impl Sketch<'_> {
    fn convolved(&mut self, x: ValueId, path: &str, form: Form) -> Result<ValueId, HfError> {
        let Form { channels: [inputs, outputs], kernel, stride, groups } = form;
        let shape = [outputs, inputs / groups, kernel, kernel];
        let weight = self.weight(&format!("{path}.convolution.weight"), &shape)?;
        let window = Window { strides: vec![stride; 2], ..Window::uniform(2, 1, kernel / 2) };
        let x = self.b.conv(x, weight, None, Conv { groups, window });
        let of = |name: &str| format!("{path}.normalization.{name}");
        let mut inputs = vec![x];
        for name in ["weight", "bias", "running_mean", "running_var"] {
            inputs.push(self.weight(&of(name), &[outputs])?);
        }
        Ok(self.b.node(Operator::BatchNormalization { epsilon: EPSILON }, &inputs))
    }

    fn convolutions(
        &mut self,
        mut x: ValueId,
        path: &str,
        forms: &[Form],
        activation: (&str, &str),
    ) -> Result<ValueId, HfError> {
        for (index, form) in forms.iter().enumerate() {
            x = self.convolved(x, &format!("{path}layer.{index}"), *form)?;
            if index + 1 < forms.len() {
                x = self.activation(x, activation.0, activation.1)?;
            }
        }
        Ok(x)
    }

    /// A layer of a stage around which its input is carried.
    fn residual(
        &mut self,
        x: ValueId,
        path: &str,
        kind: Kind,
        [inputs, outputs, stride]: [usize; 3],
        activation: (&str, &str),
    ) -> Result<ValueId, HfError> {
        let changed = match kind {
            Kind::Basic => {
                let forms = [Form::of([inputs, outputs], 3, stride), Form::of([outputs, outputs], 3, 1)];
                self.convolutions(x, path, &forms, activation)?
            }
            Kind::Bottleneck(first) => {
                let narrow = outputs / 4;
                let strides = if first { [stride, 1] } else { [1, stride] };
                let forms = [
                    Form::of([inputs, narrow], 1, strides[0]),
                    Form::of([narrow, narrow], 3, strides[1]),
                    Form::of([narrow, outputs], 1, 1),
                ];
                // Inside a bottleneck there is always this activation, whatever the setting says.
                self.convolutions(x, path, &forms, ("relu", "hidden_act"))?
            }
            Kind::Grouped(width, weighted) => {
                let groups = (outputs / width).max(1);
                let forms =
                    [Form::of([inputs, outputs], 1, 1), Form { groups, ..Form::of([outputs, outputs], 3, stride) }];
                let mut x = x;
                for (index, form) in forms.into_iter().enumerate() {
                    x = self.convolved(x, &format!("{path}layer.{index}"), form)?;
                    x = self.activation(x, activation.0, activation.1)?;
                }
                let mut last = 2;
                if weighted {
                    x = self.weighted(x, &format!("{path}layer.2.attention"), [outputs, rounded(inputs)])?;
                    last = 3;
                }
                self.convolved(x, &format!("{path}layer.{last}"), Form::of([outputs, outputs], 1, 1))?
            }
        };
        let kept = match inputs != outputs || stride != 1 {
            true => self.convolved(x, &format!("{path}shortcut"), Form::of([inputs, outputs], 1, stride))?,
            false => x,
        };
        let sum = self.b.add(changed, kept);
        self.activation(sum, activation.0, activation.1)
    }

    /// Channels times weights that follow from their means over the image.
    fn weighted(&mut self, x: ValueId, path: &str, [wide, narrow]: [usize; 2]) -> Result<ValueId, HfError> {
        let mut weights = self.b.node(Operator::GlobalPool(PoolKind::Average), &[x]);
        let functions = [("0", [wide, narrow], Unary::Relu), ("2", [narrow, wide], Unary::Sigmoid)];
        for (name, [inputs, outputs], function) in functions {
            let weight = self.weight(&format!("{path}.{name}.weight"), &[outputs, inputs, 1, 1])?;
            let bias = self.weight(&format!("{path}.{name}.bias"), &[outputs])?;
            let conv = Conv { groups: 1, window: Window::uniform(2, 1, 0) };
            weights = self.b.conv(weights, weight, Some(bias), conv);
            weights = self.unary(function, weights);
        }
        Ok(self.binary(otfuse_graph::Binary::Mul, x, weights))
    }
}

/// A quarter, rounded to the even number where there are two nearest.
fn rounded(channels: usize) -> usize {
    (channels as f64 / 4.0).round_ties_even() as usize
}

/// Draws ResNet.
pub(crate) fn draw_resnet(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let kind = match config.text("layer_type")?.unwrap_or("bottleneck") {
        "basic" => Kind::Basic,
        "bottleneck" => Kind::Bottleneck(config.flag("downsample_in_bottleneck", false)?),
        other => return Err(unfit("layer_type", "basic or bottleneck", &other.into())),
    };
    let classes = [("ResNetModel", Head::Base), ("ResNetForImageClassification", Head::ImageClassification)];
    let head = Head::of(config, &classes)?;
    let first = config.flag("downsample_in_first_stage", false)?;
    draw(sketch, config, "resnet.", head, kind, first)
}

/// Draws RegNet.
pub(crate) fn draw_regnet(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let width = config.optional_size("groups_width")?.unwrap_or(64);
    let kind = match config.text("layer_type")?.unwrap_or("y") {
        "x" => Kind::Grouped(width, false),
        "y" => Kind::Grouped(width, true),
        other => return Err(unfit("layer_type", "x or y", &other.into())),
    };
    let classes = [("RegNetModel", Head::Base), ("RegNetForImageClassification", Head::ImageClassification)];
    let head = Head::of(config, &classes)?;
    let first = config.flag("downsample_in_first_stage", true)?;
    draw(sketch, config, "regnet.", head, kind, first)
}

fn draw(
    sketch: &mut Sketch<'_>,
    config: &Config,
    prefix: &str,
    head: Head,
    kind: Kind,
    first: bool,
) -> Result<(), HfError> {
    let prefix = sketch.prefix(prefix, "embedder.embedder.convolution.weight");
    let activation = (activation_name(config, "hidden_act", "relu")?, "hidden_act");
    let channels = config.optional_size("num_channels")?.unwrap_or(3);
    let embedded = config.size("embedding_size")?;
    let shape = [Dim::symbol("batch"), channels.into(), Dim::symbol("height"), Dim::symbol("width")];
    let image = sketch.b.input_of("pixel_values", DataType::F32, shape.to_vec());
    let is_regnet = matches!(kind, Kind::Grouped(..));
    let form = Form::of([channels, embedded], if is_regnet { 3 } else { 7 }, 2);
    let mut x = sketch.convolved(image, &format!("{prefix}embedder.embedder"), form)?;
    x = sketch.activation(x, activation.0, activation.1)?;
    if !is_regnet {
        x = sketch.b.pool(x, PoolKind::Max, 3, Window::uniform(2, 2, 1));
    }
    let (sizes, depths) = (config.sizes("hidden_sizes")?, config.sizes("depths")?);
    let mut inputs = embedded;
    for (stage, (&outputs, &depth)) in sizes.iter().zip(&depths).enumerate() {
        for layer in 0..depth {
            let stride = if layer == 0 && (stage > 0 || first) { 2 } else { 1 };
            let path = format!("{prefix}encoder.stages.{stage}.layers.{layer}.");
            x = sketch.residual(x, &path, kind, [inputs, outputs, stride], activation)?;
            inputs = outputs;
        }
    }
    let pooled = sketch.b.node(Operator::GlobalPool(PoolKind::Average), &[x]);
    if head == Head::Base {
        sketch.output(x, "last_hidden_state");
        sketch.output(pooled, "pooler_output");
        return Ok(());
    }
    let flat = sketch.b.node(Operator::Flatten { axis: 1 }, &[pooled]);
    let logits = sketch.classes(flat, "classifier.1", inputs, Linear::BIASED)?;
    sketch.output(logits, "logits");
    Ok(())
}
