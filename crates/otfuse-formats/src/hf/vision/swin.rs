//! Swin: attention inside of windows of an image, which are shifted in each second layer.

use otfuse_graph::{Operator, PadMode, ReduceKind, Tensor, ValueId};
use serde_json::json;

use super::{Config, Head, HfError, Linear, PatchNames, Sketch, head_width};
use crate::hf::blocks::{AttentionNames, Gate, LayerNames, MlpNames, More, Norm, Order, Positions, Stack};
use crate::hf::sketch::activation_name;

const LAYER: LayerNames = LayerNames {
    attention: AttentionNames::separate([
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
    ]),
    attention_norm: "layernorm_before",
    cross: None,
    mlp: MlpNames { gate: Gate::No, up: "intermediate.dense", down: "output.dense" },
    mlp_norm: "layernorm_after",
};

/// What is added to scores of places that are next to each other by the shift alone.
const APART: f32 = -100.0;

/// The windows of a layer.
#[derive(Clone, Copy)]
struct Windows {
    /// Rows and columns of the image.
    size: [usize; 2],
    /// The same with what is added to make whole windows.
    padded: [usize; 2],
    length: usize,
    shift: usize,
}

impl Windows {
    fn of(size: [usize; 2], length: usize, shift: usize) -> Self {
        let least = size[0].min(size[1]);
        let (length, shift) = if least <= length { (least, 0) } else { (length, shift) };
        Self { size, padded: size.map(|side| side.next_multiple_of(length)), length, shift }
    }

    fn counts(&self) -> [usize; 2] {
        self.padded.map(|side| side / self.length)
    }

    /// For each window what is added to the score of two places: windows x places x places.
    fn mask(&self) -> Tensor {
        let part =
            |side: usize, at: usize| usize::from(at >= side - self.length) + usize::from(at >= side - self.shift);
        let ([rows, columns], length) = (self.counts(), self.length);
        let place = |window: usize, at: usize| {
            let row = window / columns * length + at / length;
            let column = window % columns * length + at % length;
            3 * part(self.padded[0], row) + part(self.padded[1], column)
        };
        let area = length * length;
        let mut values = Vec::with_capacity(rows * columns * area * area);
        for window in 0..rows * columns {
            for query in 0..area {
                values.extend((0..area).map(
                    |key| {
                        if place(window, query) == place(window, key) { 0.0 } else { APART }
                    },
                ));
            }
        }
        Tensor::from_f32(&[1, rows * columns, 1, area, area], values)
    }
}

