//! BERT and what follows it: encoders of text that normalise behind each block.

mod deberta;
mod heads;
mod modern;

use otfuse_graph::{Binary, DataType, Operator, Unary, ValueId};
use serde_json::json;

pub(super) use self::deberta::{Distances, draw as draw_deberta};
use self::heads::{HeadNames, MaskedNames, SequenceHead, Sizes, first_through_named};
pub(super) use self::modern::draw as draw_modern;
use super::HfError;
use super::blocks::{AttentionNames, Gate, LayerNames, MlpNames, More, Norm, Order, Positions, Stack};
use super::config::Config;
use super::head::Head;
use super::sketch::{Linear, Sketch, activation_name};
use super::t5::RelativeBias;

/// What the families of encoders differ in.
pub(super) struct Family {
    classes: &'static [(&'static str, Head)],
    /// What stands before the names of the encoder's weights where there is a head.
    prefix: &'static str,
    /// The path of the layers, and the names in one.
    layers: (&'static str, LayerNames),
    fields: Fields,
    heads: HeadNames,
    /// Whether there are token types.
    types: bool,
    /// Whether positions are counted from the first token that is no padding.
    counts_tokens: bool,
    /// What maps narrower embeddings to the stream.
    narrow: Option<Narrow>,
    /// Whether layers are shared by groups, as ALBERT's are.
    groups: bool,
    /// A table of what each head adds for distances.
    distances: Option<&'static str>,
}

/// A layer between embeddings and the stream.
struct Narrow {
    path: &'static str,
    /// Whether it is there even where both have one width.
    always: bool,
}

/// The names of the settings.
struct Fields {
    width: &'static str,
    inner: &'static str,
    layers: &'static str,
    heads: &'static str,
    activation: &'static str,
}

const BERT_FIELDS: Fields = Fields {
    width: "hidden_size",
    inner: "intermediate_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    activation: "hidden_act",
};

const BERT_LAYER: LayerNames = LayerNames {
    attention: AttentionNames {
        query: "attention.self.query",
        key: "attention.self.key",
        value: "attention.self.value",
        output: "attention.output.dense",
        packed: None,
        norms: None,
    },
    attention_norm: "attention.output.LayerNorm",
    cross: None,
    mlp: MlpNames { gate: Gate::No, up: "intermediate.dense", down: "output.dense" },
    mlp_norm: "output.LayerNorm",
};

pub(super) const BERT: Family = Family {
    classes: &[
        ("BertModel", Head::Base),
        ("BertForMaskedLM", Head::MaskedLanguage),
        ("BertForSequenceClassification", Head::SequenceClassification),
        ("BertForTokenClassification", Head::TokenClassification),
    ],
    prefix: "bert.",
    layers: ("encoder.layer", BERT_LAYER),
    fields: BERT_FIELDS,
    heads: HeadNames {
        masked: MaskedNames {
            dense: "cls.predictions.transform.dense",
            norm: "cls.predictions.transform.LayerNorm",
            projection: "cls.predictions.decoder",
            bias: "cls.predictions.bias",
            activation: None,
        },
        sequence: SequenceHead::Pooled,
        pooler: "pooler.dense",
    },
    types: true,
    counts_tokens: false,
    narrow: None,
    groups: false,
    distances: None,
};

pub(super) const ROBERTA: Family = Family {
    classes: &[
        ("RobertaModel", Head::Base),
        ("RobertaForMaskedLM", Head::MaskedLanguage),
        ("RobertaForSequenceClassification", Head::SequenceClassification),
        ("RobertaForTokenClassification", Head::TokenClassification),
    ],
    prefix: "roberta.",
    heads: HeadNames {
        masked: MaskedNames {
            dense: "lm_head.dense",
            norm: "lm_head.layer_norm",
            projection: "lm_head.decoder",
            bias: "lm_head.bias",
            activation: Some("gelu"),
        },
        sequence: SequenceHead::Hidden {
            dense: "classifier.dense",
            activation: Unary::Tanh,
            projection: "classifier.out_proj",
        },
        pooler: "pooler.dense",
    },
    counts_tokens: true,
    ..BERT
};

