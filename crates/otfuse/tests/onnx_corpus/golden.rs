//! Inputs and outputs as `golden/reference.py` writes them.

use std::collections::BTreeMap;
use std::path::Path;

use otfuse::graph::{DataType, Tensor};
use serde_json::Value;

/// One input of a network, generated.
#[derive(Clone, Debug)]
pub struct Input {
    pub name: String,
    pub data_type: DataType,
    pub shape: Vec<usize>,
    pub bound: Option<u64>,
    pub low: u64,
}

/// What onnxruntime computed: evenly spaced elements and the largest absolute value.
#[derive(Clone, Debug)]
pub struct Output {
    pub name: String,
    pub is_float: bool,
    pub shape: Vec<usize>,
    pub max: f64,
    pub values: Vec<f64>,
}

/// A file of the collection, run by onnxruntime.
#[derive(Clone, Debug)]
pub struct Golden {
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    /// Why onnxruntime has no outputs, which are then those of onnx's own implementation.
    pub refused_by_onnxruntime: Option<String>,
}

/// All entries of a file that `reference.py` wrote, but those without outputs and those with element types that there are
/// none of here.
pub fn read(path: &Path) -> BTreeMap<String, Golden> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let entries: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
    entries.into_iter().filter_map(|(name, entry)| Some((name, golden(&entry)?))).collect()
}

fn golden(entry: &Value) -> Option<Golden> {
    entry.get("inputs")?;
    let list = |key: &str| entry[key].as_array().expect("a list").iter();
    let shape = |value: &Value| {
        let lengths = value["shape"].as_array().expect("a shape").iter();
        lengths.map(|length| length.as_u64().expect("a length") as usize).collect()
    };
    let text = |value: &Value, key: &str| value[key].as_str().expect("text").to_owned();
    let input = |value: &Value| {
        Some(Input {
            name: text(value, "name"),
            data_type: data_type(&text(value, "type"))?,
            shape: shape(value),
            bound: value["bound"].as_u64(),
            low: value["low"].as_u64().expect("the lowest integer"),
        })
    };
    let output = |value: &Value| {
        Some(Output {
            name: text(value, "name"),
            is_float: data_type(&text(value, "type"))?.is_float(),
            shape: shape(value),
            max: number(&value["max"]),
            values: value["values"].as_array().expect("a list").iter().map(number).collect(),
        })
    };
    Some(Golden {
        inputs: list("inputs").map(input).collect::<Option<_>>()?,
        outputs: list("outputs").map(output).collect::<Option<_>>()?,
        refused_by_onnxruntime: entry["onnxruntime"].as_str().map(str::to_owned),
    })
}

fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).expect("a number")
}

fn data_type(name: &str) -> Option<DataType> {
    use DataType::*;
    let all = [F16, BF16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64, Bool];
    all.into_iter().find(|data_type| data_type.to_string() == name)
}

impl Golden {
    /// The inputs, generated as the script does.
    pub fn inputs(&self) -> BTreeMap<String, Tensor> {
        let tensors = self.inputs.iter().enumerate();
        tensors.map(|(index, input)| (input.name.clone(), input.generate(index as u64 + 1))).collect()
    }

    /// The largest difference of any output, relative to the largest absolute value of that output; integers and truth
    /// values have to be equal. What is wrong, if shapes differ or only one of two numbers is finite.
    pub fn difference(&self, found: &[(String, Tensor)]) -> Result<f64, String> {
        if self.outputs.len() != found.len() {
            return Err(format!("expected {} outputs, found {}", self.outputs.len(), found.len()));
        }
        let mut worst = 0.0_f64;
        for (output, (name, tensor)) in self.outputs.iter().zip(found) {
            if output.name != *name || output.shape != tensor.shape() {
                let (expected, found) = ((&output.name, &output.shape), (name, tensor.shape()));
                return Err(format!("expected output {expected:?}, found {found:?}"));
            }
            let numbers: Vec<f64> = match (tensor.to_f32(), tensor.to_i64()) {
                (Some(values), _) => values.into_iter().map(f64::from).collect(),
                (None, Some(values)) => values.into_iter().map(|value| value as f64).collect(),
                (None, None) => tensor.bytes().iter().map(|&byte| f64::from(byte)).collect(),
            };
            let scale = if output.is_float && output.max.is_finite() && output.max > 0.0 { output.max } else { 1.0 };
            let count = output.values.len();
            for (place, &expected) in output.values.iter().enumerate() {
                let found = numbers[place * numbers.len() / count];
                let equal = expected == found || (expected.is_nan() && found.is_nan());
                let difference = if equal { 0.0 } else { (expected - found).abs() / scale };
                if !difference.is_finite() {
                    return Err(format!("output '{name}': expected {expected}, found {found}"));
                }
                worst = worst.max(difference);
            }
        }
        Ok(worst)
    }
}

impl Input {
    fn generate(&self, seed: u64) -> Tensor {
        let count: usize = self.shape.iter().product();
        let mut state = seed;
        let mut next = || {
            // SplitMix64.
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        };
        let Some(bound) = self.bound else {
            let values = (0..count).map(|_| (next() >> 40) as f32 / 8_388_608.0 - 1.0).collect();
            return Tensor::from_f32_as(self.data_type, &self.shape, values);
        };
        let size = self.data_type.size();
        let bytes = (0..count).flat_map(|_| {
            let value = self.low + (((next() >> 32) * bound) >> 32);
            // Truth values stay 0 or 1.
            let value = if self.data_type == DataType::Bool { value.min(1) } else { value };
            value.to_le_bytes().into_iter().take(size)
        });
        let bytes: Vec<u8> = bytes.collect();
        Tensor::new(self.data_type, self.shape.clone(), bytes.into()).expect("as many bytes as the shape takes")
    }
}
