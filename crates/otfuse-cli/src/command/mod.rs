//! One file per command: its arguments, and what becomes of them.

mod align;
mod apply;
mod compare;
mod completions;
mod convert;
mod demo;
mod distill;
mod eval;
mod experiment;
mod extract_lora;
mod finetune;
mod fuse;
mod generate;
mod inspect;
mod interpolate;
mod learning;
mod man;
mod merge_lora;
mod merging;
mod prune;
mod run;
mod search;
mod sweep;
mod train;
mod training;
mod transport_task_vector;
mod verify;

use clap::Subcommand;
use otfuse::Result;

use crate::session::Session;

macro_rules! commands {
    ($($(#[doc = $doc:literal])+ $module:ident::$name:ident),+ $(,)?) => {
        /// What to do.
        #[derive(Subcommand, Debug)]
        pub enum Command { $($(#[doc = $doc])+ $name(Box<$module::$name>)),+ }

        impl Command {
            /// Does it.
            pub fn run(&self, session: &Session) -> Result<()> {
                match self { $(Self::$name(arguments) => arguments.run(session)),+ }
            }
        }
    };
}

commands!(
    /// Show a network: inputs, outputs, operators, parameters and neuron groups
    inspect::Inspect,
    /// Prove a network's neuron groups by permuting them
    verify::Verify,
    /// Fuse two or more networks into one
    fuse::Fuse,
    /// Bring a network's neurons into the order of another's, for other tools to merge
    align::Align,
    /// Bring a network's neurons into the order that an earlier alignment found
    apply::Apply,
    /// Add what one network learned since to another
    transport_task_vector::TransportTaskVector,
    /// Take the difference between two networks as a LoRA adapter
    extract_lora::ExtractLora,
    /// Merge LoRA adapters into their base
    merge_lora::MergeLora,
    /// Compare networks: neurons, layers, predictions
    compare::Compare,
    /// Measure the networks on the way between networks
    interpolate::Interpolate,
    /// Take the least important neurons out of a network
    prune::Prune,
    /// Measure accuracy and loss of networks, and of their ensemble
    eval::Eval,
    /// Compare generators: what they make of the same noise
    generate::Generate,
    /// Run a network on arrays
    run::Run,
    /// Write a network in another format
    convert::Convert,
    /// Train a network from scratch
    train::Train,
    /// Train a network further
    finetune::Finetune,
    /// Train a network to follow others
    distill::Distill,
    /// Run an experiment: train, fuse and measure as a YAML file says
    experiment::Experiment,
    /// Train two small networks on embedded digits, fuse them and compare
    demo::Demo,
    /// Write a script that completes commands and options in a shell
    completions::Completions,
    /// Write the manual page
    man::Man,
);
