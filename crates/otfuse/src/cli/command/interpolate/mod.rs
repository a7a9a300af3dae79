//! `otfuse interpolate`: networks on the way between networks, measured before and after alignment.

mod page;
mod plane;
mod walk;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use otfuse_graph::Graph;
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::aligning::{Aligning, aligned, networks, open_all, shown_settings, unaligned};
use crate::cli::arguments::{RIDGE, RepairName, SplitName};
use crate::cli::fusing::Plan;
use crate::cli::models::{check_output, count, dataset};
use crate::cli::output::{Output, table};
use crate::cli::pages::{Pages, Parent, write_text};
use crate::cli::walk::Measure;
use plane::Plane;
use walk::{Barriers, Point, Split, Walker, lattice};

/// The most points of the walk and of the plane.
const MOST_POINTS: usize = 10_000;

/// `interpolate`.
#[derive(Args, Debug)]
pub struct Interpolate {
    /// The networks: two for a straight path from the first to the last, more for the simplex between all
    #[arg(required = true, num_args = 2.., value_name = "MODEL")]
    pub models: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub aligning: Aligning,
    /// Points from one network to another, ends included, or for two networks the weights of the second; 11 for two
    /// networks, 5 for more
    #[arg(long, value_name = "N|W,W,..")]
    pub steps: Option<String>,
    /// Use only the first N test samples
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Also measure on N training samples, spread evenly over the training split
    #[arg(long, value_name = "N")]
    pub train: Option<usize>,
    /// Also repair every point between the ends; all but none and data-free take --samples training samples
    #[arg(long, value_enum, default_value_t = RepairName::None)]
    pub repair: RepairName,
    /// How strongly --repair least-squares holds weights at the averaged ones
    #[arg(long, value_name = "R", default_value_t = RIDGE)]
    pub ridge: f64,
    /// Also measure N x N points of the plane through the first three aligned networks, or through the first of two as it
    /// is, aligned, and the second
    #[arg(long, value_name = "N")]
    pub plane: Option<usize>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pages: Pages,
    /// Write the points as comma-separated values
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    data: String,
    samples: usize,
    anchor: usize,
    settings: Settings,
    models: Vec<Parent>,
    points: Vec<Point>,
    barrier: Barriers,
    /// On training samples.
    train: Option<Train>,
    plane: Option<Plane>,
    seconds: Seconds,
}

