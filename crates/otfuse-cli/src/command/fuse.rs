//! `otfuse fuse`.

use std::path::{Path, PathBuf};

use clap::Args;
use otfuse::{
    Candidate, Comparison, Configuration, ConsensusName, CostName, DataOptions, Dataset, DepthName, DepthReport,
    DistilledNetwork, EffortName, Error, FuseOptions, FuseReport, InputShapes, MadeReport, MarginalName, MembersName,
    MergeName, MethodName, ModeName, Model, Objective, OrderName, PointName, PresetName, Registry, Rehearsal,
    RepairName, ResidualName, Result, Search, SearchOptions, SolverName, StartName, StatisticName, SymmetryName,
    TriedWay, TypeName, VocabularyName, card, card_path,
};

use super::learning::Learning;
use super::merging;
use super::search;
use super::sweep;
use crate::arguments::{Data, Pages, Reading};
use crate::choice::{choice, said};
use crate::session::Session;
use crate::table::{count, sizes, table};

/// `fuse`.
#[derive(Args, Debug)]
pub struct Fuse {
    /// The networks, two or more; or a file CONFIG.yml that names them and options, as mergekit writes it
    #[arg(required = true, num_args = 1.., value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Fuse one network that learned a new task, with samples of it as --data, into a network that knows earlier ones; what later
    /// fusions need lies beside it, in KNOWN.knowledge, and is written beside OUT. `new` begins with the first task
    #[arg(long, value_name = "KNOWN|new", requires_all = ["data", "output"], conflicts_with_all = [
        "sweep", "report", "figures", "card", "save_alignment", "dry_run", "anchor",
    ])]
    into: Option<PathBuf>,
    #[command(flatten)]
    learning: Learning,
    /// Where to write the result; the extension chooses the format (.onnx, .safetensors, .pt ...)
    #[arg(short, long, value_name = "OUT", required_unless_present = "sweep")]
    output: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    options: Options,
    /// Write what was matched with what, as JSON
    #[arg(long, value_name = "FILE")]
    save_alignment: Option<PathBuf>,
    /// Keep the samples that the networks made, as --data npz:FILE reads them
    #[arg(long, value_name = "FILE.npz", conflicts_with_all = ["data", "sweep"])]
    save_samples: Option<PathBuf>,
    #[command(flatten)]
    pages: Pages,
    /// Check options, files, shapes and data, say what would be done, and write nothing
    #[arg(long, conflicts_with = "sweep")]
    dry_run: bool,
    /// The most bytes of a file of weights where CONFIG.yml merges without alignment: 5GB, 500MB .. [default: 5GB]
    #[arg(long, value_name = "SIZE", value_parser = crate::arguments::bytes)]
    shard_size: Option<u64>,
    /// Write a model card beside the result, OUT.README.md; a folder has one always, README.md
    #[arg(long)]
    card: bool,
    /// Measure instead of writing a result: align two models once, and evaluate averages with N weights of the second
    /// one from 0 to 1, or with these weights, on the test samples of --data
    #[arg(long, value_name = "N|W,W,..", requires = "data", conflicts_with_all = [
        "output", "report", "figures", "card", "aligned_only", "save_alignment", "weights", "t", "method", "width_budget",
        "target_width",
    ])]
    sweep: Option<String>,
    /// Search for numbers of the merge on training samples of --data, then merge with the best: NAME for one number, NAME:N for N from
    /// the first layer to the last one, =LOW..HIGH for bounds; weight,density=0.1..1 or t:4 for example
    #[arg(long, value_name = "NAME,..", requires = "data", conflicts_with_all = ["sweep", "into", "aligned_only", "dry_run"])]
    search: Option<String>,
    /// What --search makes best [default: loss with labels, else ensemble]
    #[arg(long, value_parser = choice::<Objective>(), requires = "search")]
    search_by: Option<Objective>,
    /// The most merges that --search measures [default: 60]
    #[arg(long, value_name = "N", requires = "search")]
    trials: Option<usize>,
    /// Samples that --search measures on; as many more are held out, and decide [default: 500]
    #[arg(long, value_name = "N", requires = "search")]
    search_samples: Option<usize>,
    /// Write the measurements of --sweep or --search as comma-separated values; what the file of an earlier --search has is not measured
    /// again
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Use only the first N test samples in --sweep
    #[arg(long, value_name = "N", requires = "sweep")]
    limit: Option<usize>,
}

