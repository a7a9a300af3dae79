//! Networks of unequal depth: the shallower ones are brought into the form of the deepest, exactly, and fused there as usual;
//! where the anchor is a shallower one, blocks are taken out of the result again.

mod given;
mod likeness;
mod report;

use std::path::Path;

use otfuse_fusion::{
    DepthError, FusionError, RepairError, deepen as deepen_graph, pair_blocks, shorten, split_weights,
};
use otfuse_graph::{Block, Graph, blocks_of};
use otfuse_runtime::RuntimeError;

pub use self::report::{DepthReport, PairedModel};
use crate::activations::SampleRunner;
use crate::fusing::plan::Plan;
use crate::fusing::{Group, Prepared};
use crate::verify::difference_of;
use crate::{Context, DepthName, Error, FuseOptions, InputShapes, Model, RepairName, Result, VerifyError};

/// How far the outputs of a deepened network may be from its own, relative to the largest.
const TOLERANCE: f64 = 1e-5;
/// How strongly the layers that are left are held at their weights.
const RIDGE: f64 = 0.01;

/// Models that were brought into one form.
#[derive(Clone)]
pub(crate) struct Depths {
    /// The models as they were given.
    pub originals: Vec<Model>,
    /// For each model that was deepened its pairs: a block of the deepest, and its own.
    pairs: Vec<Option<Vec<(usize, usize)>>>,
    anchor: usize,
    /// How the graphs differ.
    difference: String,
    pub report: DepthReport,
}

/// The model that gives the result its form where `depth` says so, and a model that has it is the anchor; `None` where the anchor
/// stays.
///
/// # Errors
/// Networks without a graph, or whose shapes contradict each other.
pub(crate) fn anchor(models: &[Model], options: &FuseOptions) -> Result<Option<usize>> {
    let depth = options.depth.unwrap_or(DepthName::Anchor);
    if depth == DepthName::Anchor || models.len() < 2 {
        return Ok(None);
    }
    let counts: Vec<usize> = cut(models)?.iter().map(Vec::len).collect();
    let wanted = match depth {
        DepthName::Shallow => counts.iter().min(),
        _ => counts.iter().max(),
    };
    let of_depth = |model: &usize| counts.get(*model) == wanted;
    let asked = options.anchor.unwrap_or(models.len() - 1);
    Ok(Some(asked).filter(of_depth).or_else(|| (0..models.len()).rev().find(of_depth)))
}

fn cut(models: &[Model]) -> Result<Vec<Vec<Block>>> {
    let graphs: Vec<&Graph> = models.iter().map(Model::graph).collect::<Result<_>>()?;
    blocks_of(&graphs).map_err(Error::input)
}

impl Depths {
    /// Brings the models into the form of the deepest of them; `None` where they are of one form, or none of them is deeper than
    /// another.
    ///
    /// # Errors
    /// Networks whose blocks do not correspond, with the blocks of both; a file of pairs that are none.
    pub fn matched(
        models: &mut [Model],
        plan: &Plan,
        options: &FuseOptions,
        samples: &Prepared,
        context: &Context,
    ) -> Result<Option<Self>> {
        let Some(difference) = difference(models, plan, options)? else { return Ok(None) };
        let blocks = cut(models)?;
        let most = blocks.iter().map(Vec::len).max().unwrap_or(0);
        if blocks.iter().all(|of| of.len() == most) {
            return Ok(None);
        }
        refuse_widths(options)?;
        models.iter().try_for_each(|model| model.finite().map(|_| ()))?;
        let is_deepest = |model: &usize| blocks[*model].len() == most;
        let deepest = Some(plan.anchor).filter(is_deepest).or_else(|| (0..models.len()).rev().find(is_deepest));
        let deepest = deepest.unwrap_or(plan.anchor);
        if options.aligned_only == Some(true) && deepest != plan.anchor && !is_deepest(&plan.anchor) {
            return Err(Error::input(
                "a network that is aligned keeps its function, for which it must not lose blocks that only it has",
            )
            .hint(
                "align the shallower network to the deeper one, named last; one that is fused `into` another must be no deeper than it",
            ));
        }
        let given = options.pairs.as_deref().map(given::read).transpose()?;
        let originals = models.to_vec();
        let mut found = Self {
            pairs: vec![None; models.len()],
            anchor: plan.anchor,
            report: DepthReport::of(&originals, &blocks, deepest, plan.anchor)?,
            difference,
            originals,
        };
        let others: Vec<usize> = (0..models.len()).filter(|&model| model != deepest).collect();
        let stage = context.stage("pairing layers", others.len());
        let recorded = likeness::Recordings::of(&found.originals, &blocks, samples, context)?;
        for &model in &others {
            if fits(&found.originals, (model, deepest), plan)? {
                stage.step();
                continue;
            }
            let likeness = recorded.likeness(model, deepest)?;
            let pairs = match &given {
                Some(given) => given.of(model, others.len())?,
                None => {
                    let (deep, own) = (found.cut(deepest, &blocks)?, found.cut(model, &blocks)?);
                    pair_blocks(deep, own, &likeness)
                        .map_err(|error| found.refused(&error, (deepest, model), &blocks))?
                }
            };
            let (deepened, error) =
                found.deepened((deepest, model), &blocks, (&pairs, options.pairs.as_deref()), plan, context)?;
            found.report.models.push(PairedModel::of(
                &found.originals[model],
                model,
                &blocks[model],
                &pairs,
                &likeness,
                error,
            ));
            models[model] = found.originals[model].in_form_of(&found.originals[deepest], deepened)?;
            found.pairs[model] = Some(pairs);
            stage.step();
        }
        drop(stage);
        if let Err((error, paths)) = Group::matched(models, None, plan)? {
            let model = others.into_iter().find(|&model| found.pairs[model].is_some()).unwrap_or(plan.anchor);
            let reason = crate::error::fusion_error(&error, &paths, plan.anchor).message;
            return Err(found.unlike(&reason, (deepest, model), &blocks));
        }
        Ok(Some(found))
    }

