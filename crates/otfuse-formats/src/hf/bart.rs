//! BART and what follows it: encoders and decoders with layer normalisation. Whisper is one that reads sounds.

use otfuse_graph::{Conv, DataType, Dim, Tensor, ValueId, Window};
use serde_json::json;

use super::HfError;
use super::blocks::{AttentionNames, Gate, LayerNames, Memory, MlpNames, More, Norm, Order, Positions, Stack};
use super::config::Config;
use super::encoder::{counted, head_width};
use super::head::{Head, Vocabulary};
use super::sketch::{Linear, Sketch, activation_name};

const NORM: Norm = Norm::Layer(1e-5);

const CROSS_ATTENTION: AttentionNames = AttentionNames::separate([
    "encoder_attn.q_proj",
    "encoder_attn.k_proj",
    "encoder_attn.v_proj",
    "encoder_attn.out_proj",
]);

const LAYER: LayerNames = LayerNames {
    attention: AttentionNames::separate([
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.out_proj",
    ]),
    attention_norm: "self_attn_layer_norm",
    cross: None,
    mlp: MlpNames { gate: Gate::No, up: "fc1", down: "fc2" },
    mlp_norm: "final_layer_norm",
};

/// What the families differ in.
pub(super) struct Family {
    classes: [(&'static str, Head); 2],
    /// Where blocks are normalised. Those that normalise what they read have a last normalisation.
    order: Order,
    /// Whether embeddings are normalised.
    normed: bool,
    places: Places,
}

/// What a position adds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Places {
    /// A row of a table, whose first rows stand for no position.
    Table { first: usize },
    /// Sines and cosines of the position.
    Waves,
    /// Sines and cosines of how many tokens up to here are no padding.
    CountedWaves,
}

pub(super) const BART: Family = Family {
    classes: [("BartForConditionalGeneration", Head::ConditionalGeneration), ("BartModel", Head::Base)],
    order: Order::Behind,
    normed: true,
    places: Places::Table { first: 2 },
};

pub(super) const MBART: Family = Family {
    classes: [("MBartForConditionalGeneration", Head::ConditionalGeneration), ("MBartModel", Head::Base)],
    order: Order::Before,
    ..BART
};

pub(super) const PEGASUS: Family = Family {
    classes: [("PegasusForConditionalGeneration", Head::ConditionalGeneration), ("PegasusModel", Head::Base)],
    order: Order::Before,
    normed: false,
    places: Places::Table { first: 0 },
};

pub(super) const BLENDERBOT: Family = Family {
    classes: [("BlenderbotForConditionalGeneration", Head::ConditionalGeneration), ("BlenderbotModel", Head::Base)],
    ..PEGASUS
};

pub(super) const MARIAN: Family = Family {
    classes: [("MarianMTModel", Head::ConditionalGeneration), ("MarianModel", Head::Base)],
    normed: false,
    places: Places::Waves,
    ..BART
};

pub(super) const M2M_100: Family = Family {
    classes: [("M2M100ForConditionalGeneration", Head::ConditionalGeneration), ("M2M100Model", Head::Base)],
    places: Places::CountedWaves,
    ..PEGASUS
};

const WHISPER: Family = Family {
    classes: [("WhisperForConditionalGeneration", Head::ConditionalGeneration), ("WhisperModel", Head::Base)],
    ..PEGASUS
};

/// One of the two sides.
struct Side<'f, 'c> {
    family: &'f Family,
    path: String,
    stack: Stack<'c>,
    layers: usize,
    /// Where the vectors of words are kept, and how many there are.
    words: (&'f str, usize),
    scale: f64,
    length: usize,
}

impl Side<'_, '_> {
    /// The stream of tokens before the layers.
    fn embedded(&self, sketch: &mut Sketch<'_>, config: &Config, tokens: ValueId) -> Result<ValueId, HfError> {
        let Self { ref path, stack: Stack { width, .. }, length, .. } = *self;
        let (table, words) = self.words;
        let x = sketch.embed(table, [words, width], tokens)?;
        let mut x = sketch.times(x, self.scale);
        let positions = sketch.positions(tokens);
        let table = format!("{path}embed_positions.weight");
        let places = match self.family.places {
            Places::Table { first } => {
                let positions = match first {
                    0 => positions,
                    first => {
                        let first = sketch.integer(first as i64);
                        sketch.b.add(positions, first)
                    }
                };
                sketch.embed(&table, [length + first, width], positions)?
            }
            Places::Waves if sketch.contains(&table) => sketch.embed(&table, [length, width], positions)?,
            Places::Waves => sketch.waved(positions, waves(length, width), width),
            Places::CountedWaves => {
                let padding = config.token("pad_token_id")?.unwrap_or(1);
                let positions = counted(sketch, tokens, padding);
                let rows = counted_waves(length + 2, width, padding);
                sketch.waved(positions, rows, width)
            }
        };
        x = sketch.b.add(x, places);
        if self.family.normed {
            x = sketch.norm(x, &format!("{path}layernorm_embedding"), width, NORM)?;
        }
        Ok(x)
    }

