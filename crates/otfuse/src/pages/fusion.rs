//! The pages of fusions, evaluations and the demo.

use otfuse_report::{BarChart, BarGroup, Block, Cell, Figure, Grid, Page, ReportError, Section};

use super::{Paged, short_hash};
#[cfg(feature = "training")]
use crate::demo::Demo;
use crate::depth::DepthReport;
use crate::evaluate::Evaluations;
use crate::files::{count, short_names};
use crate::fusing::{Comparison, FuseReport, FusedGroup};
use crate::latent::MatchedInput;
use crate::measure::{Measure, Measured};

/// A network in a table of results, with where its numbers stand in the JSON.
struct Row {
    name: String,
    at: String,
    measure: Measure,
    has_loss: bool,
    perplexity: Option<f64>,
    seconds: Option<f64>,
}

impl Row {
    fn measured(name: String, at: String, found: &Measured) -> Self {
        Self { name, at, measure: found.measure, has_loss: true, perplexity: found.perplexity, seconds: None }
    }
}

impl Paged for FuseReport {
    fn page(&self) -> Result<Page, ReportError> {
        let mut sections = Vec::new();
        let names = short_names(&self.models.iter().map(|model| model.path.clone()).collect::<Vec<_>>());
        if let Some(comparison) = &self.comparison {
            sections.push(Section { heading: "Results".into(), blocks: compared(comparison)? });
        }
        sections.push(Section { heading: "Models".into(), blocks: vec![Block::Grid(models(self, &names))] });
        let choices = choices(self);
        if !choices.is_empty() {
            sections.push(Section { heading: "Choices".into(), blocks: choices });
        }
        if !self.inputs.is_empty() {
            sections.push(Section { heading: "Noise".into(), blocks: vec![Block::Grid(noise(&self.inputs))] });
        }
        if let Some(depth) = &self.depth {
            sections.push(Section { heading: "Layers".into(), blocks: layers(depth) });
        }
        sections.push(Section { heading: "Neuron groups".into(), blocks: aligned(self)? });
        sections.push(Section { heading: "Time".into(), blocks: seconds(self)? });
        let facts = self.settings.entries().into_iter().map(|(name, value)| (name.to_owned(), Cell::text(value)));
        sections.push(Section { heading: "Settings".into(), blocks: vec![Block::Facts(facts.collect())] });
        Ok(Page {
            title: format!("Fusion of {} networks", self.models.len()),
            verdict: verdict(self),
            summary: format!(
                "{}: the neurons of all networks aligned to those of the anchor, their weights averaged.",
                if self.output.is_empty() { "Not saved yet" } else { &self.output }
            ),
            sections,
            ..Page::default()
        })
    }
}

impl Paged for Evaluations {
    fn page(&self) -> Result<Page, ReportError> {
        let names = short_names(&self.models.iter().map(|model| model.path.clone()).collect::<Vec<_>>());
        let models = self.models.iter().zip(&names).enumerate();
        let mut rows: Vec<Row> = models
            .map(|(at, (model, name))| Row::measured(name.clone(), format!("/models/{at}"), &model.measured))
            .collect();
        let best = rows.iter().max_by(|a, b| a.measure.score().total_cmp(&b.measure.score()));
        let best = best.map_or_else(String::new, |row| {
            let measure = &row.measure;
            let among = if rows.len() > 1 { " is the best network here:" } else { ":" };
            format!("{}{among} {} {}.", row.name, measure.headline_name(), measure.headline())
        });
        let ensemble = self.ensemble.as_ref().map_or_else(String::new, |found| {
            format!(" The ensemble of all has {} {}.", found.headline_name(), found.headline())
        });
        let verdict = best + &ensemble;
        rows.extend(self.ensemble.iter().map(|found| Row::measured("ensemble".into(), "/ensemble".into(), found)));
        let samples = self.models.first().map_or(0, |model| model.measured.samples);
        Ok(Page {
            title: "Evaluation".into(),
            verdict,
            summary: format!("{samples} samples of {}.", self.data),
            sections: vec![Section { heading: "Results".into(), blocks: results(&rows)? }],
            ..Page::default()
        })
    }
}