    fn cut<'a>(&'a self, model: usize, blocks: &'a [Vec<Block>]) -> Result<(&'a Graph, &'a [Block])> {
        Ok((self.originals[model].graph()?, &blocks[model]))
    }

    /// A model in the deepest one's form, and how far its outputs are from its own.
    fn deepened(
        &self,
        (deepest, model): (usize, usize),
        blocks: &[Vec<Block>],
        (pairs, given): (&[(usize, usize)], Option<&str>),
        plan: &Plan,
        context: &Context,
    ) -> Result<(Graph, Option<f64>)> {
        let (deep, own) = (self.cut(deepest, blocks)?, self.cut(model, blocks)?);
        let failed = |error: DepthError| match error {
            DepthError::Pairs { problem } => {
                let error = Error::input(format!("`pairs`: {problem}")).hint(given::HINT);
                given.map_or(error.clone(), |given| error.of(Path::new(given)))
            }
            error => self.refused(&error, (deepest, model), blocks),
        };
        let found = deepen_graph(deep, own, pairs, plan.seed).map_err(failed)?;
        let error = checked((own.0, &found.graph), &plan.shapes, plan.seed, context)
            .map_err(|error| error.of(self.originals[model].path()))?;
        Ok((found.graph, error))
    }

    fn refused(&self, error: &DepthError, models: (usize, usize), blocks: &[Vec<Block>]) -> Error {
        self.unlike(&error.to_string(), models, blocks)
    }

    /// Says why two networks do not go together, their blocks side by side.
    fn unlike(&self, reason: &str, (deepest, model): (usize, usize), blocks: &[Vec<Block>]) -> Error {
        let table = report::side_by_side(&self.originals, (deepest, model), blocks);
        let why = if reason == self.difference { String::new() } else { format!("; {reason}") };
        let file = Some(self.originals[model].path().to_owned());
        let error = Error::input(format!("{}{why}\n{table}", self.difference));
        Error { file, ..error }
            .hint("networks of unequal depth must be made of blocks of one form; `otfuse inspect` shows each of them")
    }

    /// Whether the result has fewer blocks than the networks that are fused.
    pub fn is_shortened(&self) -> bool {
        self.pairs[self.anchor].is_some()
    }

    /// The fused network in the form of a shallower anchor, fitted on the samples where there are any; and that anchor, its tied
    /// weights apart where those of the fused network are.
    ///
    /// # Errors
    /// A network that cannot be run on the samples.
    pub fn shortened(
        &mut self,
        fused: &Graph,
        (repair, rounds): (RepairName, usize),
        samples: &Prepared,
        context: &Context,
    ) -> Result<(Graph, Model)> {
        let mut anchor = self.originals[self.anchor].clone();
        let Some(pairs) = self.pairs[self.anchor].clone() else { return Ok((fused.clone(), anchor)) };
        let failed = |error: DepthError| match error {
            DepthError::Repair(RepairError::Runtime { source, .. }) => match source.downcast::<RuntimeError>() {
                Ok(error) => Error::from(*error),
                Err(error) => Error::run(error),
            },
            DepthError::Repair(RepairError::Fusion(FusionError::Cancelled)) => Error::cancelled(),
            error => Error::run(error),
        };
        let mut blocks = blocks_of(&[fused, anchor.graph()?]).map_err(Error::input)?;
        let split = split_weights((fused, &blocks[0]), (anchor.graph()?, &blocks[1]), &pairs).map_err(failed)?;
        let is_split = !split.is_empty();
        for name in split {
            anchor = anchor.untied(&name)?.ok_or_else(|| {
                Error::input(format!("'{name}' is one weight in several places, which the fused network has apart"))
                    .of(anchor.path())
                    .hint("`symmetry` permutations keeps it one")
            })?;
        }
        if is_split {
            blocks = blocks_of(&[fused, anchor.graph()?]).map_err(Error::input)?;
        }
        let runner =
            samples.all.as_ref().filter(|_| is_fitting(repair)).map(|all| SampleRunner::new(all, context.host()));
        self.report.is_fitted = Some(runner.is_some());
        if runner.is_none() {
            context.warn(
                "the blocks that only the deeper network has are left out, and what they compute is lost: without samples \
                 (`data`, or `samples_from` parents) the others cannot be fitted to it",
            );
        }
        let stage = context.stage("fitting the layers that are left", 1);
        let mut observe = |done, total| {
            stage.at(done, total);
            context.flow()
        };
        let fitting = runner.as_ref().map(|runner| (runner as &dyn otfuse_fusion::Runner, RIDGE, rounds));
        let graph = shorten((fused, &blocks[0]), (anchor.graph()?, &blocks[1]), &pairs, fitting, &mut observe)
            .map_err(failed)?;
        Ok((graph, anchor))
    }
}