pub(super) const DISTILBERT: Family = Family {
    classes: &[
        ("DistilBertModel", Head::Base),
        ("DistilBertForMaskedLM", Head::MaskedLanguage),
        ("DistilBertForSequenceClassification", Head::SequenceClassification),
        ("DistilBertForTokenClassification", Head::TokenClassification),
    ],
    prefix: "distilbert.",
    layers: (
        "transformer.layer",
        LayerNames {
            attention: AttentionNames::separate([
                "attention.q_lin",
                "attention.k_lin",
                "attention.v_lin",
                "attention.out_lin",
            ]),
            attention_norm: "sa_layer_norm",
            cross: None,
            mlp: MlpNames { gate: Gate::No, up: "ffn.lin1", down: "ffn.lin2" },
            mlp_norm: "output_layer_norm",
        },
    ),
    fields: Fields {
        width: "dim",
        inner: "hidden_dim",
        layers: "n_layers",
        heads: "n_heads",
        activation: "activation",
    },
    heads: HeadNames {
        masked: MaskedNames {
            dense: "vocab_transform",
            norm: "vocab_layer_norm",
            projection: "vocab_projector",
            bias: "vocab_projector.bias",
            activation: None,
        },
        sequence: SequenceHead::Hidden { dense: "pre_classifier", activation: Unary::Relu, projection: "classifier" },
        pooler: "pooler.dense",
    },
    types: false,
    ..BERT
};

pub(super) const XLM_ROBERTA: Family = Family {
    classes: &[
        ("XLMRobertaModel", Head::Base),
        ("XLMRobertaForMaskedLM", Head::MaskedLanguage),
        ("XLMRobertaForSequenceClassification", Head::SequenceClassification),
        ("XLMRobertaForTokenClassification", Head::TokenClassification),
    ],
    ..ROBERTA
};

pub(super) const CAMEMBERT: Family = Family {
    classes: &[
        ("CamembertModel", Head::Base),
        ("CamembertForMaskedLM", Head::MaskedLanguage),
        ("CamembertForSequenceClassification", Head::SequenceClassification),
        ("CamembertForTokenClassification", Head::TokenClassification),
    ],
    ..ROBERTA
};

pub(super) const ERNIE: Family = Family {
    classes: &[
        ("ErnieModel", Head::Base),
        ("ErnieForMaskedLM", Head::MaskedLanguage),
        ("ErnieForSequenceClassification", Head::SequenceClassification),
        ("ErnieForTokenClassification", Head::TokenClassification),
    ],
    prefix: "ernie.",
    ..BERT
};

pub(super) const ELECTRA: Family = Family {
    classes: &[
        ("ElectraModel", Head::Base),
        ("ElectraForMaskedLM", Head::MaskedLanguage),
        ("ElectraForPreTraining", Head::Discrimination),
        ("ElectraForSequenceClassification", Head::SequenceClassification),
        ("ElectraForTokenClassification", Head::TokenClassification),
    ],
    prefix: "electra.",
    heads: HeadNames {
        masked: MaskedNames {
            dense: "generator_predictions.dense",
            norm: "generator_predictions.LayerNorm",
            projection: "generator_lm_head",
            bias: "generator_lm_head.bias",
            activation: Some("gelu"),
        },
        sequence: SequenceHead::Hidden {
            dense: "classifier.dense",
            activation: Unary::Gelu { tanh: false },
            projection: "classifier.out_proj",
        },
        pooler: "pooler.dense",
    },
    narrow: Some(Narrow { path: "embeddings_project", always: false }),
    ..BERT
};