/// How networks are fused: see the library's options of the same names.
#[derive(Args, Debug)]
struct Options {
    /// How the neurons are brought into one order [default: ot]
    #[arg(long, value_parser = choice::<MethodName>())]
    method: Option<MethodName>,
    /// How much work goes into the result [default: default]
    #[arg(long, value_parser = choice::<EffortName>())]
    effort: Option<EffortName>,
    /// Which symmetries of the networks are used to align them [default: auto]
    #[arg(long, value_parser = choice::<SymmetryName>())]
    symmetry: Option<SymmetryName>,
    /// Where samples come from without --data: parents (the networks make them), noise, none, or a file of them
    #[arg(long, value_name = "parents|noise|none|FILE", conflicts_with = "data")]
    samples_from: Option<String>,
    /// How aligned tensors become one [default: mean]
    #[arg(long, value_parser = choice::<MergeName>())]
    merge: Option<MergeName>,
    /// The share of the second of two models, in place of --weights
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    t: Option<f64>,
    /// What describes a neuron; auto: activations with --data and without --preset, else weights [default: auto]
    #[arg(long, value_parser = choice::<ModeName>())]
    mode: Option<ModeName>,
    /// Settings that others do not override; without, converged matching on features of unit length
    #[arg(long, value_parser = choice::<PresetName>())]
    preset: Option<PresetName>,
    /// Distance between the features of two neurons; what the preset says
    #[arg(long, value_parser = choice::<CostName>())]
    cost: Option<CostName>,
    /// Scale every neuron's features to unit length first
    #[arg(long)]
    normalize_features: bool,
    /// Solver of the transport problems [default: exact]
    #[arg(long, value_parser = choice::<SolverName>())]
    solver: Option<SolverName>,
    /// Strength of the entropy with --solver sinkhorn, as a multiple of the mean cost [default: 0.05]
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    epsilon: Option<f64>,
    /// Mass of each neuron [default: uniform]
    #[arg(long, value_parser = choice::<MarginalName>())]
    marginals: Option<MarginalName>,
    /// The model, counted from 0, that the others are aligned to and whose shapes and format the result has; the last
    /// one if not given
    #[arg(long, value_name = "I")]
    anchor: Option<usize>,
    /// Which of networks of unequal depth gives the result its form [default: anchor]
    #[arg(long, value_parser = choice::<DepthName>())]
    depth: Option<DepthName>,
    /// Which layers of networks of unequal depth go together, as JSON: the report of an earlier fusion, or {"pairs": [[0, 0], ..]}
    #[arg(long, value_name = "FILE")]
    pairs: Option<String>,
    /// Inputs that are nothing but noise: each model's is turned to correspond to the anchor's. Without --data they are taken for
    /// normal noise
    #[arg(long, value_name = "INPUT,..")]
    free_inputs: Option<String>,
    /// What the merge is told, NAME=NUMBER or NAME=FIRST,..,LAST from the first layer to the last one; docs/merging.md lists the names
    #[arg(long, value_name = "NAME=NUMBER,..", allow_hyphen_values = true)]
    parameter: Vec<String>,
    /// The model, counted from 0, whose differences from the others are merged; the anchor where the merge needs one
    #[arg(long, value_name = "I")]
    base: Option<usize>,
    /// Averaging weight of each model; equal if not given
    #[arg(long, value_name = "W,W,..", value_delimiter = ',', allow_hyphen_values = true)]
    weights: Vec<f64>,
    /// Align the outputs of the network too, as the published code does (part of --preset paper)
    #[arg(long)]
    align_outputs: bool,
    /// Samples for activations and repair, spread evenly over the training split [default: 1000]
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Labelled samples, spread evenly over the test split of --data, on which parents, ensemble, plain average and fused
    /// network are compared; 0 for none [default: 1000]
    #[arg(long, value_name = "N")]
    check: Option<usize>,
    /// What is repaired after averaging; all but none and data-free need --data [default: auto]
    #[arg(long, value_parser = choice::<RepairName>())]
    repair: Option<RepairName>,
    /// How strongly --repair least-squares holds weights at the averaged ones, relative to the variance of a layer's
    /// inputs [default: 0.03]
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    ridge: Option<f64>,
    /// Steps of --repair distill; as many as some minutes allow if not given
    #[arg(long, value_name = "N")]
    repair_steps: Option<usize>,
    /// How often --repair least-squares fits layers again to what comes out behind their activation functions [default: 5, with
    /// --effort quick 0]
    #[arg(long, value_name = "N")]
    repair_rounds: Option<usize>,
    /// How much of a neuron the more important of its partners is with --repair least-squares: the power of its importance;
    /// 0 averages all alike [default: 4]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    importance: Option<f64>,
    /// Let a pair of neurons cost by their importance where activations are matched
    #[arg(long, value_name = "true|false")]
    importance_cost: Option<bool>,
    /// Fit the last layer of classifiers to scores averaged by each parent's share in a class, in place of the ensemble's
    #[arg(long, value_name = "true|false")]
    class_shares: Option<bool>,
    /// Let the worst matched neurons of two models stay apart, until each group has this many times its size: from 1, all
    /// averaged, to 2, which computes the mean of both models' outputs. Without repair
    #[arg(long, value_name = "B", allow_negative_numbers = true)]
    width_budget: Option<f64>,
    /// The width of the result, relative to the anchor's: below 1, all models are fused into a copy of the anchor from which
    /// the least important neurons of each group were taken out; above 1 as --width-budget
    #[arg(long, value_name = "W", allow_negative_numbers = true)]
    target_width: Option<f64>,
    /// Where activations are taken [default: post with --mode auto, else pre]
    #[arg(long, value_parser = choice::<PointName>())]
    activation_point: Option<PointName>,
    /// What is kept of the activations [default: raw]
    #[arg(long, value_parser = choice::<StatisticName>())]
    activation_features: Option<StatisticName>,
    /// How the terms of a residual stream count in its matching: the sums behind each branch, or the terms alike, by their
    /// share of the absolute values, or by that share for each neuron [default: sums]
    #[arg(long, value_parser = choice::<ResidualName>())]
    residual: Option<ResidualName>,
    /// Write the first of two models aligned to the anchor, without averaging
    #[arg(long)]
    aligned_only: bool,
    /// The element type that the weights of the result are written in; the anchor's if not given
    #[arg(long, value_parser = choice::<TypeName>())]
    dtype: Option<TypeName>,
    /// Match rows of Hugging Face models' vocabularies by token, and what becomes of tokens that not all have
    #[arg(long, value_parser = choice::<VocabularyName>())]
    vocabulary: Option<VocabularyName>,
    /// Do not prove the neuron groups of each model first
    #[arg(long)]
    no_verify: bool,
    /// Lengths of an input that leaves some open, for the proof: x=1x3x640x640
    #[arg(long, value_name = "INPUT=AxBx..")]
    shape: Vec<InputShapes>,
    /// Seed of the proof and of random orders [default: 0]
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    sweeping: Sweeping,
}