#[derive(Serialize)]
struct Settings {
    alignment: Vec<(&'static str, String)>,
    repair: RepairName,
    verified: bool,
}

#[derive(Serialize)]
struct Train {
    samples: usize,
    models: Vec<Measure>,
    points: Vec<Point>,
    barrier: Barriers,
}

#[derive(Serialize, Default)]
struct Seconds {
    read: f64,
    align: f64,
    walk: f64,
    plane: f64,
}

/// Runs the command.
pub fn run(arguments: &Interpolate, output: &Output) -> Result<(), Failure> {
    let paths = &arguments.models;
    let mut fuse = arguments.aligning.fuse(paths)?;
    (fuse.repair, fuse.ridge) = (arguments.repair, arguments.ridge);
    let plan = Plan::resolve(&fuse)?;
    let steps = steps(arguments)?;
    if arguments.plane.is_some_and(|points| points < 2 || points * points > MOST_POINTS) {
        return Err(Failure::input("--plane: expected 2 to 100 points on a side").hint("for example --plane 11"));
    }
    arguments.pages.check(paths)?;
    if let Some(path) = &arguments.csv {
        check_output(path, paths, None)?;
    }
    let mut splits = vec![Split::new(dataset(&arguments.aligning.data, SplitName::Test, arguments.limit)?)];
    if let Some(samples) = arguments.train {
        if samples == 0 {
            return Err(Failure::input("--train 0: at least one sample is needed"));
        }
        splits.push(Split::new(dataset(&arguments.aligning.data, SplitName::Train, None)?.spread(samples)));
    }
    let mut seconds = Seconds::default();
    let mut clock = Instant::now();
    let mut lap = || std::mem::replace(&mut clock, Instant::now()).elapsed().as_secs_f64();
    let models = open_all(paths, &arguments.aligning.reading)?;
    let graphs: Vec<&Graph> = models.iter().map(|model| &model.graph).collect();
    let (networks, verified) = networks(&graphs, &plan, &fuse)?;
    seconds.read = lap();
    let aligned = aligned(&networks, &plan, &fuse)?;
    let plain = unaligned(&networks, &plan, &fuse)?;
    seconds.align = lap();

    let walker = Walker { networks: &networks, aligned: &aligned, plain: plain.as_ref(), arguments: &fuse };
    walker.walk(&mut splits, &steps)?;
    seconds.walk = lap();
    let plane = arguments.plane.map(|side| plane::measure(&walker, side, &splits[0].samples)).transpose()?;
    seconds.plane = lap();

    let mut splits = splits.into_iter();
    let Some(test) = splits.next() else { return Err(Failure::run("no samples")) };
    let parents = paths.iter().zip(&graphs).zip(&test.models);
    let barrier = Barriers::of(&test.points, &test.models);
    let report = Report {
        data: test.samples.name().to_owned(),
        samples: test.samples.len(),
        anchor: plan.anchor,
        settings: Settings { alignment: shown_settings(&plan, &fuse), repair: arguments.repair, verified },
        models: parents
            .map(|((path, graph), measure)| Parent::new(path, graph, Some(*measure)))
            .collect::<Result<_, _>>()?,
        points: test.points,
        barrier,
        train: splits.next().map(|train| Train {
            samples: train.samples.len(),
            barrier: Barriers::of(&train.points, &train.models),
            models: train.models,
            points: train.points,
        }),
        plane,
        seconds,
    };
    if let Some(path) = &arguments.csv {
        write_text(path, &csv(&report))?;
    }
    arguments.pages.write(&report, |_| page::page(&report, paths))?;
    output.result(&report, text)
}

/// The weights of all models at each point.
fn steps(arguments: &Interpolate) -> Result<Vec<Vec<f64>>, Failure> {
    let models = arguments.models.len();
    if models == 2 {
        let weights = crate::cli::walk::weights("--steps", arguments.steps.as_deref().unwrap_or("11"))?;
        return Ok(weights.into_iter().map(|weight| vec![1.0 - weight, weight]).collect());
    }
    let text = arguments.steps.as_deref().unwrap_or("5");
    let steps = text.trim().parse::<usize>().ok().filter(|steps| (2..=101).contains(steps)).ok_or_else(|| {
        Failure::input(format!("--steps {text}: expected a number from 2 to 101 for more than two networks"))
            .hint("it counts the points on the way from one network to another")
    })?;
    lattice(models, steps - 1, MOST_POINTS).ok_or_else(|| {
        Failure::input(format!("--steps {steps}: more than {MOST_POINTS} points between {models} networks"))
            .hint("fewer steps will do")
    })
}

/// All points as a table, all digits.
fn csv(report: &Report) -> String {
    let models = report.models.len();
    let mut text = String::from("split");
    // Writing to a string cannot fail.
    for model in 0..models {
        let _ = write!(text, ",weight_{model}");
    }
    for kind in ["vanilla", "ensemble", "ot", "repaired"] {
        let _ = write!(text, ",{kind}_accuracy,{kind}_loss");
    }
    text.push('\n');
    let test = report.points.iter().map(|point| ("test", point));
    let train = report.train.iter().flat_map(|train| &train.points).map(|point| ("train", point));
    for (split, point) in test.chain(train) {
        text.push_str(split);
        for weight in &point.weights {
            let _ = write!(text, ",{weight}");
        }
        for measure in [point.vanilla, Some(point.ensemble), Some(point.ot), point.repaired] {
            let _ = match measure {
                Some(measure) => write!(text, ",{},{}", measure.accuracy, measure.loss),
                None => write!(text, ",,"),
            };
        }
        text.push('\n');
    }
    text
}

fn text(report: &Report) -> String {
    let percent = |measure: &Measure| format!("{:.2} %", 100.0 * measure.accuracy);
    let optional = |measure: &Option<Measure>| measure.as_ref().map_or_else(|| "-".into(), percent);
    let rows = report.points.iter().map(|point| {
        let weights: Vec<String> = point.weights.iter().map(|weight| format!("{weight:.3}")).collect();
        vec![
            weights.join(" "),
            optional(&point.vanilla),
            percent(&point.ensemble),
            percent(&point.ot),
            optional(&point.repaired),
        ]
    });
    let parents = report
        .models
        .iter()
        .map(|parent| format!("{}: {}", parent.path, parent.measure.as_ref().map_or_else(String::new, percent)));
    let parents: Vec<String> = parents.collect();
    let header = ["weights", "vanilla", "ensemble", "ot", "repaired"];
    let barriers = |split: &str, barrier: &Barriers| {
        let mut text = format!("loss barrier, {split}:");
        for (name, barrier) in barrier.all() {
            let weights: Vec<String> = barrier.weights.iter().map(|weight| format!("{weight:.3}")).collect();
            let _ = write!(text, "  {name} {:.4} at {}", barrier.loss, weights.join(" "));
        }
        text
    };
    let mut shown = format!(
        "{}\n{}\n\naccuracy on {} of {}\n{}",
        parents.join("\n"),
        table(&header, &header, rows),
        count(report.samples, "sample"),
        report.data,
        barriers("test", &report.barrier),
    );
    if let Some(train) = &report.train {
        let _ = write!(shown, "\n{}", barriers("train", &train.barrier));
    }
    shown
}
