//! Writes a Hugging Face folder with a Llama of any shape and random weights, to measure time and memory with.
//!
//!     cargo run --release --example synthetic_llama -- FOLDER --seed 1 --bytes 2147483648 --type bf16 --shards 1
//!
//! The shape is that of TinyLlama 1.1B unless options say otherwise (`--hidden 2048 --heads 32 --kv-heads 4 --ffn 5632
//! --vocab 32000 --layers 22 --tied false`); `--bytes` takes as many layers as fit. Weights are written as they are drawn:
//! one tensor is in memory at a time.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use otfuse::graph::{DataType, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::{Map, Value, json};

/// A weight: its name, its shape, and its mean; scales of normalisations are near 1, all else near 0.
type Weight = (String, Vec<usize>, f32);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("expected the folder to write")?;
    let mut options: BTreeMap<String, String> = BTreeMap::new();
    while let Some(name) = arguments.next() {
        let name = name.strip_prefix("--").ok_or_else(|| format!("expected an option, found '{name}'"))?.to_owned();
        let value = arguments.next().ok_or_else(|| format!("--{name}: expected a value"))?;
        options.insert(name, value);
    }
    let mut number = |name: &str, default: usize| -> Result<usize, Box<dyn Error>> {
        options
            .remove(name)
            .map_or(Ok(default), |text| text.parse().map_err(|error| format!("--{name}: {error}").into()))
    };
    let (hidden, heads, kv_heads) = (number("hidden", 2048)?, number("heads", 32)?, number("kv-heads", 4)?);
    let (ffn, vocabulary, mut layers) = (number("ffn", 5632)?, number("vocab", 32000)?, number("layers", 22)?);
    let (seed, shards, bytes) = (number("seed", 0)?, number("shards", 1)?, number("bytes", 0)?);
    let tied = options.remove("tied").is_some_and(|text| text == "true");
    let name = options.remove("type").unwrap_or_else(|| "bf16".into());
    if let Some((name, _)) = options.first_key_value() {
        return Err(format!("--{name}: no such option").into());
    }
    let (data_type, code, torch) = match name.as_str() {
        "bf16" => (DataType::BF16, "BF16", "bfloat16"),
        "f16" => (DataType::F16, "F16", "float16"),
        "f32" => (DataType::F32, "F32", "float32"),
        other => return Err(format!("--type: expected bf16, f16 or f32, found '{other}'").into()),
    };

    let width = hidden / heads;
    let (queries, keys) = (heads * width, kv_heads * width);
    let size = |weights: &[Weight]| weights.iter().map(|(_, shape, _)| shape.iter().product::<usize>()).sum::<usize>();
    let layer = |index: usize| -> Vec<Weight> {
        let weight =
            |name: &str, shape: &[usize], mean| (format!("model.layers.{index}.{name}.weight"), shape.to_vec(), mean);
        vec![
            weight("input_layernorm", &[hidden], 1.0),
            weight("self_attn.q_proj", &[queries, hidden], 0.0),
            weight("self_attn.k_proj", &[keys, hidden], 0.0),
            weight("self_attn.v_proj", &[keys, hidden], 0.0),
            weight("self_attn.o_proj", &[hidden, queries], 0.0),
            weight("post_attention_layernorm", &[hidden], 1.0),
            weight("mlp.gate_proj", &[ffn, hidden], 0.0),
            weight("mlp.up_proj", &[ffn, hidden], 0.0),
            weight("mlp.down_proj", &[hidden, ffn], 0.0),
        ]
    };
    let mut ends = vec![("model.norm.weight".to_owned(), vec![hidden], 1.0)];
    ends.push(("model.embed_tokens.weight".to_owned(), vec![vocabulary, hidden], 0.0));
    if !tied {
        ends.push(("lm_head.weight".to_owned(), vec![vocabulary, hidden], 0.0));
    }
    if bytes > 0 {
        layers = (bytes / data_type.size()).saturating_sub(size(&ends)).div_ceil(size(&layer(0)).max(1)).max(1);
    }
    let weights: Vec<Weight> = ends.into_iter().chain((0..layers).flat_map(layer)).collect();

    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "intermediate_size": ffn, "vocab_size": vocabulary,
        "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 2048,
        "tie_word_embeddings": tied, "torch_dtype": torch,
    });
    fs::write(folder.join("config.json"), serde_json::to_vec_pretty(&config)?)?;

    let mut random = ChaCha8Rng::seed_from_u64(seed as u64);
    let per_shard = weights.len().div_ceil(shards.max(1));
    let mut places = Map::new();
    for (index, part) in weights.chunks(per_shard).enumerate() {
        let file = match shards > 1 {
            true => format!("model-{:05}-of-{:05}.safetensors", index + 1, weights.len().div_ceil(per_shard)),
            false => "model.safetensors".into(),
        };
        part.iter().for_each(|(name, _, _)| drop(places.insert(name.clone(), Value::from(file.as_str()))));
        write(&folder.join(&file), part, data_type, code, &mut random)?;
    }
    let total = size(&weights) * data_type.size();
    if shards > 1 {
        let index = json!({ "metadata": { "total_size": total }, "weight_map": places });
        fs::write(folder.join("model.safetensors.index.json"), serde_json::to_vec_pretty(&index)?)?;
    }
    println!("{layers} layers, {} parameters, {:.2} GiB", size(&weights), total as f64 / f64::from(1 << 30));
    Ok(())
}

/// A safetensors file of normal numbers with a standard deviation of 0.02.
fn write(
    path: &Path,
    weights: &[Weight],
    data_type: DataType,
    code: &str,
    random: &mut ChaCha8Rng,
) -> Result<(), Box<dyn Error>> {
    let mut offset = 0;
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    for (name, shape, _) in weights {
        let end = offset + shape.iter().product::<usize>() * data_type.size();
        header.insert(name.clone(), json!({ "dtype": code, "shape": shape, "data_offsets": [offset, end] }));
        offset = end;
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for (_, shape, mean) in weights {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| mean + 0.02 * normal(random)).collect();
        file.write_all(Tensor::from_f32_as(data_type, shape, values).bytes())?;
    }
    Ok(file.flush()?)
}

/// A nearly normal number: the sum of twelve uniform ones.
fn normal(random: &mut ChaCha8Rng) -> f32 {
    let mut sum = 0.0;
    for _ in 0..3 {
        let bits = random.next_u64();
        sum += (0..4).map(|part| f32::from((bits >> (16 * part)) as u16)).sum::<f32>();
    }
    sum / 65536.0 - 6.0
}