/// How matching goes on after the first sweep.
#[derive(Args, Debug)]
#[command(next_help_heading = "Converged matching")]
struct Sweeping {
    /// The most sweeps over all groups after the first; 0 for the forward sweep alone. As the preset says
    #[arg(long, value_name = "N")]
    sweeps: Option<usize>,
    /// Where the sweeps begin
    #[arg(long, value_parser = choice::<StartName>())]
    start: Option<StartName>,
    /// Which weights describe a neuron in the sweeps
    #[arg(long, value_parser = choice::<MembersName>())]
    members: Option<MembersName>,
    /// In which order a sweep visits the groups; random orders follow --seed
    #[arg(long, value_parser = choice::<OrderName>())]
    order: Option<OrderName>,
    /// Runs with seeds of their own, of which the best counts
    #[arg(long, value_name = "N")]
    starts: Option<usize>,
    /// Let all tensors count alike in the sweeps, whatever their norm
    #[arg(long)]
    balance: bool,
    /// The activations' share in the features with --mode both, from 0 to 1 [default: 0.5]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    activation_share: Option<f64>,
    /// What three and more models are aligned to
    #[arg(long, value_parser = choice::<ConsensusName>())]
    consensus: Option<ConsensusName>,
}

impl Options {
    fn typed(&self) -> Result<FuseOptions> {
        let sweeping = &self.sweeping;
        Ok(FuseOptions {
            method: self.method,
            effort: self.effort,
            symmetry: self.symmetry,
            samples_from: self.samples_from.clone(),
            merge: self.merge,
            parameters: merging::parameters(&self.parameter)?,
            base: self.base,
            t: self.t,
            mode: self.mode,
            preset: self.preset,
            cost: self.cost,
            normalize_features: said(self.normalize_features),
            solver: self.solver,
            epsilon: self.epsilon,
            sweeps: sweeping.sweeps,
            start: sweeping.start,
            members: sweeping.members,
            order: sweeping.order,
            starts: sweeping.starts,
            balance: said(sweeping.balance),
            activation_share: sweeping.activation_share,
            consensus: sweeping.consensus,
            marginals: self.marginals,
            anchor: self.anchor,
            depth: self.depth,
            pairs: self.pairs.clone(),
            free_inputs: self.free_inputs.clone(),
            weights: (!self.weights.is_empty()).then(|| self.weights.clone().into()),
            align_outputs: said(self.align_outputs),
            samples: self.samples,
            check: self.check,
            repair: self.repair,
            ridge: self.ridge,
            repair_steps: self.repair_steps,
            repair_rounds: self.repair_rounds,
            importance: self.importance,
            importance_cost: self.importance_cost,
            class_shares: self.class_shares,
            width_budget: self.width_budget,
            target_width: self.target_width,
            activation_point: self.activation_point,
            activation_features: self.activation_features,
            residual: self.residual,
            aligned_only: said(self.aligned_only),
            dtype: self.dtype,
            vocabulary: self.vocabulary,
            no_verify: said(self.no_verify),
            shape: InputShapes::joined(&self.shape),
            seed: self.seed,
        })
    }
}