pub(super) const ALBERT: Family = Family {
    classes: &[
        ("AlbertModel", Head::Base),
        ("AlbertForMaskedLM", Head::MaskedLanguage),
        ("AlbertForSequenceClassification", Head::SequenceClassification),
        ("AlbertForTokenClassification", Head::TokenClassification),
    ],
    prefix: "albert.",
    layers: (
        "encoder.albert_layer_groups",
        LayerNames {
            attention: AttentionNames::separate([
                "attention.query",
                "attention.key",
                "attention.value",
                "attention.dense",
            ]),
            attention_norm: "attention.LayerNorm",
            cross: None,
            mlp: MlpNames { gate: Gate::No, up: "ffn", down: "ffn_output" },
            mlp_norm: "full_layer_layer_norm",
        },
    ),
    heads: HeadNames {
        masked: MaskedNames {
            dense: "predictions.dense",
            norm: "predictions.LayerNorm",
            projection: "predictions.decoder",
            bias: "predictions.bias",
            activation: None,
        },
        sequence: SequenceHead::Pooled,
        pooler: "pooler",
    },
    narrow: Some(Narrow { path: "encoder.embedding_hidden_mapping_in", always: true }),
    groups: true,
    ..BERT
};

pub(super) const MPNET: Family = Family {
    classes: &[
        ("MPNetModel", Head::Base),
        ("MPNetForMaskedLM", Head::MaskedLanguage),
        ("MPNetForSequenceClassification", Head::SequenceClassification),
        ("MPNetForTokenClassification", Head::TokenClassification),
    ],
    prefix: "mpnet.",
    layers: (
        "encoder.layer",
        LayerNames {
            attention: AttentionNames::separate([
                "attention.attn.q",
                "attention.attn.k",
                "attention.attn.v",
                "attention.attn.o",
            ]),
            attention_norm: "attention.LayerNorm",
            ..BERT_LAYER
        },
    ),
    types: false,
    distances: Some("encoder.relative_attention_bias.weight"),
    ..ROBERTA
};

/// Draws a network of a family of encoders.
pub(super) fn draw(sketch: &mut Sketch<'_>, config: &Config, family: &Family) -> Result<(), HfError> {
    for (field, expected) in [
        ("is_decoder", json!(false)),
        ("add_cross_attention", json!(false)),
        ("position_embedding_type", json!("absolute")),
        ("use_task_id", json!(false)),
    ] {
        config.require(field, &expected)?;
    }
    config.refuse("pruned_heads")?;
    let head = Head::of(config, family.classes)?;
    let Fields { width, inner, layers, heads, activation } = family.fields;
    let (width, heads) = (config.size(width)?, config.size(heads)?);
    let stack = Stack {
        names: family.layers.1,
        norm: Norm::Layer(config.number("layer_norm_eps", 1e-12)?),
        order: Order::Behind,
        width,
        inner: config.size(inner)?,
        heads,
        key_heads: heads,
        head_width: head_width(width, heads, family.fields.heads)?,
        scale: 1.0 / ((width / heads) as f64).sqrt(),
        activation: activation_name(config, activation, "gelu")?,
        activation_field: activation,
        projections: Linear::BIASED,
        output: Linear::BIASED,
        mlp: Linear::BIASED,
        more: More::NOTHING,
    };
    let prefix = sketch.prefix(family.prefix, "embeddings.word_embeddings.weight");
    let epsilon = config.number("layer_norm_eps", 1e-12)?;
    let embedded = match &family.narrow {
        Some(_) => config.optional_size("embedding_size")?.unwrap_or(128),
        None => width,
    };
    let sizes = Sizes {
        width,
        embedded,
        words: config.size("vocab_size")?,
        epsilon,
        activation: stack.activation,
        activation_field: activation,
        prefix,
    };

    let tokens = sketch.tokens("input_ids", "sequence");
    let attention_mask = sketch.tokens("attention_mask", "sequence");
    let mut x = embeddings(sketch, config, family, &sizes, tokens)?;
    if let Some(Narrow { path, always }) = family.narrow
        && (always || embedded != width)
    {
        x = sketch.linear(x, &format!("{prefix}{path}"), [width, embedded], Linear::BIASED)?;
    }
    let bias = match family.distances {
        Some(table) => Some(distances(sketch, &format!("{prefix}{table}"), heads, tokens)?),
        None => None,
    };
    let attended = sketch.attended(attention_mask);
    let positions = Positions { mask: Some(sketch.mask(attended)), bias, ..Positions::default() };
    for path in layer_paths(config, family, config.size(layers)?)? {
        x = sketch.layer(x, &format!("{prefix}{path}"), &stack, positions, None)?;
    }
    family.heads.draw(sketch, config, head, &sizes, x)
}

