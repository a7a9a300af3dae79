//! `otfuse generate`.

use std::path::PathBuf;

use clap::Args;
use otfuse::{DataOptions, Dataset, GenerateOptions, GenerateReport, InputShapes, Range, Registry, Result, generate};

use crate::arguments::Reading;
use crate::session::Session;
use crate::table::{count, table};

/// `generate`.
#[derive(Args, Debug)]
pub struct Generate {
    /// The generators
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    /// What they are made of: noise:normal or noise:uniform, with a number of draws [default: noise:normal,5000]
    #[arg(long, value_name = "noise:LAW,N")]
    data: Option<String>,
    /// Measure how far what they make is from the test samples of this data set, as --data of other commands
    #[arg(long, value_name = "SPEC")]
    against: Option<String>,
    /// Normalisation of that data set, in place of its own
    #[arg(long, value_name = "NAME|MEAN/STD", requires = "against")]
    normalize: Option<String>,
    /// The classifier whose last features are compared; a perceptron that is trained on the data set, if not given
    #[arg(long, value_name = "MODEL", requires = "against")]
    features: Option<PathBuf>,
    /// Architecture of the classifier, if it is a checkpoint without a graph
    #[arg(long, value_name = "NAME|FILE", requires = "features")]
    features_arch: Option<String>,
    /// The alignment that a fusion of the first models saved: each makes of the same noise what the fusion took it for
    #[arg(long, value_name = "FILE")]
    alignment: Option<PathBuf>,
    /// The numbers of outputs that are black and white; by the function that they end in, if not given
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true)]
    range: Option<Range>,
    /// Write the first samples: a row for each generator, a column for each draw
    #[arg(short, long, value_name = "GRID.png")]
    output: Option<PathBuf>,
    /// Samples of a row of the picture
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=64))]
    columns: u64,
    /// Write what they make on the way from draw to draw
    #[arg(long, value_name = "WALK.png")]
    walk: Option<PathBuf>,
    /// Lengths of an input that leaves some open: z=1x100
    #[arg(long, value_name = "INPUT=AxBx..")]
    shape: Vec<InputShapes>,
    /// Seed of the noise, and of the classifier [default: 0]
    #[arg(long)]
    seed: Option<u64>,
}

impl Generate {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        let models = self.reading.open_all(&self.models, &mut registry)?;
        let of_features = Reading { arch: self.features_arch.iter().cloned().collect(), weights_key: None };
        let features = self.features.as_ref().map(|path| of_features.open(path, &mut registry)).transpose()?;
        if let Some(path) = &self.alignment {
            registry.input("alignment", path)?;
        }
        let against = self.against.as_ref().map(|spec| {
            let options = DataOptions { normalize: self.normalize.clone(), ..DataOptions::default() };
            let data = Dataset::with(spec, &options)?;
            registry.data(&data).map(|()| data)
        });
        let against = against.transpose()?;
        for (option, path) in [("output", &self.output), ("walk", &self.walk)] {
            if let Some(path) = path {
                registry.output_of(option, path, ("pictures", "png"))?;
            }
        }
        let options = GenerateOptions {
            noise: self.data.clone(),
            range: self.range,
            alignment: self.alignment.clone(),
            features,
            walk: self.walk.is_some(),
            shapes: InputShapes::joined(&self.shape).unwrap_or_default(),
            seed: self.seed.unwrap_or(0),
        };
        let found = generate(&models, &options, against.as_ref(), &session.context)?;
        if let Some(path) = &self.output {
            found.write_grid(&registry, path, self.columns as usize)?;
        }
        if let Some(path) = &self.walk {
            found.write_walk(&registry, path)?;
        }
        registry.commit()?;
        session.print(&found.report, text)
    }
}

fn text(found: &GenerateReport) -> String {
    let classes = found.models.iter().map(|model| model.classes.len()).max().unwrap_or(0).min(20);
    let mut columns = vec!["model".to_owned(), "mean".into(), "deviation".into()];
    if found.reference.is_some() {
        columns.push("Frechet distance".into());
        columns.extend((0..classes).map(|class| format!("class {class}")));
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let rows = found.models.iter().map(|model| {
        let mut row = vec![model.path.clone(), format!("{:.3}", model.mean), format!("{:.3}", model.deviation)];
        if found.reference.is_some() {
            row.push(model.frechet.map_or_else(|| "-".into(), |distance| format!("{distance:.2}")));
            row.extend((0..classes).map(|class| {
                model.classes.get(class).map_or_else(String::new, |share| format!("{:.1} %", 100.0 * share))
            }));
        }
        row
    });
    let table = table(&columns, &columns[1..], rows);
    let reference = found.reference.as_ref().map_or_else(String::new, |reference| {
        let accuracy = reference.accuracy.map_or_else(String::new, |it| format!(", accuracy {:.2} %", 100.0 * it));
        format!(
            "; distances on {} features of {}{accuracy}, from {} of {}",
            reference.width,
            reference.features,
            count(reference.count, "sample"),
            reference.data
        )
    });
    format!("{table}\n{} of {:?} each from {}{reference}", count(found.count, "sample"), found.shape, found.noise)
}