/// What is fused: as typed, and as a file of settings says where nothing was typed.
struct Given {
    models: Vec<Model>,
    options: FuseOptions,
    data: Option<Dataset>,
    registry: Registry,
}

impl Fuse {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        if let [path] = self.models.as_slice()
            && is_settings(path)
            && let Configuration::Merge(merge) = Configuration::read(path)?
        {
            return self.merge(*merge, path, session);
        }
        let given = self.given()?;
        if let (Some(into), Some(output)) = (&self.into, &self.output) {
            let Given { models, options, data, registry } = given;
            return self.learning.run((into, &self.reading), (&models, data, &options), output, registry, session);
        }
        if self.csv.is_some() && self.sweep.is_none() && self.search.is_none() {
            return Err(Error::input("`csv` goes with `sweep` or `search`").hint("leave it out"));
        }
        match (&self.sweep, &self.output) {
            (None, Some(output)) if self.search.is_some() => self.search(given, output, session),
            (Some(weights), _) => self.measure(given, weights, session),
            (None, Some(output)) => self.write(given, output, None, session),
            (None, None) => Err(Error::input("`output`: expected a file").hint("-o FILE says where the result goes")),
        }
    }

    fn given(&self) -> Result<Given> {
        let mut registry = Registry::new();
        let (mut paths, mut reading) = (Vec::new(), self.reading.clone());
        let (mut options, mut data) = (self.options.typed()?, DataOptions::default());
        for path in &self.models {
            if !is_settings(path) {
                paths.push(path.clone());
                continue;
            }
            registry.input("settings", path)?;
            let file = match Configuration::read(path)? {
                Configuration::Fuse(file) => *file,
                Configuration::Merge(_) => {
                    let message = format!("{}: a file of settings without alignment stands alone", path.display());
                    return Err(Error::input(message).hint("name all networks in the file"));
                }
            };
            paths.extend(file.models);
            if reading.arch.is_empty() {
                reading.arch.extend(file.architecture);
            }
            options = options.or(file.options);
            data = file.data;
        }
        let models = reading.open_all(&paths, &mut registry)?;
        if let Some(file) = options.samples_from.as_deref().filter(|from| otfuse::names_file(from)) {
            registry.input("samples-from", Path::new(file))?;
        }
        if let Some(file) = &options.pairs {
            registry.input("pairs", Path::new(file))?;
        }
        let data = self.data.open(&data, &mut registry)?;
        Ok(Given { models, options, data, registry })
    }

    fn write(&self, given: Given, output: &Path, found: Option<&Search>, session: &Session) -> Result<()> {
        let Given { models, options, data, mut registry } = given;
        let is_aligned_only = options.aligned_only == Some(true);
        let mut fuse = otfuse::Fuse::new(&models).options(options);
        if let Some(data) = &data {
            fuse = fuse.data(data);
        }
        let anchor = fuse.expected_anchor()?;
        let is_folder = anchor.writes_folder(output);
        registry.result("output", output, anchor)?;
        // Who opens a folder looks for its README, and the anchor's is not about this network.
        let is_carded = self.card || (is_folder && !is_aligned_only);
        if is_carded && !is_folder {
            registry.output("card", &card_path(output, false))?;
        }
        if let Some(path) = &self.save_alignment {
            registry.output("save-alignment", path)?;
        }
        if let Some(path) = &self.save_samples {
            registry.output("save-samples", path)?;
        }
        self.pages.register(&mut registry)?;

        if self.dry_run {
            return session.print(&fuse.rehearse(&session.context)?, |found| rehearsed(found, output));
        }
        let mut fused = fuse.run(&session.context)?;
        fused.write(&registry, output, &session.context)?;
        if let Some(path) = &self.save_alignment {
            registry.write(path, &fused.alignments_json()?)?;
        }
        if let Some(path) = &self.save_samples {
            fused.write_samples(&registry, path)?;
        }
        self.pages.write(&fused.report, &registry)?;
        if is_carded {
            registry.write(&card_path(output, is_folder), card(output, is_folder, &fused.report).as_bytes())?;
        }
        registry.commit()?;
        match found {
            Some(search) => session.print(&search::Searched { search, fusion: &fused.report }, |found| {
                format!("{}\n\n{}", search::text(found.search), text(found.fusion))
            }),
            None => session.print(&fused.report, text),
        }
    }

    /// Merges by a file of settings without alignment, to which options of a fusion have nothing to say.
    fn merge(&self, merge: otfuse::Merge, path: &Path, session: &Session) -> Result<()> {
        let options = self.options.typed()?;
        let seed = options.seed;
        let plain = FuseOptions { seed, ..FuseOptions::default() };
        let is_plain = options == plain && self.into.is_none() && self.sweep.is_none() && self.save_alignment.is_none();
        let Some(output) =
            self.output.as_ref().filter(|_| is_plain && self.save_samples.is_none() && self.data.data.is_none())
        else {
            let message = format!(
                "{}: tensors are merged by name, without alignment: options of a fusion do not go with it",
                path.display()
            );
            return Err(Error::input(message)
                .hint("write `alignment: {}` into the file to fuse aligned networks, or leave the options out"));
        };
        merging::run(merge.seed(seed.unwrap_or(0)), (path, output), (self.dry_run, self.shard_size), session)
    }

    /// Searches for numbers of the merge, and merges with them as it was measured: matched by weights and not repaired, unless said.
    fn search(&self, given: Given, output: &Path, session: &Session) -> Result<()> {
        let Given { models, mut options, data, mut registry } = given;
        let data = data.ok_or_else(|| Error::input("`search` needs `data`").hint("it measures on training samples"))?;
        let wanted = SearchOptions {
            parameters: self.search.clone().unwrap_or_default(),
            trials: self.trials,
            objective: self.search_by,
            samples: self.search_samples,
        };
        let earlier = match self.csv.as_ref().filter(|path| path.is_file()) {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| Error::input(error).of(path))?),
            None => None,
        };
        if let Some(path) = &self.csv {
            registry.output("csv", path)?;
        }
        options.mode = options.mode.or(Some(ModeName::Weights));
        options.repair = options.repair.or(Some(RepairName::None));
        let found = otfuse::search(&models, &options, &wanted, &data, earlier.as_deref(), &session.context)?;
        if let Some(path) = &self.csv {
            registry.write(path, found.csv().as_bytes())?;
        }
        options.parameters = Some(found.parameters.clone());
        self.write(Given { models, options, data: Some(data), registry }, output, Some(&found), session)
    }

    fn measure(&self, given: Given, weights: &str, session: &Session) -> Result<()> {
        let Given { models, options, data, mut registry } = given;
        if let Some(path) = &self.csv {
            registry.output("csv", path)?;
        }
        let data = data.ok_or_else(|| Error::input("`sweep` needs `data`").hint("it measures on test samples"))?;
        let found = otfuse::sweep(&models, &options, weights, &data, self.limit, &session.context)?;
        if let Some(path) = &self.csv {
            registry.write(path, found.csv().as_bytes())?;
        }
        registry.commit()?;
        session.print(&found, sweep::text)
    }
}

