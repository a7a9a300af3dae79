//! The page of an experiment.

use otfuse_report::{Block, Cell, Grid, Page, ReportError, Section};

use super::Paged;
use crate::experiment::Experimented;
use crate::experiment::chart::figures;
use crate::experiment::machine::{Record, Time};
use crate::experiment::result::{Results, Row};
use crate::experiment::variables::shown;

impl Paged for Experimented {
    /// Its JSON has the results under `results` and the record of the run under `run`.
    fn page(&self) -> Result<Page, ReportError> {
        experiment_page(&self.results, &self.run)
    }
}

fn experiment_page(results: &Results, record: &Record) -> Result<Page, ReportError> {
    let best = |parent: bool| {
        let rows = results.rows.iter().filter(|row| row.parent == parent);
        rows.max_by(|a, b| a.accuracy.mean.total_cmp(&b.accuracy.mean))
    };
    let said = |row: &Row| format!("{} with {:.2} % accuracy", row.network, 100.0 * row.accuracy.mean);
    let verdict = match (best(false), best(true)) {
        (Some(made), Some(parent)) => format!("Best: {}; best parent: {}.", said(made), said(parent)),
        (Some(found), None) | (None, Some(found)) => format!("Best: {}.", said(found)),
        (None, None) => String::new(),
    };
    let mut about = vec![results.about.trim().to_owned()];
    if let Some((name, differs)) = &results.variant {
        about.push(format!("Variant {name}: {}", differs.trim()));
    }
    let mut blocks = vec![Block::Grid(accuracies(results))];
    blocks.extend(figures(results)?.into_iter().map(Block::Figure));
    if let Some(source) = &results.source {
        let parents: Vec<String> = results.published_parents.iter().map(|value| format!("{value:.2}")).collect();
        let parents = if parents.is_empty() { String::new() } else { format!("; parents {}", parents.join(" / ")) };
        blocks.push(Block::Text(format!(
            "Published: {}{parents}. Other parents than here: compare the gaps.",
            source.trim()
        )));
    }
    let run = [
        ("command", record.command.clone()),
        ("otfuse", record.version.to_owned()),
        ("date", record.date.clone()),
        ("processor", record.processor.clone()),
        ("threads", record.threads.to_string()),
    ];
    let run = run.map(|(name, value)| (name.to_owned(), Cell::text(value))).to_vec();
    Ok(Page {
        title: results.title.clone(),
        verdict,
        summary: about.join(" "),
        sections: vec![
            Section { heading: "Results".into(), blocks },
            Section { heading: "Settings".into(), blocks: vec![Block::Facts(settings(results))] },
            Section { heading: "Run".into(), blocks: vec![Block::Facts(run), Block::Grid(times(&record.times))] },
        ],
        ..Page::default()
    })
}

/// Networks at points, a row each.
fn accuracies(results: &Results) -> Grid {
    let axis = results.axis.as_deref().filter(|_| results.rows.iter().any(|row| row.point.is_some()));
    let has = |of: fn(&Row) -> bool| results.rows.iter().any(of);
    let (varies, is_published) = (has(|row| row.accuracy.deviation.is_some()), has(|row| row.published.is_some()));
    let mut header = vec!["Network".to_owned()];
    header.extend(axis.map(str::to_owned));
    header.push("Accuracy".into());
    if varies {
        header.push("Deviation".into());
    }
    header.extend(["Gap", "Loss", "Parameters"].map(String::from));
    if is_published {
        header.extend(["Published", "Published gap"].map(String::from));
    }
    let rows = results.rows.iter().enumerate().map(|(index, row)| {
        let at = |key: &str| format!("/results/rows/{index}/{key}");
        let optional = |value: Option<f64>, key: &str| value.map_or_else(Cell::none, |v| Cell::percent(v, at(key)));
        let published = |value: Option<f64>, key: &str| value.map_or_else(Cell::none, |v| Cell::number(v, 2, at(key)));
        let mut cells = vec![Cell::text(row.network.as_str())];
        if let Some(axis) = axis {
            let value = row.point.as_ref().and_then(|point| point.get(axis));
            cells.push(value.map_or_else(|| Cell::text("all"), |value| Cell::text(shown(value))));
        }
        cells.push(Cell::percent(row.accuracy.mean, at("accuracy/mean")));
        if varies {
            cells.push(optional(row.accuracy.deviation, "accuracy/deviation"));
        }
        cells.push(optional(row.gap.map(|gap| gap.mean), "gap/mean"));
        cells.push(Cell::number(row.loss.mean, 4, at("loss/mean")));
        cells.push(Cell::number(row.parameters.mean, 0, at("parameters/mean")));
        if is_published {
            cells.push(published(row.published, "published"));
            cells.push(published(row.published_gap, "published_gap"));
        }
        cells
    });
    let seeds: Vec<String> = results.seeds.iter().map(u64::to_string).collect();
    Grid {
        caption: format!(
            "{} test samples of {}, mean over seeds {}; gap: to the better parent",
            results.samples,
            results.data,
            seeds.join(", ")
        ),
        header,
        rows: rows.collect(),
    }
}

/// How each network is made; of a curve, at its first point.
fn settings(results: &Results) -> Vec<(String, Cell)> {
    let mut facts: Vec<(String, Cell)> = Vec::new();
    for row in &results.rows {
        if facts.last().is_none_or(|(name, _)| *name != row.network) {
            let note = row.note.as_ref().map_or_else(String::new, |note| format!(" ({})", note.trim()));
            facts.push((row.network.clone(), Cell::text(format!("{}{note}", row.settings))));
        }
    }
    facts
}

fn times(times: &[Time]) -> Grid {
    let rows = times.iter().enumerate().map(|(index, time)| {
        let stages = time.seconds.iter().map(|(stage, seconds)| format!("{stage} {seconds:.2}"));
        let name =
            if time.point.is_empty() { time.network.clone() } else { format!("{}, {}", time.network, time.point) };
        vec![
            Cell::text(name),
            Cell::count(time.seed as usize, format!("/run/times/{index}/seed")),
            Cell::text(stages.collect::<Vec<_>>().join(", ")),
        ]
    });
    Grid {
        caption: "Seconds by stage, each as measured when the work was done".into(),
        header: ["Network", "Seed", "Seconds"].map(String::from).to_vec(),
        rows: rows.collect(),
    }
}