#[cfg(feature = "training")]
impl Paged for Demo {
    fn page(&self) -> Result<Page, ReportError> {
        let of =
            |name: &str| self.rows.iter().find(|row| row.name == name).map_or(f64::NAN, |row| 100.0 * row.accuracy);
        let verdict = format!(
            "Fused, two networks of {:.2} % and {:.2} % accuracy are one of {:.2} %; averaged without alignment {:.2} %.",
            of("model_a"),
            of("model_b"),
            of("fused"),
            of("vanilla")
        );
        let rows = self.rows.iter().enumerate().map(|(at, row)| Row {
            name: row.name.replace('_', " "),
            at: format!("/rows/{at}"),
            measure: Measure { accuracy: row.accuracy, loss: 0.0, mean_iou: None, mean_absolute_error: None, r2: None },
            has_loss: false,
            perplexity: None,
            seconds: Some(row.seconds),
        });
        Ok(Page {
            title: "Two perceptrons made one".into(),
            verdict,
            summary: format!(
                "Perceptrons on handwritten digits ({}), seed {}, measured on held-out samples.",
                self.data, self.seed
            ),
            sections: vec![Section { heading: "Results".into(), blocks: results(&rows.collect::<Vec<_>>())? }],
            ..Page::default()
        })
    }
}

fn compared(found: &Comparison) -> Result<Vec<Block>, ReportError> {
    let paths = short_names(&found.parents.iter().map(|parent| parent.path.clone()).collect::<Vec<_>>());
    let rows = found.rows().into_iter().enumerate().map(|(index, (name, measure, at))| Row {
        name: paths.get(index).cloned().unwrap_or(name),
        at: format!("/comparison{at}"),
        measure,
        has_loss: true,
        perplexity: None,
        seconds: None,
    });
    let text = format!("{} {} samples of {}.", found.samples, found.split, found.data);
    let mut blocks = vec![Block::Text(text)];
    blocks.append(&mut results(&rows.collect::<Vec<_>>())?);
    Ok(blocks)
}

/// A table and a chart of accuracies.
fn results(rows: &[Row]) -> Result<Vec<Block>, ReportError> {
    type Column = (&'static str, &'static str, usize, fn(&Row) -> Option<f64>);
    const COLUMNS: [Column; 6] = [
        ("loss", "Loss", 4, |row| (row.has_loss && !row.measure.is_of_numbers()).then_some(row.measure.loss)),
        ("loss", "Squared error", 5, |row| row.measure.is_of_numbers().then_some(row.measure.loss)),
        ("mean_absolute_error", "Absolute error", 4, |row| row.measure.mean_absolute_error),
        ("r2", "R2", 4, |row| row.measure.r2),
        ("perplexity", "Perplexity", 3, |row| row.perplexity),
        ("seconds", "Seconds", 2, |row| row.seconds),
    ];
    let columns: Vec<&Column> =
        COLUMNS.iter().filter(|(.., value)| rows.iter().any(|row| value(row).is_some())).collect();
    let of_numbers = rows.iter().any(|row| row.measure.is_of_numbers());
    let has_iou = rows.iter().any(|row| row.measure.mean_iou.is_some());
    let mut header = vec!["Network".to_owned()];
    header.extend((!of_numbers).then(|| "Accuracy".to_owned()));
    header.extend(has_iou.then(|| "Mean IoU".to_owned()));
    header.extend(columns.iter().map(|(_, name, ..)| (*name).to_owned()));
    let cells = rows.iter().map(|row| {
        let mut cells = vec![Cell::text(row.name.as_str())];
        cells.extend((!of_numbers).then(|| Cell::percent(row.measure.accuracy, format!("{}/accuracy", row.at))));
        cells.extend(has_iou.then(|| match row.measure.mean_iou {
            Some(iou) => Cell::percent(iou, format!("{}/mean_iou", row.at)),
            None => Cell::none(),
        }));
        cells.extend(columns.iter().map(|(key, _, decimals, value)| match value(row) {
            Some(value) => Cell::number(value, *decimals, format!("{}/{key}", row.at)),
            None => Cell::none(),
        }));
        cells
    });
    let grid = Grid { caption: "All networks on the same samples".into(), header, rows: cells.collect() };
    let mut blocks = vec![Block::Grid(grid)];
    if !rows.is_empty() {
        let value = |row: &Row| if of_numbers { row.measure.loss } else { 100.0 * row.measure.accuracy };
        let bars = |row: &Row| BarGroup { name: row.name.clone(), bars: vec![Some((value(row), None))] };
        let chart = BarChart {
            title: if of_numbers { "Mean squared error" } else { "Accuracy" }.into(),
            x_label: "network".into(),
            y_label: if of_numbers { "mean squared error" } else { "accuracy (%)" }.into(),
            series: vec![if of_numbers { "mean squared error" } else { "accuracy" }.into()],
            groups: rows.iter().map(bars).collect(),
        };
        blocks.push(Block::Figure(Figure::new("accuracy", &chart)?));
    }
    Ok(blocks)
}