/// Whether a path names a file of settings.
fn is_settings(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml")
}

/// What a fusion would do, as text.
fn rehearsed(found: &Rehearsal, output: &Path) -> String {
    let settings = found.settings.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]);
    format!(
        "{}\n{} would be fused into the shape of model {} ({}); {} of {} parameters in {}\nnothing was written; the result \
         would go to {}",
        table(&["setting", "value"], &[], settings),
        count(found.models.len(), "model"),
        found.anchor,
        found.models[found.anchor],
        found.aligned_parameters,
        found.parameters,
        count(found.groups, "neuron group"),
        output.display(),
    )
}

/// A fusion, or an alignment, as text.
pub fn text(report: &FuseReport) -> String {
    let groups = report.groups.iter().map(|group| {
        vec![
            group.model.to_string(),
            group.name.clone(),
            sizes(group.size, group.anchor_size),
            format!("{:.5}", group.cost),
            format!("{:.0} %", 100.0 * group.matched_fraction),
            group.termination.clone(),
        ]
    });
    let header = ["model", "group", "neurons", "cost", "matched", "plan"];
    let aligned = if report.groups.is_empty() {
        String::new()
    } else {
        table(&header, &["model", "neurons", "cost", "matched"], groups) + "\n"
    };
    let seconds = &report.seconds;
    let compared =
        report.comparison.as_ref().map_or_else(String::new, |found| format!("\n\n{}", compared(found, &report.output)));
    let turned: String = report.inputs.iter().map(|input| input.headline() + "\n").collect();
    let deepened = report.depth.as_ref().map_or_else(String::new, deepened);
    let tried = if report.ways.is_empty() { String::new() } else { tried(&report.ways) };
    let distilled = report.distillation.as_ref().map_or_else(String::new, distilled);
    let width = report.settings.target_width.map_or_else(String::new, |width| format!(", {width} times as wide"));
    let made = report.made.as_ref().map_or_else(String::new, |made| format!("\n{}", made_samples(made)));
    format!(
        "{aligned}{turned}{deepened}{}: {} fused into the shape of model {} ({}){width}\n{}\nread {:.2} s, proof {:.2} s, activations {:.2} s, \
         alignment {:.2} s, average {:.2} s, repair {:.2} s, write {:.2} s, hashes {:.2} s{made}{tried}{distilled}{compared}",
        report.output,
        count(report.models.len(), "model"),
        report.settings.anchor,
        report.models[report.settings.anchor].path,
        report.coverage,
        seconds.read,
        seconds.verify,
        seconds.activations,
        seconds.align,
        seconds.average,
        seconds.repair,
        seconds.write,
        seconds.hash,
    )
}

