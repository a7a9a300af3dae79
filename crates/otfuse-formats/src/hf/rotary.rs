//! Frequencies of rotary position embeddings.

use std::f64::consts::TAU;

use serde_json::{Map, Value};

use super::HfError;
use super::config::{Config, unfit};

/// The angle per position of each pair of a head's channels, rounded to float32 after each step as `transformers` does.
pub(super) fn frequencies(config: &Config, head_width: usize) -> Result<Vec<f32>, HfError> {
    if !head_width.is_multiple_of(2) {
        return Err(unfit("head_dim", "an even number", &head_width.into()));
    }
    let field = if config.get("rope_parameters").is_some() { "rope_parameters" } else { "rope_scaling" };
    let empty = Map::new();
    let settings = match config.get(field) {
        None => &empty,
        Some(Value::Object(settings)) => settings,
        Some(other) => return Err(unfit(field, "an object", other)),
    };
    let number = |key: &str| -> Result<Option<f64>, HfError> {
        let found = settings.get(key).or_else(|| config.get(key)).filter(|value| !value.is_null());
        let number = |value: &Value| value.as_f64().ok_or_else(|| unfit(&format!("{field}.{key}"), "a number", value));
        found.map(number).transpose()
    };
    let needed = |key: &str| number(key)?.ok_or_else(|| unfit(&format!("{field}.{key}"), "a number", &Value::Null));
    if let Some(share) = number("partial_rotary_factor")?.filter(|&share| share != 1.0) {
        return Err(unfit("partial_rotary_factor", "1", &share.into()));
    }
    let theta = number("rope_theta")?.unwrap_or(10_000.0);
    let plain: Vec<f32> = (0..head_width / 2)
        .map(|pair| {
            let exponent = (2 * pair) as f32 / head_width as f32;
            1.0 / (theta as f32).powf(exponent)
        })
        .collect();
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
            let length = match number("original_max_position_embeddings")? {
                Some(length) => length,
                None => needed("max_position_embeddings")?,
            };
            let factor = needed("factor")?;
            Ok(plain.into_iter().map(|frequency| llama3(frequency, [factor, low, high, length])).collect())
        }
        other => Err(unfit(&format!("{field}.rope_type"), "default, linear or llama3", other)),
    }
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