/// With a capital letter.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What came out.
fn verdict(report: &FuseReport) -> String {
    let Some(found) = &report.comparison else {
        let matched: Vec<f64> = report.groups.iter().map(|group| group.matched_fraction).collect();
        let mean = 100.0 * matched.iter().sum::<f64>() / matched.len().max(1) as f64;
        return match matched.len() {
            0 => "Nothing was aligned: the result is a plain average.".into(),
            groups => format!(
                "{} aligned, {mean:.0} % of their neurons one to one. How good the result is was not measured: that takes \
                 labelled samples.",
                count(groups, "neuron group")
            ),
        };
    };
    let best = found.parents.iter().max_by(|a, b| a.measure.score().total_cmp(&b.measure.score()));
    let Some(best) = best else { return String::new() };
    let name = short_names(std::slice::from_ref(&best.path)).concat();
    let mut text = format!(
        "{} of the fused network: {}; of the best parent, {name}: {}; of the ensemble of the parents: {}",
        capital(found.fused.headline_name()),
        found.fused.headline(),
        best.measure.headline(),
        found.ensemble.headline()
    );
    if let Some(plain) = found.vanilla {
        text += &format!("; of a plain average: {}", plain.headline());
    }
    text + "."
}

fn models(report: &FuseReport, names: &[String]) -> Grid {
    let rows = report.models.iter().enumerate().map(|(at, model)| {
        vec![
            Cell::short(&names[at], model.path.as_str()),
            Cell::count(model.parameters, format!("/models/{at}/parameters")),
            Cell::number(model.weight, 3, format!("/models/{at}/weight")),
            Cell::text(short_hash(&model.sha256)),
        ]
    });
    let header = ["Model", "Parameters", "Weight", "SHA-256"].map(String::from).to_vec();
    Grid { caption: "The networks fused".into(), header, rows: rows.collect() }
}