/// Which layers of networks of unequal depth went together.
fn deepened(found: &DepthReport) -> String {
    let columns = found.columns();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let fitted = match found.is_fitted {
        Some(true) => ", the others fitted to what it computed with them",
        Some(false) => ", the others as they were",
        None => "",
    };
    let inserted: usize = found.models.iter().map(|model| model.inserted.len()).sum();
    let taken = match found.is_fitted {
        Some(_) => format!(
            "; then {} taken out of the result{fitted}",
            count(found.blocks.len() - found.result_blocks, "block")
        ),
        None => String::new(),
    };
    let table = table(&columns, &[], found.rows());
    format!("{table}\n{} put in that change nothing{taken}\n", count(inserted, "block"))
}

/// The ways that were tried, and which was taken.
fn tried(ways: &[TriedWay]) -> String {
    let row = |way: &TriedWay| {
        let taken = if way.taken { ", taken" } else { "" };
        format!("\n  {}: {}{taken}", way.name, way.distance.headline())
    };
    let rows: String = ways.iter().map(row).collect();
    format!("\nways tried, by the distance to what the parents say on samples held out:{rows}")
}

/// How the network followed its parents.
fn distilled(found: &DistilledNetwork) -> String {
    let kept = match found.best_epoch {
        0 => "none of them is better, the network before is kept".to_owned(),
        epoch => format!("the one after epoch {epoch} is kept"),
    };
    format!(
        "\nfollowed its parents on {} in {} ({}, {:.0} s): {kept}; on {} held out {}, before {}",
        count(found.samples, "sample"),
        count(found.steps, "step"),
        count(found.epochs, "epoch"),
        found.seconds,
        count(found.held_out, "sample"),
        found.after.headline(),
        found.before.headline(),
    )
}