/// What each head adds for distances, in MPNet's 32 buckets, whatever the settings say.
fn distances(sketch: &mut Sketch<'_>, table: &str, heads: usize, tokens: ValueId) -> Result<ValueId, HfError> {
    let bias = RelativeBias { buckets: 32, farthest: 128, heads, both_ways: true };
    bias.draw(sketch, table, tokens)
}

/// Where the weights of each layer are kept; layers of a group share them.
fn layer_paths(config: &Config, family: &Family, layers: usize) -> Result<Vec<String>, HfError> {
    let path = family.layers.0;
    if !family.groups {
        return Ok((0..layers).map(|layer| format!("{path}.{layer}.")).collect());
    }
    let groups = config.optional_size("num_hidden_groups")?.unwrap_or(1);
    let inner = config.optional_size("inner_group_num")?.unwrap_or(1);
    let of_group = |layer: usize| {
        let group = (layer as f64 / (layers as f64 / groups as f64)) as usize;
        (0..inner).map(move |inner| format!("{path}.{group}.albert_layers.{inner}."))
    };
    Ok((0..layers).flat_map(of_group).collect())
}

/// The width of a head, which must go into the stream's evenly.
pub(super) fn head_width(width: usize, heads: usize, field: &str) -> Result<usize, HfError> {
    if width.is_multiple_of(heads) {
        return Ok(width / heads);
    }
    let (expected, found) = (format!("a divisor of the width {width}"), heads.to_string());
    Err(HfError::Config { field: field.into(), expected, found })
}

fn embeddings(
    sketch: &mut Sketch<'_>,
    config: &Config,
    family: &Family,
    sizes: &Sizes<'_>,
    tokens: ValueId,
) -> Result<ValueId, HfError> {
    let Sizes { embedded: width, words, prefix, .. } = *sizes;
    let path = format!("{prefix}embeddings");
    let mut x = sketch.embed(&format!("{path}.word_embeddings.weight"), [words, width], tokens)?;
    if family.types {
        let types = sketch.zeros_like(tokens);
        let table = [config.optional_size("type_vocab_size")?.unwrap_or(2), width];
        let types = sketch.embed(&format!("{path}.token_type_embeddings.weight"), table, types)?;
        x = sketch.b.add(x, types);
    }
    let places = if family.counts_tokens {
        let padding = config.token("pad_token_id")?.unwrap_or(1);
        counted(sketch, tokens, padding)
    } else {
        sketch.positions(tokens)
    };
    let table = [config.optional_size("max_position_embeddings")?.unwrap_or(512), width];
    let places = sketch.embed(&format!("{path}.position_embeddings.weight"), table, places)?;
    x = sketch.b.add(x, places);
    sketch.layer_norm(x, &format!("{path}.LayerNorm"), width, sizes.epsilon)
}

/// Positions that count tokens without padding from `padding + 1` on; padding is at `padding`.
pub(super) fn counted(sketch: &mut Sketch<'_>, tokens: ValueId, padding: i64) -> ValueId {
    let padding = sketch.integer(padding);
    let is_padding = sketch.binary(Binary::Equal, tokens, padding);
    let is_token = sketch.unary(Unary::Not, is_padding);
    let is_token = sketch.cast(is_token, DataType::F32);
    let positions = sketch.positions(tokens);
    let (earlier, later) = (sketch.unsqueeze(positions, &[1]), sketch.unsqueeze(positions, &[0]));
    let upto = sketch.binary(Binary::LessOrEqual, earlier, later);
    let upto = sketch.cast(upto, DataType::F32);
    let count = sketch.b.node(Operator::MatMul, &[is_token, upto]);
    let count = sketch.binary(Binary::Mul, count, is_token);
    let count = sketch.cast(count, DataType::I64);
    sketch.b.add(count, padding)
}
