//! The page of a walk.

use otfuse_report::{Block, Cell, ContourMap, Figure, Grid, LineChart, Mark, Page, ReportError, Section, Series};

use super::{Paged, models_section, short_names};
use crate::files::count;
use crate::interpolate::{Barriers, Plane, Walk, WalkPoint};
use crate::measure::Measure;

impl Paged for Walk {
    fn page(&self) -> Result<Page, ReportError> {
        page(self)
    }
}

/// What is measured of a point.
type Kind = (&'static str, &'static str, fn(&WalkPoint) -> Option<Measure>);

/// Key in the JSON, name on the page.
const KINDS: [Kind; 4] = [
    ("vanilla", "plain average", |point| point.vanilla),
    ("ot", "aligned, then averaged", |point| Some(point.ot)),
    ("repaired", "aligned, averaged, repaired", |point| point.repaired),
    ("ensemble", "ensemble", |point| Some(point.ensemble)),
];

/// The whole page.
fn page(report: &Walk) -> Result<Page, ReportError> {
    let names = short_names(&report.models);
    let between = match names.as_slice() {
        [first, second] => format!("From {first} to {second}"),
        names => format!("Between {}", names.join(", ")),
    };
    let mut sections = vec![results(report), charts(report, &names)?];
    if let Some(plane) = &report.plane {
        sections.push(plane_section(plane, &names)?);
    }
    sections.push(models_section(&report.models));
    sections.push(settings(report));
    Ok(Page {
        title: between,
        verdict: verdict(report),
        summary: format!(
            "{} with the weights of the networks above mixed in other shares, measured on {} of {}.",
            count(report.points.len(), "network"),
            count(report.samples, "sample"),
            report.data
        ),
        sections,
        ..Page::default()
    })
}

/// Whether the way is free.
fn verdict(report: &Walk) -> String {
    let of_numbers = report.points.iter().any(|point| point.ot.is_of_numbers());
    let what = if of_numbers { "squared error" } else { "loss" };
    let plain =
        report.barrier.vanilla.as_ref().map_or_else(String::new, |barrier| {
            format!("; averaged without alignment it rises by {:.4}", barrier.loss)
        });
    let repaired = report
        .barrier
        .repaired
        .as_ref()
        .map_or_else(String::new, |barrier| format!(", repaired by {:.4}", barrier.loss));
    format!(
        "Between the aligned networks the {what} rises by {:.4} at most above the straight line{repaired}{plain}.",
        report.barrier.ot.loss
    )
}

/// Barriers before and after.
fn results(report: &Walk) -> Section {
    let mut rows = Vec::new();
    let mut add = |split: &str, at: &str, barriers: &Barriers| {
        for (key, barrier) in barriers.all() {
            let name = KINDS.iter().find(|kind| kind.0 == key).map_or(key, |kind| kind.1);
            let weights: Vec<String> = barrier.weights.iter().map(|weight| format!("{weight:.2}")).collect();
            rows.push(vec![
                Cell::text(name),
                Cell::text(split),
                Cell::number(barrier.loss, 4, format!("{at}/barrier/{key}/loss")),
                Cell::text(weights.join(" : ")),
            ]);
        }
    };
    add("test", "", &report.barrier);
    if let Some(train) = &report.train {
        add("training", "/train", &train.barrier);
    }
    let grid = Grid {
        caption: "Loss barrier: how far the loss rises above the straight line between the ends, in nats".into(),
        header: ["Network", "Samples", "Barrier", "Shares there"].map(String::from).to_vec(),
        rows,
    };
    Section { heading: "Barrier".into(), blocks: vec![Block::Grid(grid)] }
}

/// Loss and accuracy over the points, on test and training samples.
fn charts(report: &Walk, names: &[String]) -> Result<Section, ReportError> {
    let mut splits = vec![("test", "test samples", "", &report.points)];
    if let Some(train) = &report.train {
        splits.push(("train", "training samples", "/train", &train.points));
    }
    let mut options = Vec::new();
    for (key, name, at, points) in splits {
        let mut blocks = Vec::new();
        if names.len() == 2 {
            let of_numbers = points.iter().any(|point| point.ot.is_of_numbers());
            let charts = match of_numbers {
                true => &[("loss", "mean squared error")][..],
                false => &[("loss", "loss (nats)"), ("accuracy", "accuracy (%)")],
            };
            for &(measure, label) in charts {
                let title = format!("{} on {name}", if measure == "loss" { "Loss" } else { "Accuracy" });
                let chart = path(points, title, label, &names[1], measure == "loss");
                blocks.push(Block::Figure(Figure::new(&format!("{measure}-{key}"), &chart)?));
            }
        }
        blocks.push(Block::Grid(points_grid(points, at, names)));
        options.push((name.to_owned(), blocks));
    }
    let heading = if names.len() == 2 { "Along the path" } else { "Over the simplex" };
    let blocks = match options.len() {
        1 => options.remove(0).1,
        _ => vec![Block::Choice { label: "Measured on".into(), options }],
    };
    Ok(Section { heading: heading.into(), blocks })
}

