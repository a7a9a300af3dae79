//! How a network of an experiment is made.

use otfuse_formats::catalogue::NetworkSpec;
use otfuse_formats::untrained::TransformerSpec;
use serde_json::Value;

use super::file::{Data, Network};
use super::options::{Given, PART, words};
use crate::typed::{Named, typed};
use crate::{DataOptions, DistillOptions, Error, FuseOptions, LearnOptions, PruneOptions, Result, TrainOptions};

/// How a network is made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Recipe {
    /// By the product's own functions, from files and networks.
    Made {
        /// Architecture or file that it takes besides networks.
        subject: Option<String>,
        /// Whether the last input is what a student begins with.
        starts: bool,
        /// Options as they are shown.
        options: Vec<String>,
        /// What is done.
        work: Box<Work>,
    },
    /// As the weighted mean of probabilities.
    Ensemble {
        /// One weight for each input, adding up to 1.
        weights: Vec<f64>,
    },
}

/// What is done to make a network, with its options.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Work {
    /// A file is read.
    Read,
    /// From scratch.
    Train(TrainOptions, DataOptions),
    /// Further.
    Finetune(TrainOptions, DataOptions),
    /// Without its least important neurons.
    Prune(PruneOptions),
    /// From several.
    Fuse(Box<FuseOptions>, DataOptions),
    /// From one that learned a task, and what is known; with the most samples.
    Learn(Box<FuseOptions>, LearnOptions, DataOptions, Option<usize>),
    /// To follow others.
    Distill(DistillOptions, TrainOptions, DataOptions),
}

impl Work {
    /// The name of the command that does the same.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Read => "convert",
            Self::Train(..) => "train",
            Self::Finetune(..) => "finetune",
            Self::Prune(_) => "prune",
            Self::Fuse(..) | Self::Learn(..) => "fuse",
            Self::Distill(..) => "distill",
        }
    }
}

impl Recipe {
    /// How a network is made, the `index`-th of its file, and the names of what it is made of.
    pub(crate) fn of(
        network: &Network,
        index: usize,
        seed: u64,
        data: &Data,
        chosen: &Named,
    ) -> Result<(Self, Vec<String>)> {
        check_origin(network)?;
        let Network { file, train, finetune, prune, fuse, distill, ensemble, .. } = network;
        if let Some(of) = ensemble {
            return Ok((Self::Ensemble { weights: weights(&network.options, of.len())? }, of.clone()));
        }
        let mut options = network.options.clone();
        let is_trained = train.is_some() || finetune.is_some() || distill.is_some();
        if is_trained {
            // Networks begin with weights of their own, while all that is trained further sees the same batches.
            let seed = if train.is_some() { seed.wrapping_mul(1000).wrapping_add(index as u64) } else { seed };
            options.entry("seed").or_insert(seed.into());
            if let Some(limit) = data.train {
                options.entry("limit").or_insert(limit.into());
            }
        }
        if is_trained || network.into.is_some() {
            for (name, value) in chosen {
                options.entry(name.clone()).or_insert(value.clone());
            }
        }
        let normalize = data.normalize.as_ref();
        let given = |of: &'static str, known: &[&[&str]]| Given::new(of, &options, known);
        let (work, mut inputs) = if file.is_some() {
            given("convert", &[])?;
            (Work::Read, vec![])
        } else if let Some(architecture) = train {
            check_architecture(architecture)?;
            let mut given = given("train", &[TrainOptions::KEYS, PART])?;
            (Work::Train(given.take(TrainOptions::KEYS)?, given.part(normalize)?), vec![])
        } else if let Some(of) = finetune {
            let mut given = given("finetune", &[TrainOptions::KEYS, PART])?;
            (Work::Finetune(given.take(TrainOptions::KEYS)?, given.part(normalize)?), vec![of.clone()])
        } else if let Some(of) = prune {
            (Work::Prune(given("prune", &[PruneOptions::KEYS])?.take(PruneOptions::KEYS)?), vec![of.clone()])
        } else if let (Some(of), Some(into)) = (fuse, &network.into) {
            if of.len() != 1 {
                let message = format!("fuse: with into expected one network, found {}", of.len());
                return Err(Error::input(message).hint("the network that learned the task"));
            }
            let mut given = given("fuse", &[FuseOptions::KEYS, LearnOptions::KEYS, PART])?;
            let mut inputs = of.clone();
            inputs.extend(Some(into.clone()).filter(|into| into != "new"));
            let (fusing, learning) = (given.take(FuseOptions::KEYS)?, given.take(LearnOptions::KEYS)?);
            (Work::Learn(Box::new(fusing), learning, given.part(normalize)?, data.train), inputs)
        } else if let Some(of) = fuse {
            let mut given = given("fuse", &[FuseOptions::KEYS, PART])?;
            (Work::Fuse(Box::new(given.take(FuseOptions::KEYS)?), given.part(normalize)?), of.clone())
        } else {
            let mut given = given("distill", &[DistillOptions::KEYS, TrainOptions::KEYS, PART])?;
            let following: DistillOptions = given.take(DistillOptions::KEYS)?;
            match (&following.student, &network.start) {
                (Some(student), None) => check_architecture(student)?,
                (None, Some(_)) => {}
                _ => {
                    return Err(Error::input("distill: expected one of start: NAME and the option student")
                        .hint("a student begins from scratch, or with the weights of a network"));
                }
            }
            let training = given.take(TrainOptions::KEYS)?;
            (Work::Distill(following, training, given.part(normalize)?), distill.clone().unwrap_or_default())
        };
        if let Work::Train(options, _) | Work::Finetune(options, _) | Work::Distill(_, options, _) = &work {
            crate::train::schedule(options.schedule.as_deref().unwrap_or("constant"))?;
        }
        inputs.extend(network.start.clone());
        let subject = file.clone().or(train.clone());
        // What a network is fused into is shown as an option, as a start is.
        let starts = network.start.is_some() || (network.into.is_some() && inputs.len() == 2);
        Ok((Self::Made { subject, starts, options: words(&options), work: Box::new(work) }, inputs))
    }