/// What was tried, and what was taken: made samples or none, the ways from networks to one, and the parents followed.
fn choices(report: &FuseReport) -> Vec<Block> {
    let mut blocks = Vec::new();
    #[cfg(feature = "training")]
    if let Some(made) = &report.made {
        let used = if made.used { "used" } else { "not used, since the result without them is nearer to the parents" };
        blocks.push(Block::Text(format!("{} {} made by the networks themselves: {used}.", made.count, made.kind)));
        let rows = made.candidates.iter().enumerate().map(|(at, candidate)| {
            let pointer = |key: &str| format!("/made/candidates/{at}/{key}");
            let name = if candidate.samples_from == "none" { "without samples" } else { "with samples" };
            vec![
                Cell::text(name),
                Cell::number(candidate.divergence, 4, pointer("divergence")),
                Cell::percent(candidate.ensemble, pointer("ensemble")),
            ]
        });
        let rows: Vec<Vec<Cell>> = rows.collect();
        if !rows.is_empty() {
            blocks.push(distances(
                "Both results beside the parents' ensemble, on made samples held out",
                "Result",
                rows,
            ));
        }
    }
    if !report.ways.is_empty() {
        let rows = report.ways.iter().enumerate().map(|(at, way)| {
            let pointer = |key: &str| format!("/ways/{at}/{key}");
            let name = if way.taken { format!("{} (taken)", way.name) } else { way.name.to_owned() };
            let agreement = way.distance.agreement;
            vec![
                Cell::text(name),
                Cell::number(way.distance.divergence, 4, pointer("divergence")),
                agreement.map_or_else(Cell::none, |agreement| Cell::percent(agreement, pointer("agreement"))),
            ]
        });
        blocks.push(distances(
            "Ways that were tried, beside what the parents say on samples held out",
            "Way",
            rows.collect(),
        ));
    }
    #[cfg(feature = "training")]
    if let Some(found) = &report.distillation {
        let row = |name: &str, at: &str, distance: &crate::Distance| {
            let agreement = distance.agreement;
            let pointer = |key: &str| format!("/distillation/{at}/{key}");
            vec![
                Cell::text(name),
                Cell::number(distance.divergence, 4, pointer("divergence")),
                agreement.map_or_else(Cell::none, |agreement| Cell::percent(agreement, pointer("agreement"))),
            ]
        };
        let rows = vec![row("before", "before", &found.before), row("after", "after", &found.after)];
        blocks.push(distances(
            "The network before and after it followed its parents, on samples held out",
            "Network",
            rows,
        ));
    }
    blocks
}

/// How the noise of generators was turned.
fn noise(inputs: &[MatchedInput]) -> Grid {
    let rows = inputs.iter().enumerate().map(|(at, input)| {
        let place = |key: &str| format!("/inputs/{at}/{key}");
        vec![
            Cell::text(format!("{} of model {}", input.input, input.model)),
            Cell::count(input.size, place("size")),
            Cell::text(input.map),
            Cell::number(input.correlation_before, 2, place("correlation_before")),
            Cell::number(input.correlation, 2, place("correlation")),
        ]
    });
    let header = ["Input", "Numbers", "Map", "Correlation as given", "Correlation"].map(String::from).to_vec();
    Grid { caption: "What a model and the anchor make of the same noise".into(), header, rows: rows.collect() }
}

/// Which layers of networks of unequal depth went together.
fn layers(depth: &DepthReport) -> Vec<Block> {
    let inserted: usize = depth.models.iter().map(|model| model.inserted.len()).sum();
    let mut text = format!("{} that change nothing were put into the shallower networks.", count(inserted, "block"));
    let taken = depth.blocks.len() - depth.result_blocks;
    match depth.is_fitted {
        Some(true) => text += &format!(" {} taken out of the result, the others fitted to it.", count(taken, "block")),
        Some(false) => text += &format!(" {} taken out of the result, the others as they were.", count(taken, "block")),
        None => {}
    }
    let rows = depth.blocks.iter().enumerate().map(|(at, name)| {
        let mut row = vec![Cell::text(at.to_string()), Cell::text(name.as_str())];
        for (to, model) in depth.models.iter().enumerate() {
            match model.pair_of(at) {
                Some(pair) => {
                    row.push(Cell::text(model.blocks[model.pairs[pair].1].as_str()));
                    row.push(Cell::number(model.likeness[pair], 2, format!("/depth/models/{to}/likeness/{pair}")));
                }
                None => row.extend([Cell::text("put in"), Cell::none()]),
            }
        }
        row
    });
    let mut header = vec!["Block".to_owned(), format!("Model {}", depth.deepest)];
    header.extend(depth.models.iter().flat_map(|model| [format!("Model {}", model.model), "Likeness".to_owned()]));
    let caption = "Blocks of the deepest network and their partners".into();
    vec![Block::Text(text), Block::Grid(Grid { caption, header, rows: rows.collect() })]
}