/// Samples that the networks made, in a line.
fn made_samples(made: &MadeReport) -> String {
    let shown = |candidate: &Candidate| {
        let parents: Vec<String> =
            candidate.parents.iter().map(|agreement| format!("{:.1}", 100.0 * agreement)).collect();
        format!("{:.4} nats, agreeing with them in {} %", candidate.divergence, parents.join(", "))
    };
    let decided = match made.candidates.as_slice() {
        [without, with] => {
            let verdict = if made.used { "used" } else { "not used" };
            format!("{verdict}: from the parents' ensemble {}; without {}", shown(with), shown(without))
        }
        _ => "used".to_owned(),
    };
    format!("{} {} made by the networks in {:.1} s, {decided}", made.count, made.kind, made.seconds)
}

/// All networks on labelled samples, the fused one last.
fn compared(comparison: &Comparison, output: &str) -> String {
    let distances = comparison.distances();
    let agrees = distances.iter().flatten().any(|it| it.agreement.is_some());
    let rows = comparison.rows().into_iter().zip(&distances).map(|((name, measure, at), distance)| {
        let name = if at == "/fused" { output.to_owned() } else { name };
        let mut row = vec![name];
        row.extend(measure.columns().into_iter().map(|(_, value)| value));
        row.push(distance.map_or_else(String::new, |it| format!("{:.4}", it.divergence)));
        if agrees {
            let agreement = distance.and_then(|it| it.agreement);
            row.push(agreement.map_or_else(String::new, |it| format!("{:.2} %", 100.0 * it)));
        }
        row
    });
    let mut columns = vec!["network"];
    columns.extend(comparison.fused.columns().into_iter().map(|(name, _)| name));
    columns.push(if agrees { "result: KL" } else { "result: difference" });
    columns.extend(agrees.then_some("agreement"));
    let table = table(&columns, &columns[1..], rows);
    let samples = count(comparison.samples, "sample");
    format!("{table}\n{samples} of {}, {} split", comparison.data, comparison.split)
}
