//! Frequencies of rotary position embeddings.

use std::f64::consts::TAU;

use serde_json::{Map, Value};

use super::HfError;
use super::config::{Config, unfit};

/// Where a family keeps what rotations need.
#[derive(Clone, Copy)]
pub(super) struct Rope<'n> {
    /// The kind of layer, where the settings have one object for each.
    pub kind: Option<&'n str>,
    /// The setting of the base of the frequencies, and its default.
    pub theta_field: &'n str,
    pub theta: f64,
    /// The setting of the share of a head's channels that is rotated, and its default.
    pub share_field: &'n str,
    pub share: f64,
    /// Whether the old object `rope_scaling` is of other layers.
    pub is_unscaled: bool,
}

impl Rope<'_> {
    pub const PLAIN: Self = Self {
        kind: None,
        theta_field: "rope_theta",
        theta: 10_000.0,
        share_field: "partial_rotary_factor",
        share: 1.0,
        is_unscaled: false,
    };
}

/// The angle per position of each rotated pair of a head's channels, rounded to float32 after each step as
/// `transformers` does.
pub(super) fn frequencies(config: &Config, head_width: usize, rope: &Rope<'_>) -> Result<Vec<f32>, HfError> {
    let field = if config.get("rope_parameters").is_some() { "rope_parameters" } else { "rope_scaling" };
    let empty = Map::new();
    let mut settings = match config.get(field) {
        None => &empty,
        Some(Value::Object(settings)) => settings,
        Some(other) => return Err(unfit(field, "an object", other)),
    };
    if let Some(Value::Object(own)) = rope.kind.and_then(|kind| settings.get(kind)) {
        settings = own;
    } else if rope.is_unscaled {
        settings = &empty;
    }
    let number = |key: &str, old: &str| -> Result<Option<f64>, HfError> {
        let found = settings.get(key).or_else(|| config.get(old)).filter(|value| !value.is_null());
        let number = |value: &Value| value.as_f64().ok_or_else(|| unfit(&format!("{field}.{key}"), "a number", value));
        found.map(number).transpose()
    };
    let needed =
        |key: &str| number(key, key)?.ok_or_else(|| unfit(&format!("{field}.{key}"), "a number", &Value::Null));
    let share = number("partial_rotary_factor", rope.share_field)?.unwrap_or(rope.share);
    let channels = (head_width as f64 * share) as usize;
    if !channels.is_multiple_of(2) || channels == 0 || channels > head_width {
        return Err(unfit("head_dim", "an even number of rotated channels", &channels.into()));
    }
    let theta = number("rope_theta", rope.theta_field)?.unwrap_or(rope.theta);
    let plain = geometric(channels, theta);
    let kind = settings.get("rope_type").or_else(|| settings.get("type"));
    match kind.unwrap_or(&Value::Null) {
        Value::Null => Ok(plain),
        Value::String(kind) if kind == "default" => Ok(plain),
        Value::String(kind) if kind == "linear" => {
            let factor = needed("factor")? as f32;
            Ok(plain.into_iter().map(|frequency| frequency / factor).collect())
        }
        Value::String(kind) if kind == "llama3" => {
            let low = needed("low_freq_factor")?;
            let high = needed("high_freq_factor")?;
            let length = match number("original_max_position_embeddings", "original_max_position_embeddings")? {
                Some(length) => length,
                None => needed("max_position_embeddings")?,
            };
            let factor = needed("factor")?;
            Ok(plain.into_iter().map(|frequency| llama3(frequency, [factor, low, high, length])).collect())
        }
        other => Err(unfit(&format!("{field}.rope_type"), "default, linear or llama3", other)),
    }
}

/// Frequencies from 1 on, each smaller by the same factor.
pub(super) fn geometric(channels: usize, theta: f64) -> Vec<f32> {
    let frequency = |pair| {
        let exponent = (2 * pair) as f32 / channels as f32;
        1.0 / (theta as f32).powf(exponent)
    };
    (0..channels / 2).map(frequency).collect()
}

/// Long waves are stretched by `factor`, short ones kept, those between blended.
fn llama3(frequency: f32, [factor, low, high, length]: [f64; 4]) -> f32 {
    let wave = (TAU as f32) / frequency;
    let (longest, shortest) = ((length / low) as f32, (length / high) as f32);
    if wave > longest {
        return frequency / factor as f32;
    }
    if wave < shortest {
        return frequency;
    }
    let smooth = (length as f32 / wave - low as f32) / (high - low) as f32;
    (1.0 - smooth) * frequency / factor as f32 + smooth * frequency
}