/// Distances from what the parents say.
fn distances(caption: &str, first: &str, rows: Vec<Vec<Cell>>) -> Block {
    let header = [first, "Divergence", "Agreement"].map(String::from).to_vec();
    Block::Grid(Grid { caption: caption.into(), header, rows })
}

/// How much is aligned, what is not and why, and the groups.
fn aligned(report: &FuseReport) -> Result<Vec<Block>, ReportError> {
    let coverage = &report.coverage;
    let text =
        format!("{} of {} parameters aligned in {} groups.", coverage.aligned, coverage.parameters, coverage.groups);
    let mut blocks = vec![Block::Text(text)];
    if !coverage.rest.is_empty() {
        let rows = coverage.rest.iter().enumerate().map(|(at, rest)| {
            vec![
                Cell::count(rest.parameters, format!("/coverage/rest/{at}/parameters")),
                Cell::text(rest.reason.as_str()),
                Cell::text(rest.tensors.join(", ")),
            ]
        });
        let header = ["Parameters", "Why", "In"].map(String::from).to_vec();
        let caption = "What is not aligned, the most first".into();
        blocks.push(Block::Grid(Grid { caption, header, rows: rows.collect() }));
    }
    blocks.append(&mut groups(&report.groups)?);
    Ok(blocks)
}

fn groups(groups: &[FusedGroup]) -> Result<Vec<Block>, ReportError> {
    if groups.is_empty() {
        return Ok(vec![Block::Text("Nothing was aligned: a plain average.".into())]);
    }
    let rows = groups.iter().enumerate().map(|(at, group)| {
        let pointer = |key: &str| format!("/groups/{at}/{key}");
        vec![
            Cell::text(group.name.as_str()),
            Cell::count(group.model, pointer("model")),
            Cell::count(group.size, pointer("size")),
            Cell::count(group.anchor_size, pointer("anchor_size")),
            Cell::number(group.cost, 5, pointer("cost")),
            Cell::number(group.gap, 9, pointer("gap")),
            Cell::percent(group.matched_fraction, pointer("matched_fraction")),
            Cell::text(group.termination.as_str()),
        ]
    });
    let header = ["Group", "Model", "Neurons", "Anchor's", "Cost", "Gap", "Matched", "Plan"].map(String::from).to_vec();
    let grid =
        Grid { caption: "What was matched, by the first weight of each group".into(), header, rows: rows.collect() };
    let mut models: Vec<usize> = groups.iter().map(|group| group.model).collect();
    models.sort_unstable();
    models.dedup();
    let mut names: Vec<&str> = Vec::new();
    for group in groups {
        if !names.contains(&group.name.as_str()) {
            names.push(&group.name);
        }
    }
    let of = |name: &str, model: usize| groups.iter().find(|group| group.model == model && group.name == name);
    let bars = |name: &&str| BarGroup {
        name: (*name).to_owned(),
        bars: models.iter().map(|&model| Some((of(name, model)?.cost, None))).collect(),
    };
    let chart = BarChart {
        title: "Transport cost of each group".into(),
        x_label: "group".into(),
        y_label: "cost".into(),
        series: models.iter().map(|model| format!("model {model}")).collect(),
        groups: names.iter().map(bars).collect(),
    };
    Ok(vec![Block::Grid(grid), Block::Figure(Figure::new("costs", &chart)?)])
}

fn seconds(report: &FuseReport) -> Result<Vec<Block>, ReportError> {
    let stages = report.seconds.entries();
    let facts = stages.map(|(name, value)| (name.to_owned(), Cell::number(value, 2, format!("/seconds/{name}"))));
    let chart = BarChart {
        title: "Time by stage".into(),
        x_label: "stage".into(),
        y_label: "seconds".into(),
        series: vec!["seconds".into()],
        groups: stages.iter().map(|(name, value)| BarGroup::new((*name).to_owned(), [*value])).collect(),
    };
    Ok(vec![Block::Facts(facts.to_vec()), Block::Figure(Figure::new("seconds", &chart)?)])
}