impl Sketch<'_> {
    /// Rows and columns of batch x rows x columns x channels moved by so many places, around the ends.
    fn rolled(&mut self, mut x: ValueId, sizes: [usize; 2], shift: usize) -> ValueId {
        for (axis, size) in [(1, sizes[0]), (2, sizes[1])] {
            let lengths = self.b.integers(&[shift as i64, (size - shift) as i64]);
            let parts = self.b.node_with_options(Operator::Split { axis }, vec![Some(x), Some(lengths)], 2);
            x = self.b.concat(&[parts[1], parts[0]], axis);
        }
        x
    }

    /// Batch x rows x columns x channels as (batch, windows) x places x channels.
    fn in_windows(&mut self, x: ValueId, windows: &Windows, width: usize) -> ValueId {
        let ([rows, columns], length) = (windows.counts(), windows.length);
        let [rows, columns, length, width] = [rows, columns, length, width].map(|length| length as i64);
        let x = self.reshape(x, &[0, rows, length, columns, length, width]);
        let x = self.transpose(x, &[0, 1, 3, 2, 4, 5]);
        self.reshape(x, &[-1, length * length, width])
    }

    fn out_of_windows(&mut self, x: ValueId, windows: &Windows, width: usize) -> ValueId {
        let ([rows, columns], length) = (windows.counts(), windows.length);
        let [rows, columns, length, width] = [rows, columns, length, width].map(|length| length as i64);
        let x = self.reshape(x, &[-1, rows, columns, length, length, width]);
        let x = self.transpose(x, &[0, 1, 3, 2, 4, 5]);
        self.reshape(x, &[0, rows * length, columns * length, width])
    }

    /// What each head adds for the place of a key beside a query: 1 x heads x places x places.
    fn beside(&mut self, path: &str, heads: usize, table: usize, length: usize) -> Result<ValueId, HfError> {
        let wide = 2 * table - 1;
        let index = |query: usize, key: usize| {
            let row = query / length + table - 1 - key / length;
            let column = query % length + table - 1 - key % length;
            (row * wide + column) as i64
        };
        let area = length * length;
        let list = (0..area).flat_map(|query| (0..area).map(move |key| index(query, key))).collect();
        let list = self.b.constant(Tensor::from_i64(&[area, area], list));
        let bias =
            self.embed(&format!("{path}attention.self.relative_position_bias_table"), [wide * wide, heads], list)?;
        let bias = self.transpose(bias, &[2, 0, 1]);
        Ok(self.unsqueeze(bias, &[0]))
    }

    fn swin_layer(
        &mut self,
        x: ValueId,
        path: &str,
        stack: &Stack<'_>,
        windows: &Windows,
        table: usize,
    ) -> Result<ValueId, HfError> {
        let Stack { width, heads, .. } = *stack;
        let [rows, columns] = windows.size;
        let mut change = self.norm(x, &format!("{path}layernorm_before"), width, stack.norm)?;
        change = self.reshape(change, &[0, rows as i64, columns as i64, width as i64]);
        let [below, right] = [0, 1].map(|axis| (windows.padded[axis] - windows.size[axis]) as i64);
        if below + right > 0 {
            let pads = self.b.integers(&[0, 0, 0, 0, 0, below, right, 0]);
            change = self.b.node(Operator::Pad(PadMode::Constant), &[change, pads]);
        }
        if windows.shift > 0 {
            change = self.rolled(change, windows.padded, windows.shift);
        }
        change = self.in_windows(change, windows, width);
        let bias = self.beside(path, heads, table, windows.length)?;
        let mut positions = Positions { bias: Some(bias), ..Positions::default() };
        if windows.shift > 0 {
            positions.windows = Some(self.b.constant(windows.mask()));
        }
        change = self.attention(change, change, path, stack, &stack.names.attention, positions)?;
        change = self.out_of_windows(change, windows, width);
        if windows.shift > 0 {
            let [rows, columns] = windows.padded;
            change = self.unrolled(change, [rows, columns], windows.shift);
        }
        if below + right > 0 {
            let [starts, ends, axes] =
                [vec![0, 0], vec![rows as i64, columns as i64], vec![1, 2]].map(|list| self.b.integers(&list));
            change = self.b.node(Operator::Slice, &[change, starts, ends, axes]);
        }
        change = self.reshape(change, &[0, (rows * columns) as i64, width as i64]);
        let x = self.b.add(x, change);
        let normalised = self.norm(x, &format!("{path}layernorm_after"), width, stack.norm)?;
        let change = self.perceptron(normalised, path, stack, stack.names.mlp, stack.inner)?;
        Ok(self.b.add(x, change))
    }

    fn unrolled(&mut self, x: ValueId, [rows, columns]: [usize; 2], shift: usize) -> ValueId {
        let mut x = x;
        for (axis, size) in [(1, rows), (2, columns)] {
            let lengths = self.b.integers(&[(size - shift) as i64, shift as i64]);
            let parts = self.b.node_with_options(Operator::Split { axis }, vec![Some(x), Some(lengths)], 2);
            x = self.b.concat(&[parts[1], parts[0]], axis);
        }
        x
    }

    /// Four neighbouring places as one of twice as many channels.
    fn merged(
        &mut self,
        x: ValueId,
        path: &str,
        [rows, columns]: [usize; 2],
        width: usize,
    ) -> Result<ValueId, HfError> {
        let mut x = self.reshape(x, &[0, rows as i64, columns as i64, width as i64]);
        let [below, right] = [rows % 2, columns % 2].map(|odd| odd as i64);
        if below + right > 0 {
            let pads = self.b.integers(&[0, 0, 0, 0, 0, below, right, 0]);
            x = self.b.node(Operator::Pad(PadMode::Constant), &[x, pads]);
        }
        let [rows, columns] = [rows.div_ceil(2), columns.div_ceil(2)].map(|length| length as i64);
        let x = self.reshape(x, &[0, rows, 2, columns, 2, width as i64]);
        let x = self.transpose(x, &[0, 1, 3, 4, 2, 5]);
        let x = self.reshape(x, &[0, rows * columns, 4 * width as i64]);
        let x = self.layer_norm(x, &format!("{path}downsample.norm"), 4 * width, 1e-5)?;
        self.linear(x, &format!("{path}downsample.reduction"), [2 * width, 4 * width], Linear::PLAIN)
    }
}