    /// What the layers make of the stream.
    fn draw(
        &self,
        sketch: &mut Sketch<'_>,
        mut x: ValueId,
        mask: Option<ValueId>,
        memory: Option<Memory>,
    ) -> Result<ValueId, HfError> {
        for layer in 0..self.layers {
            let positions = Positions { mask, ..Positions::default() };
            x = sketch.layer(x, &format!("{}layers.{layer}.", self.path), &self.stack, positions, memory)?;
        }
        match self.family.order {
            Order::Before => sketch.norm(x, &format!("{}layer_norm", self.path), self.stack.width, NORM),
            _ => Ok(x),
        }
    }
}

impl Sketch<'_> {
    /// The rows of a table that is no weight.
    fn waved(&mut self, positions: ValueId, rows: Vec<f32>, width: usize) -> ValueId {
        let table = self.b.constant(Tensor::from_f32(&[rows.len() / width, width], rows));
        self.b.node(otfuse_graph::Operator::Gather { axis: 0 }, &[table, positions])
    }
}

/// Sines of a position, then cosines.
fn waves(length: usize, width: usize) -> Vec<f32> {
    let sines = width.div_ceil(2);
    let angle = |place: usize, pair: usize| place as f64 / 10_000_f64.powf(2.0 * pair as f64 / width as f64);
    let row = |place: usize| {
        let sines = (0..sines).map(move |pair| angle(place, pair).sin() as f32);
        sines.chain((0..width / 2).map(move |pair| angle(place, pair).cos() as f32))
    };
    (0..length).flat_map(row).collect()
}

/// The same with the frequencies of other models, and zeros for padding.
fn counted_waves(length: usize, width: usize, padding: i64) -> Vec<f32> {
    let half = width / 2;
    let step = 10_000_f64.ln() / half.saturating_sub(1).max(1) as f64;
    let angle = |place: usize, pair: usize| place as f32 * ((pair as f32) * -(step as f32)).exp();
    let row = |place: usize| {
        (0..width).map(move |channel| match channel {
            _ if usize::try_from(padding) == Ok(place) => 0.0,
            channel if channel < half => angle(place, channel).sin(),
            channel if channel < 2 * half => angle(place, channel - half).cos(),
            _ => 0.0,
        })
    };
    (0..length).flat_map(row).collect()
}

fn side<'f, 'c>(
    config: &'c Config,
    family: &'f Family,
    (prefix, side): (&str, &str),
    words: (&'f str, usize),
) -> Result<Side<'f, 'c>, HfError> {
    let width = config.size("d_model")?;
    let field = format!("{side}_attention_heads");
    let heads = config.size(&field)?;
    let head_width = head_width(width, heads, &field)?;
    let cross = (side == "decoder").then_some((CROSS_ATTENTION, "encoder_attn_layer_norm"));
    let stack = Stack {
        names: LayerNames { cross, ..LAYER },
        norm: NORM,
        order: family.order,
        width,
        inner: config.size(&format!("{side}_ffn_dim"))?,
        heads,
        key_heads: heads,
        head_width,
        scale: 1.0 / (head_width as f64).sqrt(),
        activation: activation_name(config, "activation_function", "gelu")?,
        activation_field: "activation_function",
        projections: Linear::BIASED,
        output: Linear::BIASED,
        mlp: Linear::BIASED,
        more: More::NOTHING,
    };
    let scaled = config.flag("scale_embedding", false)?;
    Ok(Side {
        family,
        path: format!("{prefix}{side}."),
        stack,
        layers: config.size(&format!("{side}_layers"))?,
        words,
        scale: if scaled { (width as f64).sqrt() } else { 1.0 },
        length: config.optional_size("max_position_embeddings")?.unwrap_or(1024),
    })
}

/// Draws an encoder and a decoder of texts.
pub(super) fn draw(sketch: &mut Sketch<'_>, config: &Config, family: &Family) -> Result<(), HfError> {
    config.require("share_encoder_decoder_embeddings", &json!(true))?;
    let head = Head::of(config, &family.classes)?;
    let prefix = match sketch.dict.iter().any(|(name, _)| name.starts_with("model.")) || head != Head::Base {
        true => "model.",
        false => "",
    };
    let embeddings = shared(sketch, prefix);
    let words = (embeddings.as_str(), config.size("vocab_size")?);
    let tokens = sketch.tokens("input_ids", "sequence");
    let attention_mask = sketch.tokens("attention_mask", "sequence");
    let attended = sketch.attended(attention_mask);
    let mask = sketch.mask(attended);
    let encoder = side(config, family, (prefix, "encoder"), words)?;
    let x = encoder.embedded(sketch, config, tokens)?;
    let encoded = encoder.draw(sketch, x, Some(mask), None)?;
    let memory = (encoded, Positions { mask: Some(mask), ..Positions::default() });
    let decoder = side(config, family, (prefix, "decoder"), words)?;
    decode(sketch, config, (head, "lm_head"), &decoder, memory)
}

/// Draws Whisper, whose encoder reads spectra of sounds.
pub(super) fn draw_whisper(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let head = Head::of(config, &WHISPER.classes)?;
    let prefix = sketch.prefix("model.", "encoder.conv1.weight");
    let embeddings = format!("{prefix}decoder.embed_tokens.weight");
    let words = (embeddings.as_str(), config.size("vocab_size")?);
    let width = config.size("d_model")?;
    let channels = config.optional_size("num_mel_bins")?.unwrap_or(80);
    let length = config.optional_size("max_source_positions")?.unwrap_or(1500);
    let shape = vec![Dim::symbol("batch"), channels.into(), (2 * length).into()];
    let mut x = sketch.b.input_of("input_features", DataType::F32, shape);
    for (name, inputs, stride) in [("conv1", channels, 1), ("conv2", width, 2)] {
        let weight = sketch.weight(&format!("{prefix}encoder.{name}.weight"), &[width, inputs, 3])?;
        let bias = sketch.weight(&format!("{prefix}encoder.{name}.bias"), &[width])?;
        let conv = Conv { groups: 1, window: Window::uniform(1, stride, 1) };
        x = sketch.b.conv(x, weight, Some(bias), conv);
        x = sketch.activation(x, "gelu", "activation_function")?;
    }
    let x = sketch.transpose(x, &[0, 2, 1]);
    let places = sketch.weight(&format!("{prefix}encoder.embed_positions.weight"), &[length, width])?;
    let x = sketch.b.add(x, places);
    // Keys have no biases.
    let encoder = side(config, &WHISPER, (prefix, "encoder"), words)?;
    let encoder = Side { stack: Stack { projections: Linear::OPEN, ..encoder.stack }, ..encoder };
    let encoded = encoder.draw(sketch, x, None, None)?;
    let decoder = side(config, &WHISPER, (prefix, "decoder"), words)?;
    let decoder = Side {
        stack: Stack { projections: Linear::OPEN, ..decoder.stack },
        length: config.optional_size("max_target_positions")?.unwrap_or(448),
        ..decoder
    };
    decode(sketch, config, (head, "proj_out"), &decoder, (encoded, Positions::default()))
}

/// The name under which the shared vectors of words are kept; the copies are tied to it.
fn shared(sketch: &mut Sketch<'_>, prefix: &str) -> String {
    let names = ["shared", "encoder.embed_tokens", "decoder.embed_tokens"].map(|name| format!("{prefix}{name}.weight"));
    let kept = names.iter().find(|name| sketch.contains(name)).unwrap_or(&names[0]).clone();
    for name in names.iter().filter(|name| **name != kept) {
        sketch.tie(name, &kept);
    }
    kept
}

/// The decoder and what stands behind it.
fn decode(
    sketch: &mut Sketch<'_>,
    config: &Config,
    (head, projection): (Head, &str),
    side: &Side<'_, '_>,
    memory: Memory,
) -> Result<(), HfError> {
    let tokens = sketch.tokens("decoder_input_ids", "decoder_sequence");
    let positions = sketch.positions(tokens);
    let causal = sketch.causal(positions, None);
    let causal = sketch.unsqueeze(causal, &[0, 1]);
    let mask = sketch.mask(causal);
    let x = side.embedded(sketch, config, tokens)?;
    let x = side.draw(sketch, x, Some(mask), Some(memory))?;
    if head == Head::Base {
        sketch.output(x, "last_hidden_state");
        sketch.output(memory.0, "encoder_last_hidden_state");
        return Ok(());
    }
    let (embeddings, words) = side.words;
    let vocabulary = Vocabulary { embeddings, projection, bias: None, words, width: side.stack.width };
    let mut logits = sketch.scores(x, config, &vocabulary)?;
    if sketch.contains("final_logits_bias") {
        let bias = sketch.weight("final_logits_bias", &[1, words])?;
        logits = sketch.b.add(logits, bias);
    }
    sketch.output(logits, "logits");
    Ok(())
}