/// Whether a repair fits layers by least squares.
fn is_fitting(repair: RepairName) -> bool {
    matches!(repair, RepairName::LeastSquares | RepairName::Distill)
}

/// How the graphs of models differ that are not of one form; `None` where they are, or something else is wrong, which is said where it is
/// met.
fn difference(models: &[Model], plan: &Plan, options: &FuseOptions) -> Result<Option<String>> {
    match Group::matched(models, None, plan)? {
        Ok(_) if options.pairs.is_some() => {
            Err(Error::input("`pairs`: the networks are of one depth, so that each block has its partner")
                .hint("leave `pairs` out"))
        }
        Err((error @ FusionError::Architecture { .. }, paths)) => {
            Ok(Some(crate::error::fusion_error(&error, &paths, plan.anchor).message))
        }
        _ => Ok(None),
    }
}

fn refuse_widths(options: &FuseOptions) -> Result<()> {
    let asked = [("target_width", options.target_width.is_some()), ("width_budget", options.width_budget.is_some())];
    match asked.into_iter().find(|(_, is_asked)| *is_asked) {
        Some((name, _)) => Err(Error::input(format!("`{name}` does not go with networks of unequal depth"))
            .hint("fuse them first, then `otfuse prune` the result")),
        None => Ok(()),
    }
}

/// Whether two models are of one form.
fn fits(models: &[Model], (model, deepest): (usize, usize), plan: &Plan) -> Result<bool> {
    let two = [models[model].clone(), models[deepest].clone()];
    let plan = Plan { anchor: 1, ..plan.clone() };
    Ok(!matches!(Group::matched(&two, None, &plan)?, Err((FusionError::Architecture { .. }, _))))
}

/// How far the outputs of a deepened network are from its own; `None` where it cannot be run.
fn checked(
    (own, deepened): (&Graph, &Graph),
    shapes: &InputShapes,
    seed: u64,
    context: &Context,
) -> Result<Option<f64>> {
    match difference_of(own, deepened, shapes, seed, context.host()) {
        Ok(error) if error <= TOLERANCE => Ok(Some(error)),
        Ok(error) => Err(Error::run(format!(
            "with blocks that should change nothing the outputs change by {error:.1e} of their size, more than {TOLERANCE:.0e}"
        ))
        .hint("please report this network: blocks of its kind are not understood")),
        Err(VerifyError::Runtime(error @ RuntimeError::Unsupported { .. })) => {
            context.warn(&format!("that new blocks change nothing is not proved: {error}"));
            Ok(None)
        }
        Err(error) => Err(Error::from(error)),
    }
}

/// A network in the form of a deeper one, computing what it computed: blocks that the deeper one has more are put in so that they
/// change nothing, which is checked by running both (relative error below 1e-5). The graph has the nodes and names of `like`.
///
/// # Errors
/// Networks whose blocks do not correspond, with the blocks of both.
pub fn deepen(model: &Model, like: &Model, seed: u64, context: &Context) -> Result<Graph> {
    context.install(|| {
        let models = [model.clone(), like.clone()];
        let options = FuseOptions { seed: Some(seed), anchor: Some(1), ..FuseOptions::default() };
        let plan = Plan::resolve(&options, &models, crate::fusing::plan::Purpose::Fuse { has_data: false })?;
        let mut deepened = models.to_vec();
        let quiet = context.clone().observer(|_: &crate::Event<'_>| {});
        match Depths::matched(&mut deepened, &plan, &options, &Prepared::default(), &quiet)? {
            Some(found) if found.report.deepest == 0 => {
                Err(Error::input("it is deeper than the network in whose form it is to be brought")
                    .of(model.path())
                    .hint("the deeper network comes second"))
            }
            _ => deepened[0].graph().cloned(),
        }
    })
}