/// Draws Swin.
pub(crate) fn draw(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.require("use_absolute_embeddings", &json!(false))?;
    let classes = [("SwinModel", Head::Base), ("SwinForImageClassification", Head::ImageClassification)];
    let head = Head::of(config, &classes)?;
    let prefix = sketch.prefix("swin.", "embeddings.patch_embeddings.projection.weight");
    let [image, patch] = [config.pair("image_size")?, config.pair("patch_size")?];
    let mut width = config.size("embed_dim")?;
    let names = PatchNames {
        projection: format!("{prefix}embeddings.patch_embeddings.projection"),
        places: None,
        tokens: Vec::new(),
        is_table: false,
        is_biased: true,
        batch: "batch",
    };
    let mut x = sketch.patches(config, [image, patch], width, &names)?;
    x = sketch.layer_norm(x, &format!("{prefix}embeddings.norm"), width, 1e-5)?;
    let mut size = [image[0] / patch[0], image[1] / patch[1]];
    let table = config.optional_size("window_size")?.unwrap_or(7);
    let (depths, heads) = (config.sizes("depths")?, config.sizes("num_heads")?);
    for (stage, (&depth, &heads)) in depths.iter().zip(&heads).enumerate() {
        let stack = stack(config, width, heads)?;
        let path = format!("{prefix}encoder.layers.{stage}.");
        for layer in 0..depth {
            let windows = Windows::of(size, table, if layer % 2 == 0 { 0 } else { table / 2 });
            x = sketch.swin_layer(x, &format!("{path}blocks.{layer}."), &stack, &windows, table)?;
        }
        if stage + 1 < depths.len() {
            x = sketch.merged(x, &path, size, width)?;
            (size, width) = (size.map(|side| side.div_ceil(2)), 2 * width);
        }
    }
    let epsilon = config.number("layer_norm_eps", 1e-5)?;
    x = sketch.layer_norm(x, &format!("{prefix}layernorm"), width, epsilon)?;
    let mean = sketch.reduced(x, ReduceKind::Mean, 1);
    let pooled = sketch.take(mean, 0, 1);
    if head == Head::Base {
        sketch.output(x, "last_hidden_state");
        sketch.output(pooled, "pooler_output");
        return Ok(());
    }
    let logits = sketch.classes(pooled, "classifier", width, Linear::BIASED)?;
    sketch.output(logits, "logits");
    Ok(())
}

fn stack(config: &Config, width: usize, heads: usize) -> Result<Stack<'_>, HfError> {
    let head_width = head_width(width, heads, "num_heads")?;
    Ok(Stack {
        names: LAYER,
        norm: Norm::Layer(config.number("layer_norm_eps", 1e-5)?),
        order: Order::Before,
        width,
        inner: (width as f64 * config.number("mlp_ratio", 4.0)?) as usize,
        heads,
        key_heads: heads,
        head_width,
        scale: 1.0 / (head_width as f64).sqrt(),
        activation: activation_name(config, "hidden_act", "gelu")?,
        activation_field: "hidden_act",
        projections: Linear::biased_if(config.flag("qkv_bias", true)?),
        output: Linear::BIASED,
        mlp: Linear::BIASED,
        more: More::NOTHING,
    })
}
