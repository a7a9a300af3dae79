//! The difference between a network and what it was tuned to, moved into another network's neurons.

use std::borrow::Cow;
use std::path::Path;

use otfuse_fusion::{Aligned, Carried, Carry, Fusion, FusionError, carry};
use otfuse_graph::Graph;

use super::report::{TransportMeasures, TransportRehearsal, TransportReport, TransportSeconds};
use crate::activations::SampleRunner;
use crate::files::shown;
use crate::fitting::{bounded, fitted};
use crate::fusing::plan::{Plan, Purpose};
use crate::fusing::{Group, Prepared};
use crate::measure::{Clock, Meter};
use crate::options::options;
use crate::{
    Context, CostName, Dataset, Error, FuseOptions, InputShapes, MarginalName, MethodName, ModeName, Model, PointName,
    Registry, RepairName, Result, SolverName, SymmetryName, TypeName, ties,
};

/// How the three networks stand in the group of all: before, after, and the one that the difference is added to.
const BEFORE_AND_AFTER: [usize; 2] = [0, 1];
const TARGET: usize = 2;

options!(
    /// How a difference is carried over; alignment is as in a fusion.
    TransportOptions {
        /// How often the difference is added; 1.
        scale ("scale"): f64,
        /// How much the tuned network itself is followed, from 0 to 1, in place of the target's own answers; 0.
        follow ("follow"): f64,
        /// How the neurons are brought into one order; ot.
        method ("method"): MethodName,
        /// What describes a neuron; auto.
        mode ("mode"): ModeName,
        /// Distance between the features of two neurons.
        cost ("cost"): CostName,
        /// Scale every neuron's features to unit length first.
        normalize_features ("normalize-features"): bool,
        /// Solver of the transport problems; exact.
        solver ("solver"): SolverName,
        /// Strength of the entropy with the solver sinkhorn; 0.05.
        epsilon ("epsilon"): f64,
        /// Mass of each neuron; uniform.
        marginals ("marginals"): MarginalName,
        /// Where activations are taken; post with mode auto, else pre.
        activation_point ("activation-point"): PointName,
        /// Samples for activations and repair, spread evenly over the training split; 1000.
        samples ("samples"): usize,
        /// Labelled test samples on which the networks are measured; 1000, 0 for none.
        check ("check"): usize,
        /// Whether layers are fitted afterwards: none or least-squares; least-squares with data.
        repair ("repair"): RepairName,
        /// How strongly least squares holds weights where the difference puts them; 0.03.
        ridge ("ridge"): f64,
        /// How often layers are fitted again to what comes out behind their activation functions; 5.
        repair_rounds ("repair-rounds"): usize,
        /// The element type of the result's weights; that of the network that the difference is added to.
        dtype ("dtype"): TypeName,
        /// Do not prove the neuron groups of each model first.
        no_verify ("no-verify"): bool,
        /// Lengths of inputs that the proof is made on, where a network leaves them open.
        shape ("shape"): InputShapes,
        /// Seed of the proof; 0.
        seed ("seed"): u64,
    }
);

impl TransportOptions {
    fn fusing(&self) -> FuseOptions {
        FuseOptions {
            method: self.method,
            mode: self.mode,
            cost: self.cost,
            normalize_features: self.normalize_features,
            solver: self.solver,
            epsilon: self.epsilon,
            marginals: self.marginals,
            activation_point: self.activation_point,
            samples: self.samples,
            check: self.check,
            repair: self.repair,
            ridge: self.ridge,
            repair_rounds: self.repair_rounds,
            no_verify: self.no_verify,
            shape: self.shape.clone(),
            seed: self.seed,
            symmetry: Some(SymmetryName::Permutations),
            ..FuseOptions::default()
        }
    }
}

/// A network with what another one learned.
pub struct Transported {
    models: Vec<Model>,
    like: Model,
    /// The network.
    pub graph: Graph,
    /// What was done.
    pub report: TransportReport,
}

/// Adds what `tuned` learned since it was `base` to `target`, an independently trained network of the same architecture: `base`
/// is aligned to `target` as a fusion would align them (by permutations or soft plans, not by rotations), `tuned` goes the same
/// way, and `scale` times the difference of the two is added to `target`'s weights. With data each layer is then fitted on
/// unlabelled samples, so that the network says what `target` says and what `tuned` says beyond `base`
/// ([`carry`](otfuse_fusion::carry())); without, little of a gain survives between networks of unequal seeds
/// (docs/task-vectors.md). Labels, where there are such, only measure.
///
/// # Errors
/// Networks of other architectures, a tuned network of other shapes than its base, options out of range, samples that do not
/// fit, a proof that fails.
pub fn transport_task_vector(
    base: &Model,
    tuned: &Model,
    target: &Model,
    options: &TransportOptions,
    data: Option<&Dataset>,
    context: &Context,
) -> Result<Transported> {
    let models = [base.clone(), tuned.clone(), target.clone()];
    context.install(|| Transporter::new(models, options, data, context)?.transported())
}