fn path(points: &[WalkPoint], title: String, y_label: &str, last: &str, of_loss: bool) -> LineChart {
    let series = KINDS.iter().filter(|(.., kind)| points.iter().any(|point| kind(point).is_some()));
    let series = series.map(|(_, name, kind)| Series {
        name: (*name).into(),
        points: points
            .iter()
            .filter_map(|point| {
                let measure = kind(point)?;
                let value = if of_loss { measure.loss } else { 100.0 * measure.accuracy };
                Some(otfuse_report::Point::new(point.weights[1], value))
            })
            .collect(),
    });
    LineChart { title, x_label: format!("share of {last}"), y_label: y_label.into(), series: series.collect() }
}

fn points_grid(points: &[WalkPoint], at: &str, names: &[String]) -> Grid {
    let kinds: Vec<&Kind> =
        KINDS.iter().filter(|(.., kind)| points.iter().any(|point| kind(point).is_some())).collect();
    let mut header = vec![if names.len() == 2 { "Share of the second".into() } else { "Shares".to_owned() }];
    let of_numbers = points.iter().any(|point| point.ot.is_of_numbers());
    for (_, name, _) in &kinds {
        header.push(format!("{}, {name}", if of_numbers { "Squared error" } else { "Loss" }));
        header.extend((!of_numbers).then(|| format!("Accuracy, {name}")));
    }
    let rows = points.iter().enumerate().map(|(index, point)| {
        let shares: Vec<String> = point.weights.iter().map(|weight| format!("{weight:.2}")).collect();
        let mut row = vec![match names.len() {
            2 => Cell::number(point.weights[1], 3, format!("{at}/points/{index}/weights/1")),
            _ => Cell::text(shares.join(" : ")),
        }];
        for (key, _, kind) in &kinds {
            let pointer = |field: &str| format!("{at}/points/{index}/{key}/{field}");
            match kind(point) {
                Some(measure) => {
                    row.push(Cell::number(measure.loss, 4, pointer("loss")));
                    row.extend((!of_numbers).then(|| Cell::percent(measure.accuracy, pointer("accuracy"))));
                }
                None => row.extend(vec![Cell::none(); if of_numbers { 1 } else { 2 }]),
            }
        }
        row
    });
    Grid { caption: "All points".into(), header, rows: rows.collect() }
}

/// Contour maps of loss and accuracy.
fn plane_section(plane: &Plane, names: &[String]) -> Result<Section, ReportError> {
    let marks: Vec<Mark> = plane
        .corners
        .iter()
        .map(|corner| {
            let name = &names[corner.model];
            let name = match (corner.aligned, names.len()) {
                (false, _) => format!("{name} as it is"),
                (true, 2) if corner.model == plane.corners[0].model => format!("{name} aligned"),
                _ => name.clone(),
            };
            Mark { name, x: corner.x, y: corner.y }
        })
        .collect();
    // A few points far away may lose a hundred times as much: they would take all colours.
    let mut sorted: Vec<f64> = plane.loss.iter().copied().filter(|loss| loss.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let ceiling = sorted.get(sorted.len() * 4 / 5).copied();
    let map = |title: &str, value_label: &str, values: Vec<f64>, ceiling: Option<f64>| ContourMap {
        title: title.into(),
        x_label: "distance in the space of weights".into(),
        y_label: "distance".into(),
        value_label: value_label.into(),
        x: plane.x.clone(),
        y: plane.y.clone(),
        values,
        marks: marks.clone(),
        ceiling,
    };
    let loss = map("Loss in the plane through three networks", "loss", plane.loss.clone(), ceiling);
    let accuracy = plane.accuracy.iter().map(|accuracy| 100.0 * accuracy).collect();
    let accuracy = map("Accuracy in the plane through three networks", "accuracy %", accuracy, None);
    let mut figures = vec![("loss-plane", "loss", loss)];
    if !plane.accuracy.is_empty() {
        figures.push(("accuracy-plane", "accuracy", accuracy));
    }
    let mut options = Vec::new();
    for (name, label, chart) in figures {
        options.push((label.to_owned(), vec![Block::Figure(Figure::new(name, &chart)?)]));
    }
    let text = "Losses above four fifths of all values have the last colour.";
    let blocks = vec![Block::Choice { label: "Shown".into(), options }, Block::Text(text.into())];
    Ok(Section { heading: "Plane".into(), blocks })
}

fn settings(report: &Walk) -> Section {
    let mut facts: Vec<(String, Cell)> = report
        .settings
        .alignment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Cell::text(value.as_str())))
        .collect();
    let names = short_names(&report.models);
    facts.push(("anchor".into(), Cell::short(&names[report.anchor], report.models[report.anchor].path.as_str())));
    if !report.settings.halfway.is_empty() {
        let differences = report.settings.halfway.join(", ").replace('`', "");
        facts.push(("halfway differs from fuse in".into(), Cell::text(differences)));
    }
    let seconds = &report.seconds;
    for (name, value) in
        [("read", seconds.read), ("align", seconds.align), ("walk", seconds.walk), ("plane", seconds.plane)]
    {
        facts.push((format!("{name}, seconds"), Cell::number(value, 2, format!("/seconds/{name}"))));
    }
    Section { heading: "Settings".into(), blocks: vec![Block::Facts(facts)] }
}
