//! `otfuse fuse`.

mod options;
mod text;

use std::path::{Path, PathBuf};

use clap::Args;
use otfuse::{
    Configuration, DataOptions, Dataset, Error, FuseOptions, ModeName, Model, Objective, Registry, RepairName, Result,
    Search, SearchOptions, Searched, card, card_path,
};

use self::options::Options;
use self::text::rehearsed;
pub use self::text::text;
use super::learning::Learning;
use super::merging;
use super::search;
use super::sweep;
use crate::arguments::{Data, Pages, Reading};
use crate::choice::choice;
use crate::session::Session;

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
        if self.shard_size.is_some() {
            let message = "`shard_size` goes with a file of settings that merges without alignment";
            return Err(
                Error::input(message).hint("leave it out: a folder has as many files of weights as the anchor's")
            );
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
        let fusion = &fused.report;
        match found {
            Some(search) => self.pages.write(&Searched { search, fusion }, &registry)?,
            None => self.pages.write(fusion, &registry)?,
        }
        if is_carded {
            registry.write(&card_path(output, is_folder), card(output, is_folder, &fused.report).as_bytes())?;
        }
        registry.commit()?;
        match found {
            Some(search) => session.print(&Searched { search, fusion: &fused.report }, |found| {
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