/// Checks all that [`transport_task_vector`] would, and says what it would do.
///
/// # Errors
/// As there, of what does not take the weights.
pub fn rehearse_transport(
    base: &Model,
    tuned: &Model,
    target: &Model,
    options: &TransportOptions,
    data: Option<&Dataset>,
    context: &Context,
) -> Result<TransportRehearsal> {
    let models = [base.clone(), tuned.clone(), target.clone()];
    context.install(|| Transporter::new(models, options, data, context)?.rehearsed())
}

struct Transporter<'a> {
    models: [Model; 3],
    options: &'a TransportOptions,
    data: Option<&'a Dataset>,
    context: &'a Context,
    plan: Plan,
    scale: f64,
    follow: f64,
}

/// The networks, matched: the base with the target, and all three.
struct Groups {
    pair: Group,
    all: Group,
}

impl<'a> Transporter<'a> {
    fn new(
        models: [Model; 3],
        options: &'a TransportOptions,
        data: Option<&'a Dataset>,
        context: &'a Context,
    ) -> Result<Self> {
        let number =
            |name: &str, value: Option<f64>, default: f64| match value.unwrap_or(default) {
                value if value.is_finite() => Ok(value),
                value => Err(Error::input(format!("`{name}` {value}: expected a number"))
                    .hint(format!("the default is {default}"))),
            };
        let (scale, follow) = (number("scale", options.scale, 1.0)?, number("follow", options.follow, 0.0)?);
        if !(0.0..=1.0).contains(&follow) {
            return Err(Error::input(format!("`follow` {follow}: expected a number from 0 to 1"))
                .hint("0 adds the change to what the target says, 1 asks for what the tuned network says"));
        }
        if let Some(repair) = options.repair
            && !matches!(repair, RepairName::Auto | RepairName::None | RepairName::LeastSquares)
        {
            return Err(Error::input(format!("`repair` {repair}: expected auto, none or least-squares"))
                .hint("least-squares, the default with `data`, follows the change of the tuned network"));
        }
        let models = ties::alike(&models, context)?;
        let [base, tuned, target] = [0, 1, 2].map(|at| models[at].clone());
        let pair = [base.clone(), target.clone()];
        let plan = Plan::resolve(&options.fusing(), &pair, Purpose::Fuse { has_data: data.is_some() })?;
        let repair = if plan.repair == RepairName::LeastSquares { plan.repair } else { RepairName::None };
        if options.follow.is_some() && repair == RepairName::None {
            return Err(Error::input("`follow` goes with `repair` least-squares").hint("name samples: `data`"));
        }
        let plan = Plan { repair, ..plan };
        let target = match options.dtype {
            Some(dtype) => target.retyped(dtype.data_type())?,
            None => target,
        };
        Ok(Self { models: [base, tuned, target], options, data, context, plan, scale, follow })
    }

    fn groups(&self) -> Result<Groups> {
        let [base, _, target] = &self.models;
        let pair = Group::open(&[base.clone(), target.clone()], None, &self.plan)?;
        let all = Group::open(&self.models, None, &Plan { anchor: TARGET, ..self.plan.clone() })?;
        Ok(Groups { pair, all })
    }

    fn rehearsed(&self) -> Result<TransportRehearsal> {
        let Groups { all, .. } = self.groups()?;
        let [base, tuned, target] = self.models.each_ref().map(Model::shown);
        if let Some(data) = self.data {
            data.train()?;
        }
        Ok(TransportRehearsal {
            base,
            tuned,
            target,
            scale: self.scale,
            repair: self.plan.repair,
            data: self.data.map(|data| data.name().to_owned()),
            groups: all.networks.groups().len(),
            parameters: self.models[TARGET].graph()?.parameter_count(),
        })
    }

