//! How a network of an experiment is made.

use otfuse_formats::catalogue::NetworkSpec;
use otfuse_formats::hf::TransformerSpec;
use serde_json::Value;

use super::file::{Data, Named, Network, typed};
use super::options::{parsed, words};
use crate::cli::Failure;
use crate::cli::arguments::Command;

/// How a network is made.
#[derive(Clone, Debug, PartialEq)]
pub enum Recipe {
    /// By a command: its words, without input and output files.
    Command {
        /// The command's name.
        name: &'static str,
        /// Architecture or file that it takes besides networks.
        subject: Option<String>,
        /// Whether the last input is `--start`.
        starts: bool,
        /// Options.
        options: Vec<String>,
    },
    /// As the weighted mean of probabilities.
    Ensemble {
        /// One weight for each input, adding up to 1.
        weights: Vec<f64>,
    },
}

impl Recipe {
    /// How a network is made, the `index`-th of its file, and the names of what it is made of.
    pub fn of(network: &Network, index: usize, seed: u64, data: &Data) -> Result<(Self, Vec<String>), Failure> {
        let Network { file, train, finetune, prune, fuse, distill, ensemble, .. } = network;
        let count = [file, train, finetune, prune].iter().filter(|field| field.is_some()).count()
            + [fuse, distill, ensemble].iter().filter(|field| field.is_some()).count();
        if count != 1 {
            let message = format!(
                "expected exactly one of file, train, finetune, prune, fuse, distill and ensemble, found {count}"
            );
            return Err(Failure::input(message).hint("it says where the network comes from"));
        }
        if network.start.is_some() && distill.is_none() {
            return Err(Failure::input("start: stands with distill only").hint("remove it"));
        }
        if network.arch.is_some() && file.is_none() {
            return Err(Failure::input("arch: stands with file only").hint("remove it"));
        }
        let (name, subject, mut inputs) = if file.is_some() {
            ("convert", file.clone(), vec![])
        } else if train.is_some() {
            ("train", train.clone(), vec![])
        } else if let Some(of) = finetune {
            ("finetune", None, vec![of.clone()])
        } else if let Some(of) = prune {
            ("prune", None, vec![of.clone()])
        } else if let Some(of) = fuse {
            ("fuse", None, of.clone())
        } else if let Some(of) = distill {
            ("distill", None, of.clone())
        } else {
            let of = ensemble.clone().unwrap_or_default();
            return Ok((Self::Ensemble { weights: weights(&network.options, of.len())? }, of));
        };
        let mut options = network.options.clone();
        if ["train", "finetune", "distill"].contains(&name) {
            // Networks begin with weights of their own, while all that is trained further sees the same batches.
            let seed = if name == "train" { seed.wrapping_mul(1000).wrapping_add(index as u64) } else { seed };
            options.entry("seed").or_insert(seed.into());
            if let Some(limit) = data.train {
                options.entry("limit").or_insert(limit.into());
            }
        }
        let options = words(name, &options)?;
        inputs.extend(network.start.clone());
        let recipe = Self::Command { name, subject, starts: network.start.is_some(), options };
        // What the command would refuse is refused now.
        let paths: Vec<String> = inputs.iter().map(|name| format!("{name}.onnx")).collect();
        match parsed(&recipe.line(data, network.arch.as_deref(), &paths, "output.onnx"))? {
            Command::Train(arguments) => architecture(&arguments.arch)?,
            Command::Distill(arguments) => match (&arguments.student, recipe.has_start()) {
                (Some(student), false) => architecture(student)?,
                (None, true) => {}
                _ => {
                    return Err(Failure::input("distill: expected one of start: NAME and the option student")
                        .hint("a student begins from scratch, or with the weights of a network"));
                }
            },
            _ => {}
        }
        Ok((recipe, inputs))
    }

    fn has_start(&self) -> bool {
        matches!(self, Self::Command { starts: true, .. })
    }

    /// The command line with these input files, without the program's name.
    pub fn line(&self, data: &Data, arch: Option<&str>, inputs: &[String], output: &str) -> Vec<String> {
        let Self::Command { name, subject, starts, options } = self else { return vec![] };
        let mut line = vec![(*name).to_owned()];
        line.extend(subject.clone());
        let (ordinary, start) = inputs.split_at(inputs.len() - usize::from(*starts));
        line.extend_from_slice(ordinary);
        if let [start] = start {
            line.extend(["--start".to_owned(), start.clone()]);
        }
        match *name {
            "convert" => line.push(output.to_owned()),
            _ => line.extend(["-o".to_owned(), output.to_owned()]),
        }
        if let Some(arch) = arch {
            line.push(format!("--arch={arch}"));
        }
        if !["convert", "prune"].contains(name) {
            line.push(format!("--data={}", data.source));
            line.extend(data.normalize.iter().map(|normalize| format!("--normalize={normalize}")));
        }
        line.extend_from_slice(options);
        line
    }

    /// As it is shown: the command with the names of its networks.
    pub fn shown(&self, inputs: &[String]) -> String {
        match self {
            Self::Command { name, subject, starts, options } => {
                let (ordinary, start) = inputs.split_at(inputs.len() - usize::from(*starts));
                let mut line = vec![(*name).to_owned()];
                line.extend(subject.clone());
                line.extend_from_slice(ordinary);
                line.extend(start.iter().map(|start| format!("--start {start}")));
                line.extend(options.iter().map(|option| option.replacen('=', " ", 1)));
                line.join(" ")
            }
            Self::Ensemble { weights } => {
                let weights: Vec<String> = weights.iter().map(|weight| format!("{weight}")).collect();
                format!("mean of the probabilities of {}, weights {}", inputs.join(", "), weights.join(", "))
            }
        }
    }
}

/// Fails if there is no architecture of this name.
fn architecture(name: &str) -> Result<(), Failure> {
    let known = match TransformerSpec::parse(name) {
        Some(transformer) => transformer.map(|_| ()),
        None => name.parse::<NetworkSpec>().map(|_| ()),
    };
    known.map_err(|error| Failure::input(&error).hint(error.hint()))
}

/// The weights of an ensemble, adding up to 1.
fn weights(options: &Named, members: usize) -> Result<Vec<f64>, Failure> {
    if let Some(name) = options.keys().find(|name| *name != "weights") {
        return Err(Failure::input(format!("options: an ensemble takes no option '{name}'")).hint("it takes weights"));
    }
    let weights: Vec<f64> = match options.get("weights") {
        None | Some(Value::Null) => vec![1.0; members],
        Some(value) => typed(value.clone(), "options.weights: ")?,
    };
    let total: f64 = weights.iter().sum();
    let is_valid = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0) && total > 0.0;
    if weights.len() != members || !is_valid {
        return Err(Failure::input(format!(
            "options.weights: expected {members} numbers from 0 on, found {weights:?}"
        ))
        .hint("one number for each network"));
    }
    Ok(weights.iter().map(|weight| weight / total).collect())
}
