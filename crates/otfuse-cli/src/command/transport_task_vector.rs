//! `otfuse transport-task-vector`.

use std::path::PathBuf;

use clap::Args;
use otfuse::{
    CostName, DataOptions, LoraAdapter, Measure, ModeName, Model, Registry, RepairName, Result, TransportMeasures,
    TransportOptions, TransportRehearsal, TransportReport, TypeName, adapted, rehearse_transport,
    transport_task_vector,
};

use crate::arguments::{Data, Proof, Reading, Transport};
use crate::choice::{choice, said};
use crate::session::Session;
use crate::table::{count, percent, table};

/// `transport-task-vector`.
#[derive(Args, Debug)]
pub struct TransportTaskVector {
    /// The network that was tuned, as it was before
    base: PathBuf,
    /// The same network after it was tuned; or a LoRA adapter of it, a folder with adapter_config.json
    tuned: PathBuf,
    /// The network that is to learn the same
    target: PathBuf,
    /// Where to write TARGET with what was learned; the extension chooses the format
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    data: Data,
    /// How often the difference is added [default: 1]
    #[arg(long, value_name = "L", allow_negative_numbers = true)]
    scale: Option<f64>,
    /// How much the tuned network itself is followed where layers are fitted: 0 adds what it says beyond its base to what TARGET
    /// says, 1 asks for what it says itself [default: 0]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    follow: Option<f64>,
    #[command(flatten)]
    transport: Transport,
    /// What describes a neuron; auto: activations with --data, else weights [default: auto]
    #[arg(long, value_parser = choice::<ModeName>())]
    mode: Option<ModeName>,
    /// Distance between the features of two neurons; euclidean if not given
    #[arg(long, value_parser = choice::<CostName>())]
    cost: Option<CostName>,
    /// Unlabelled samples for activations and repair, spread evenly over the training split [default: 1000]
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Labelled samples, spread evenly over the test split of --data, on which the networks are measured; 0 for none
    /// [default: 1000]
    #[arg(long, value_name = "N")]
    check: Option<usize>,
    /// What is repaired afterwards: none or least-squares; least-squares with --data [default: auto]
    #[arg(long, value_parser = choice::<RepairName>())]
    repair: Option<RepairName>,
    /// How strongly least squares holds weights where the difference puts them, relative to the variance of a layer's inputs
    /// [default: 0.03]
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    ridge: Option<f64>,
    /// How often least squares fits layers again to what comes out behind their activation functions [default: 5]
    #[arg(long, value_name = "N")]
    repair_rounds: Option<usize>,
    /// The element type that the weights of the result are written in; that of TARGET if not given
    #[arg(long, value_parser = choice::<TypeName>())]
    dtype: Option<TypeName>,
    /// Check options, files, shapes and data, say what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    proof: Proof,
    /// Seed of the proof [default: 0]
    #[arg(long)]
    seed: Option<u64>,
}

impl TransportTaskVector {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        let [base, tuned, target] = self.models(&mut registry)?;
        let data = self.data.open(&DataOptions::default(), &mut registry)?;
        registry.result("output", &self.output, &target)?;
        let (options, data, context) = (self.options(), data.as_ref(), &session.context);
        if self.dry_run {
            let found = rehearse_transport(&base, &tuned, &target, &options, data, context)?;
            return session.print(&found, |found| self.rehearsed(found));
        }
        let mut found = transport_task_vector(&base, &tuned, &target, &options, data, context)?;
        found.write(&registry, &self.output)?;
        registry.commit()?;
        session.print(&found.report, text)
    }

    fn models(&self, registry: &mut Registry) -> Result<[Model; 3]> {
        if LoraAdapter::is_at(&self.tuned) {
            registry.input("adapter", &self.tuned)?;
            let mut models = self.reading.open_all(&[self.base.clone(), self.target.clone()], registry)?;
            let target = models.remove(1);
            let base = models.remove(0);
            let tuned = adapted(&base, &LoraAdapter::open(&self.tuned)?)?;
            return Ok([base, tuned, target]);
        }
        let paths = [self.base.clone(), self.tuned.clone(), self.target.clone()];
        let mut models = self.reading.open_all(&paths, registry)?;
        let (target, tuned) = (models.remove(2), models.remove(1));
        Ok([models.remove(0), tuned, target])
    }

    fn options(&self) -> TransportOptions {
        TransportOptions {
            scale: self.scale,
            follow: self.follow,
            method: self.transport.method,
            mode: self.mode,
            cost: self.cost,
            normalize_features: said(self.transport.normalize_features),
            solver: self.transport.solver,
            epsilon: self.transport.epsilon,
            marginals: self.transport.marginals,
            activation_point: self.transport.activation_point,
            samples: self.samples,
            check: self.check,
            repair: self.repair,
            ridge: self.ridge,
            repair_rounds: self.repair_rounds,
            dtype: self.dtype,
            no_verify: said(self.proof.no_verify),
            shape: self.proof.shape(),
            seed: self.seed,
        }
    }

    fn rehearsed(&self, found: &TransportRehearsal) -> String {
        let data = found.data.as_ref().map_or_else(|| "no samples".to_owned(), |data| format!("samples of {data}"));
        format!(
            "{} would get {} times the difference between {} and {}: {} matched, repair {}, {data}; {}\nnothing was written; \
             the result would go to {}",
            found.target,
            found.scale,
            found.tuned,
            found.base,
            count(found.groups, "neuron group"),
            found.repair,
            count(found.parameters, "parameter"),
            self.output.display(),
        )
    }
}

fn text(report: &TransportReport) -> String {
    let seconds = &report.seconds;
    let fitted = match report.fitted_layers {
        0 => "nothing fitted".to_owned(),
        layers => format!("{} fitted on {}", count(layers, "layer"), count(report.samples, "sample")),
    };
    let measured =
        report.measures.as_ref().map_or_else(String::new, |found| format!("\n\n{}", measures(report, found)));
    format!(
        "{}: {} with {} times the difference between {} and {} ({} of its weights' norm)\n{} matched, {} moved; {fitted}\nproof \
         {:.2} s, activations {:.2} s, alignment {:.2} s, difference {:.2} s, repair {:.2} s{measured}",
        report.output,
        report.target,
        report.scale,
        report.tuned,
        report.base,
        percent(report.difference),
        count(report.groups, "neuron group"),
        report.moved,
        seconds.verify,
        seconds.activations,
        seconds.align,
        seconds.add,
        seconds.repair,
    )
}

fn measures(report: &TransportReport, found: &TransportMeasures) -> String {
    let row = |name: &str, measure: &Measure| {
        let mut row = vec![name.to_owned()];
        row.extend(measure.columns().into_iter().map(|(_, value)| value));
        row
    };
    let rows = [
        row(&report.base, &found.base),
        row(&report.tuned, &found.tuned),
        row(&report.target, &found.target),
        row(&report.output, &found.result),
    ];
    let mut columns = vec!["network"];
    columns.extend(found.result.columns().into_iter().map(|(name, _)| name));
    let kept = found.kept.map_or_else(String::new, |kept| format!("; {} of the gain kept", percent(kept)));
    let table = table(&columns, &columns[1..], rows);
    format!("{table}\n{} of {}, {} split{kept}", count(found.samples, "sample"), found.data, found.split)
}