    fn transported(self) -> Result<Transported> {
        let context = self.context;
        for model in &self.models {
            model.told(context)?;
        }
        let mut seconds = TransportSeconds::default();
        let samples = self.samples()?;
        let groups = self.groups()?;
        let mut clock = Clock::start();
        if !self.options.no_verify.unwrap_or(false) {
            groups.pair.prove(&self.plan, context)?;
        }
        seconds.verify = clock.lap();
        let activations = groups.pair.activations(&self.plan, &samples, context)?;
        seconds.activations = clock.lap();
        let aligned = groups.pair.aligned(&self.plan, activations.as_deref(), context)?;
        let found = aligned.alignments.iter().flat_map(|alignment| &alignment.groups);
        let moved = found.filter(|group| !group.plan.is_identity()).count();
        seconds.align = clock.lap();
        let failure = |error: FusionError| groups.all.error(&error);
        let aligned: Aligned = aligned.extended(&groups.all.networks, &[0, 0, 1]).map_err(failure)?;
        let difference = aligned.relative_difference(BEFORE_AND_AFTER);
        if difference == 0.0 {
            context.warn(&format!("{} and {} have the same weights", self.models[0].shown(), self.models[1].shown()));
        }
        let fusion = aligned.with_difference(BEFORE_AND_AFTER, self.scale).map_err(failure)?;
        seconds.add = clock.lap();
        let fitted_on = samples.all.as_ref().filter(|_| self.plan.repair == RepairName::LeastSquares);
        let Carried { graph, fitted } = match fitted_on {
            Some(samples) => self.carried(&groups.all, &fusion, samples)?,
            None => Carried { graph: fusion.rounded(&groups.all.networks).map_err(failure)?, fitted: 0 },
        };
        seconds.repair = clock.lap();
        let measures = self.measured(&graph)?;
        seconds.measure = clock.lap();
        let [base, tuned, target] = self.models.each_ref().map(Model::shown);
        let report = TransportReport {
            output: String::new(),
            base,
            tuned,
            target,
            scale: self.scale,
            follow: self.follow,
            repair: self.plan.repair,
            data: self.data.map(|data| data.name().to_owned()),
            samples: fitted_on.map_or(0, |samples| samples.len()),
            fitted_layers: fitted,
            groups: groups.all.networks.groups().len(),
            moved,
            difference,
            measures,
            seconds,
        };
        context.check()?;
        let like = self.models[TARGET].clone();
        Ok(Transported { models: self.models.to_vec(), like, graph, report })
    }

    fn carried(&self, group: &Group, fusion: &Fusion, samples: &crate::Samples) -> Result<Carried> {
        let [before, after] = BEFORE_AND_AFTER;
        let Self { scale, follow, .. } = *self;
        let settings = Carry { before, after, scale, follow, ridge: self.plan.ridge, rounds: self.plan.rounds };
        let stage = self.context.stage("fitting layers", 0);
        let mut observe = |done, total| {
            stage.at(done, total);
            self.context.flow()
        };
        let runner = SampleRunner::new(samples, self.context.host());
        let carried = carry(&group.networks, fusion, &settings, &runner, &mut observe);
        let carried = carried.map_err(|error| group.repair_error(error))?;
        if carried.fitted == 0 {
            self.context.warn(&format!(
                "{}: no layer has weights of its own that could be fitted; the difference of weights was added, no more",
                self.models[TARGET].shown()
            ));
        }
        Ok(carried)
    }

    fn samples(&self) -> Result<Prepared> {
        let Some(data) = self.data else { return Ok(Prepared::default()) };
        let refs: Vec<&Model> = self.models.iter().collect();
        Prepared::of(&self.plan, || fitted(Cow::Owned(data.train()?), &refs, self.context), false)?.finite()
    }

    /// All four networks on test samples, where these have labels.
    fn measured(&self, graph: &Graph) -> Result<Option<TransportMeasures>> {
        let count = self.plan.check;
        let Some(data) = self.data.filter(|_| count > 0) else { return Ok(None) };
        let (samples, split) = match data.test_if_any()? {
            Some(samples) => (samples, "test"),
            None => (data.train()?, "train"),
        };
        if !samples.is_labelled() {
            return Ok(None);
        }
        let refs: Vec<&Model> = self.models.iter().collect();
        // What there is to say was said of the training samples.
        let quiet = self.context.clone().observer(|_: &crate::Event<'_>| {});
        let samples = bounded(fitted(Cow::Owned(samples), &refs, &quiet)?.spread(count));
        let meter = Meter::new(self.context, 4 * samples.len());
        let of = |model: &Model| meter.measure(model.graph()?, &samples);
        let [base, tuned, target] = &self.models;
        let (base, tuned, target) = (of(base)?, of(tuned)?, of(target)?);
        let result = meter.measure(graph, &samples)?;
        let gain = tuned.score() - base.score();
        let kept = (gain > 0.0).then(|| (result.score() - target.score()) / gain);
        let (data, samples) = (samples.name().to_owned(), samples.len());
        Ok(Some(TransportMeasures { data, split, samples, base, tuned, target, result, kept }))
    }
}

impl Transported {
    /// Stages the network to be written; the extension chooses the format.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn write(&mut self, registry: &Registry, path: &Path) -> Result<()> {
        self.report.output = shown(path);
        self.like.write(&self.graph, registry.outputs(), path)
    }

    /// Writes the network, whole or not at all.
    ///
    /// # Errors
    /// A path that cannot be written, or is one of the networks.
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let (models, like, path) = (self.models.clone(), self.like.clone(), path.as_ref());
        let models: Vec<&Model> = models.iter().collect();
        Registry::alone(&models, &like, path, |registry| self.write(registry, path))
    }

    /// The network that gave the result its form.
    pub fn target(&self) -> &Model {
        &self.like
    }
}
