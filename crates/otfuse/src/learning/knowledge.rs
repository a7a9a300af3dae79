//! What later tasks need to know of earlier ones, in a file beside the network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use otfuse_formats::StateDict;
use otfuse_formats::safetensors::{read_safetensors, write_safetensors};
use otfuse_fusion::{ClassMoments, Known, SeenInputs};
use otfuse_graph::{DataType, Graph, Tensor, ValueId};
use serde::{Deserialize, Serialize};

use crate::files::hash_of;
use crate::{Error, Model, Registry, Result};

/// Where the metadata says what the file is.
const KEY: &str = "otfuse knowledge";
/// Changes with the meaning of the file.
const VERSION: u32 = 1;

/// What a network has learned from: how much each weight matters, what flowed into its layers, classes and counts, all as sums
/// over samples that need not be kept. It lies beside the network, in `NETWORK.knowledge`.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// Sums over all samples of the squared change of what the network says by each weight, by the weights' names.
    pub(crate) importance: BTreeMap<String, Vec<f32>>,
    /// What is known of the samples.
    pub(crate) known: Known,
}

/// What is written about the tensors.
#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    network: String,
    samples: f64,
    tasks: Vec<Vec<usize>>,
}

impl Knowledge {
    /// Where the knowledge of the network at `path` is.
    pub fn beside(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".knowledge");
        name.into()
    }

    /// That of a network in a file or folder.
    ///
    /// # Errors
    /// No such file, one that is damaged, of a newer version, or of another network.
    pub fn of(model: &Model) -> Result<Self> {
        let path = Self::beside(model.path());
        if !path.exists() {
            let message = format!("{}: the file is not there", path.display());
            return Err(Error::input(message).hint(
                "it says what the network has learned from; `otfuse fuse --into new MODEL --data SPEC -o OUT` makes a network \
                 with one",
            ));
        }
        let dict = read_safetensors(&path).map_err(|error| Error::from(error).hint(DAMAGED))?;
        let found = dict.provenance().metadata.get(KEY).cloned();
        let wrong = |message: String, hint: &str| Error::input(message).of(&path).hint(hint);
        let found = found.ok_or_else(|| wrong("not what a network has learned from".into(), DAMAGED))?;
        let version: Version =
            serde_json::from_str(&found).map_err(|error| wrong(format!("damaged: {error}"), DAMAGED))?;
        if version.version > VERSION {
            let message = format!("expected version {VERSION} or older, found version {}", version.version);
            return Err(wrong(message, "it was written by a newer otfuse: update this one"));
        }
        let header: Header =
            serde_json::from_str(&found).map_err(|error| wrong(format!("damaged: {error}"), DAMAGED))?;
        let graph = model.graph()?;
        if header.network != fingerprint(graph) {
            let message = format!("it was written for another network than {}", model.path().display());
            return Err(wrong(message, "network and knowledge go together: copy both, or begin with `--into new`"));
        }
        let knowledge = Self::read(&dict, header).map_err(|message| wrong(message, DAMAGED))?;
        knowledge.check(graph).map_err(|message| wrong(message, DAMAGED))?;
        Ok(knowledge)
    }

    fn read(dict: &StateDict, header: Header) -> std::result::Result<Self, String> {
        let known = Known { samples: header.samples, tasks: header.tasks, ..Known::default() };
        let mut found = Self { known, ..Self::default() };
        let mut classes = ClassMoments::default();
        for (name, tensor) in dict.iter() {
            let floats = tensor.to_f32().filter(|_| tensor.data_type() == DataType::F32);
            let floats = floats.ok_or_else(|| format!("'{name}': expected float32, found {}", tensor.data_type()))?;
            if let Some(at) = floats.iter().position(|value| !value.is_finite()) {
                return Err(format!("'{name}': expected numbers, found {} at index {at}", floats[at]));
            }
            let wide = || floats.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
            let unknown = || format!("'{name}': unknown");
            match name.split_once(':').ok_or_else(unknown)? {
                ("importance", weight) => {
                    found.importance.insert(weight.to_owned(), floats);
                }
                ("inputs", rest) => {
                    let mut parts = rest.splitn(3, ':');
                    let (kind, group, weight) = (parts.next(), parts.next(), parts.next());
                    let group: usize = group.and_then(|group| group.parse().ok()).ok_or_else(unknown)?;
                    let layer = found.known.layers.entry(weight.ok_or_else(unknown)?.to_owned()).or_default();
                    // In the order of the file, groups come one after the other.
                    match (kind, group.cmp(&layer.len())) {
                        (Some("sums"), std::cmp::Ordering::Equal) => {
                            layer.push(SeenInputs { gram: Vec::new(), sums: wide() });
                        }
                        (Some("gram"), std::cmp::Ordering::Less) => layer[group].gram = wide(),
                        _ => return Err(unknown()),
                    }
                }
                ("classes", "features") => classes.features = wide(),
                ("classes", "counts") => classes.counts = wide(),
                ("classes", "weights") => classes.weights = wide(),
                ("classes", "biases") => classes.biases = wide(),
                _ => return Err(unknown()),
            }
        }
        let (count, features) = (classes.counts.len(), classes.features.len());
        if count > 0 {
            let fits = classes.biases.len() == count && features == classes.weights.len() && features % count == 0;
            if !fits {
                return Err("what is known by classes does not fit together".into());
            }
            found.known.classes = Some(classes);
        }
        let sound = |seen: &SeenInputs| seen.gram.len() == seen.sums.len() * seen.sums.len();
        match found.known.layers.iter().find(|(_, groups)| !groups.iter().all(sound)) {
            Some((name, _)) => Err(format!("what flowed into '{name}' does not fit together")),
            None => Ok(found),
        }
    }

    /// Refuses what is not of this network.
    fn check(&self, graph: &Graph) -> std::result::Result<(), String> {
        for (name, values) in &self.importance {
            let length = graph.find_value(name).and_then(|id| graph.initializer(id)).map(Tensor::len);
            if length != Some(values.len()) {
                return Err(format!("'{name}': {} numbers, the network has {length:?}", values.len()));
            }
        }
        Ok(())
    }

    /// How much each weight of a network matters, by its ids, for each of `samples` new samples.
    pub(crate) fn importance(&self, graph: &Graph, samples: usize) -> BTreeMap<ValueId, Vec<f32>> {
        let of = |(name, values): (&String, &Vec<f32>)| {
            let mean = values.iter().map(|value| value / samples.max(1) as f32).collect();
            Some((graph.find_value(name)?, mean))
        };
        self.importance.iter().filter_map(of).collect()
    }

    /// The classes that it has learned, ascending.
    pub fn classes(&self) -> Vec<usize> {
        let mut classes = self.known.tasks.concat();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// How many samples it has learned from.
    pub fn samples(&self) -> usize {
        self.known.samples as usize
    }

    /// How many tasks it has learned.
    pub fn tasks(&self) -> usize {
        self.known.tasks.len()
    }

    /// Stages it to be written beside `graph`, which is written to `path`.
    pub(crate) fn write(&self, graph: &Graph, registry: &Registry, path: &Path) -> Result<usize> {
        let bytes = self.bytes(graph)?;
        registry.write(&Self::beside(path), &bytes)?;
        Ok(bytes.len())
    }

    fn bytes(&self, graph: &Graph) -> Result<Vec<u8>> {
        let mut dict = StateDict::new();
        let mut put = |name: String, values: Vec<f32>| {
            let tensor = Tensor::from_f32(&[values.len()], values);
            dict.insert(name, tensor).map_err(|error| Error::run(error.to_string()))
        };
        let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        for (name, values) in &self.importance {
            put(format!("importance:{name}"), values.clone())?;
        }
        for (name, groups) in &self.known.layers {
            for (group, seen) in groups.iter().enumerate() {
                put(format!("inputs:sums:{group}:{name}"), narrow(&seen.sums))?;
                put(format!("inputs:gram:{group}:{name}"), narrow(&seen.gram))?;
            }
        }
        if let Some(classes) = &self.known.classes {
            put("classes:features".into(), narrow(&classes.features))?;
            put("classes:counts".into(), narrow(&classes.counts))?;
            put("classes:weights".into(), narrow(&classes.weights))?;
            put("classes:biases".into(), narrow(&classes.biases))?;
        }
        let header = Header {
            version: VERSION,
            network: fingerprint(graph),
            samples: self.known.samples,
            tasks: self.known.tasks.clone(),
        };
        let header = serde_json::to_string(&header).map_err(|error| Error::run(error.to_string()))?;
        dict.provenance_mut().metadata.insert(KEY.into(), header);
        serialised(&dict)
    }
}

/// What helps where a file cannot be used.
const DAMAGED: &str = "the file beside the network is damaged: take a copy of both, or begin with `--into new`";

/// The version alone, which newer files have too.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The bytes of a file.
fn serialised(dict: &StateDict) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().map_err(Error::run)?;
    let path = folder.path().join("knowledge");
    write_safetensors(&path, dict)?;
    otfuse_formats::read_regular(&path).map_err(Error::run)
}

/// Tells a network's weights from others, whatever its format calls them.
fn fingerprint(graph: &Graph) -> String {
    let weights = graph.initializers().filter(|(id, _)| graph.is_weight(*id));
    let mut hashes: Vec<String> = weights.map(|(_, tensor)| hash_of(tensor.bytes())).collect();
    hashes.sort();
    hash_of(hashes.concat().as_bytes())
}
