//! Tiny transformers of every family, as `golden/transformers_golden.py` describes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use otfuse::formats::safetensors::write_safetensors;
use otfuse::formats::{Model, StateDict};
use otfuse::graph::{DataType, Tensor};
use serde_json::Value;
use tempfile::TempDir;

/// A network, and what the `transformers` library computes with it.
pub struct Tiny {
    pub name: String,
    pub config: Value,
    pub tensors: Vec<(String, Vec<usize>, String)>,
    pub inputs: BTreeMap<String, Tensor>,
    pub outputs: BTreeMap<String, Vec<f32>>,
}

fn golden(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder)
}

/// All networks, by name.
pub fn all() -> Vec<Tiny> {
    Tiny::all_of("transformers")
}

impl Tiny {
    pub fn named(name: &str) -> Self {
        Self::read("transformers", name)
    }

    /// All networks of a folder of golden files, by name.
    pub fn all_of(folder: &str) -> Vec<Self> {
        let files = fs::read_dir(golden(folder)).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<String> = files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names.iter().map(|name| Self::read(folder, name)).collect()
    }

    fn read(folder: &str, name: &str) -> Self {
        let file = golden(folder).join(format!("{name}.json"));
        let json: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let tensors = json["tensors"].as_object().unwrap().iter().map(|(key, tensor)| {
            (key.clone(), shape(&tensor["shape"]), tensor["seed"].as_str().unwrap_or(key).to_owned())
        });
        let inputs = json["inputs"].as_object().unwrap().iter().map(|(key, input)| (key.clone(), tensor(input)));
        let outputs = json["outputs"].as_object().unwrap().iter().map(|(key, output)| (key.clone(), floats(output)));
        Self {
            name: name.into(),
            config: json["config"].clone(),
            tensors: tensors.collect(),
            inputs: inputs.collect(),
            outputs: outputs.collect(),
        }
    }

    /// Writes the folder, with weights of the given type.
    pub fn write(&self, folder: &Path, data_type: DataType) {
        fs::write(folder.join("config.json"), serde_json::to_vec_pretty(&self.config).unwrap()).unwrap();
        let mut dict = StateDict::new();
        for (name, shape, seed) in &self.tensors {
            let tensor = match name.ends_with("num_batches_tracked") {
                true => Tensor::from_i64(&[], vec![0]),
                false => Tensor::from_f32_as(data_type, shape, values(seed, shape)),
            };
            dict.insert(name.clone(), tensor).unwrap();
        }
        dict.provenance_mut().metadata.insert("format".into(), "pt".into());
        write_safetensors(&folder.join("model.safetensors"), &dict).unwrap();
    }

    /// Changes the lengths of all axes of all tensors.
    pub fn resize(&mut self, length: &dyn Fn(usize) -> usize) {
        for axis in self.tensors.iter_mut().flat_map(|(_, shape, _)| shape) {
            *axis = length(*axis);
        }
    }

    pub fn open(&self) -> (TempDir, Model) {
        let folder = TempDir::new().unwrap();
        self.write(folder.path(), DataType::F32);
        let model = Model::open(folder.path(), None).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        (folder, model)
    }
}

fn shape(json: &Value) -> Vec<usize> {
    json.as_array().unwrap().iter().map(|length| usize::try_from(length.as_u64().unwrap()).unwrap()).collect()
}

fn floats(json: &Value) -> Vec<f32> {
    json["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

fn tensor(json: &Value) -> Tensor {
    let (shape, values) = (shape(&json["shape"]), json["values"].as_array().unwrap());
    match values.iter().map(Value::as_i64).collect() {
        Some(integers) => Tensor::from_i64(&shape, integers),
        None => Tensor::from_f32(&shape, floats(json)),
    }
}

/// The weights that follow from a name and a shape, as in `transformers_golden.py`.
pub fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    let is_scale = shape.len() == 1 && (name.ends_with("weight") || name.ends_with("running_var"));
    (1..=shape.iter().product::<usize>() as u64)
        .map(|index| {
            let mut state = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            state ^= state >> 31;
            let unit = (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
            if is_scale { 1.0 + 0.25 * unit } else { 0.5 * unit }
        })
        .collect()
}