    /// As it is shown: the command with the names of its networks.
    pub(crate) fn shown(&self, inputs: &[String]) -> String {
        match self {
            Self::Made { subject, starts, options, work } => {
                let (ordinary, start) = inputs.split_at(inputs.len() - usize::from(*starts));
                let mut line = vec![work.name().to_owned()];
                line.extend(subject.clone());
                line.extend_from_slice(ordinary);
                let is_learnt = matches!(**work, Work::Learn(..));
                let option = if is_learnt { "into" } else { "start" };
                if is_learnt && start.is_empty() {
                    line.push("--into new".into());
                }
                line.extend(start.iter().map(|start| format!("--{option} {start}")));
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

/// Exactly one field says where a network comes from.
fn check_origin(network: &Network) -> Result<()> {
    let Network { file, train, finetune, prune, fuse, distill, ensemble, .. } = network;
    let count = [file, train, finetune, prune].iter().filter(|field| field.is_some()).count()
        + [fuse, distill, ensemble].iter().filter(|field| field.is_some()).count();
    if count != 1 {
        let message =
            format!("expected exactly one of file, train, finetune, prune, fuse, distill and ensemble, found {count}");
        return Err(Error::input(message).hint("it says where the network comes from"));
    }
    if network.start.is_some() && distill.is_none() {
        return Err(Error::input("start: stands with distill only").hint("remove it"));
    }
    if network.into.is_some() && fuse.is_none() {
        return Err(Error::input("into: stands with fuse only").hint("remove it"));
    }
    if network.arch.is_some() && file.is_none() {
        return Err(Error::input("arch: stands with file only").hint("remove it"));
    }
    Ok(())
}

/// Fails if there is no architecture of this name.
fn check_architecture(name: &str) -> Result<()> {
    let known = match TransformerSpec::parse(name) {
        Some(transformer) => transformer.map(|_| ()),
        None => name.parse::<NetworkSpec>().map(|_| ()),
    };
    known.map_err(|error| Error::input(&error).hint(error.hint()))
}

/// The weights of an ensemble, adding up to 1.
fn weights(options: &Named, members: usize) -> Result<Vec<f64>> {
    if let Some(name) = options.keys().find(|name| *name != "weights") {
        return Err(Error::input(format!("options: an ensemble takes no option '{name}'")).hint("it takes weights"));
    }
    let weights: Vec<f64> = match options.get("weights") {
        None | Some(Value::Null) => vec![1.0; members],
        Some(value) => typed(value.clone(), "options.weights: ")?,
    };
    let total: f64 = weights.iter().sum();
    let is_valid = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0) && total > 0.0;
    if weights.len() != members || !is_valid {
        return Err(Error::input(format!("options.weights: expected {members} numbers from 0 on, found {weights:?}"))
            .hint("one number for each network"));
    }
    Ok(weights.iter().map(|weight| weight / total).collect())
}
