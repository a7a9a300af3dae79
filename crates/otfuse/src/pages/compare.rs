//! The page of a comparison.

use otfuse_report::{BarChart, BarGroup, Block, Cell, Figure, Grid, HeatMap, Page, ReportError, Section, Table};

use super::{Paged, models_section, short_names};
use crate::compare::{BARS, ComparedAlignment, ComparedGroup, Kernels, Layers, Likeness, Predictions, Quality};
use crate::files::count;

impl Paged for Likeness {
    fn page(&self) -> Result<Page, ReportError> {
        page(self, &short_names(&self.models))
    }
}

/// The groups of a comparison as comma-separated values, all digits.
pub fn groups_csv(report: &Likeness) -> String {
    groups_table(report).to_csv()
}

/// The whole page.
fn page(report: &Likeness, names: &[String]) -> Result<Page, ReportError> {
    let mut sections = vec![models_section(&report.models)];
    if let Some(predictions) = &report.predictions {
        sections.push(predictions_section(predictions, names)?);
    }
    if let Some(kernels) = &report.cka {
        sections.push(kernels_section(kernels, names)?);
    }
    sections.push(groups_section(report, names)?);
    sections.push(layers_section(&report.layers, names));
    sections.push(settings(report));
    let samples = report.predictions.as_ref().map_or_else(String::new, |predictions| {
        format!(" Predictions on {} of {}.", count(predictions.samples, "sample"), predictions.data)
    });
    Ok(Page {
        title: names.join(" and "),
        verdict: verdict(report, names),
        summary: format!("How alike these networks are: neurons, layers and predictions.{samples}"),
        sections,
        ..Page::default()
    })
}

/// How alike they are, in a sentence.
fn verdict(report: &Likeness, names: &[String]) -> String {
    let mut text = Vec::new();
    if let Some(pair) = report.predictions.as_ref().and_then(|predictions| predictions.pairs.first()) {
        let agreement = 100.0 * pair.agreement;
        text.push(format!("{} and {} agree on {agreement:.1} % of the samples", names[pair.first], names[pair.second]));
    }
    if let Some(alignment) = report.alignments.as_ref().and_then(|alignments| alignments.first()) {
        let mean = |of: fn(&ComparedGroup) -> &Option<Quality>| {
            let found: Vec<f64> = alignment.groups.iter().filter_map(|group| Some(of(group).as_ref()?.mean)).collect();
            (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
        };
        let moved =
            alignment.groups.iter().map(|group| group.moved).sum::<f64>() / alignment.groups.len().max(1) as f64;
        text.push(format!("{:.0} % of the neurons stand elsewhere in the other network", 100.0 * moved));
        if let (Some(before), Some(after)) = (mean(|group| &group.before), mean(|group| &group.after)) {
            text.push(format!("matched, their mean cosine is {after:.2}, by the same index {before:.2}"));
        }
    }
    if text.is_empty() { "The networks are of several architectures.".into() } else { text.join("; ") + "." }
}

fn predictions_section(predictions: &Predictions, names: &[String]) -> Result<Section, ReportError> {
    let pair_name = |first: usize, second: usize| format!("{} and {}", names[first], names[second]);
    let rows = predictions.pairs.iter().enumerate().map(|(index, pair)| {
        let at = |key: &str| format!("/predictions/pairs/{index}/{key}");
        vec![
            Cell::text(pair_name(pair.first, pair.second)),
            Cell::percent(pair.agreement, at("agreement")),
            pair.both_wrong.map_or_else(Cell::none, |share| Cell::percent(share, at("both_wrong"))),
        ]
    });
    let grid = Grid {
        caption: "Share of the samples".into(),
        header: ["Networks", "Say the same", "Both wrong"].map(String::from).to_vec(),
        rows: rows.collect(),
    };
    let value = |share: &Option<f64>| share.map(|share| (100.0 * share, None));
    let classes = predictions.classes.len();
    let group = |class: usize, bars: Vec<Option<(f64, Option<f64>)>>| BarGroup { name: class.to_string(), bars };
    let disagreement = BarChart {
        title: "Disagreement by class".into(),
        x_label: "true class".into(),
        y_label: "share of different answers (%)".into(),
        series: predictions.pairs.iter().map(|pair| pair_name(pair.first, pair.second)).collect(),
        groups: (0..classes)
            .map(|class| {
                group(class, predictions.pairs.iter().map(|pair| value(&pair.class_disagreement[class])).collect())
            })
            .collect(),
    };
    let accuracy = BarChart {
        title: "Accuracy by class".into(),
        x_label: "true class".into(),
        y_label: "accuracy (%)".into(),
        series: names.to_vec(),
        groups: (0..classes)
            .map(|class| group(class, predictions.class_accuracy.iter().map(|model| value(&model[class])).collect()))
            .collect(),
    };
    if classes == 0 {
        // Nothing is known of the samples, or they have no classes.
        let blocks = if predictions.pairs.is_empty() { Vec::new() } else { vec![Block::Grid(grid)] };
        return Ok(Section { heading: "Predictions".into(), blocks });
    }
    let options = vec![
        ("disagreement".into(), vec![Block::Figure(Figure::new("disagreement", &disagreement)?)]),
        ("accuracy".into(), vec![Block::Figure(Figure::new("class-accuracy", &accuracy)?)]),
    ];
    let blocks = vec![Block::Grid(grid), Block::Choice { label: "By class:".into(), options }];
    Ok(Section { heading: "Predictions".into(), blocks })
}

fn kernels_section(kernels: &Kernels, names: &[String]) -> Result<Section, ReportError> {
    let mut options = Vec::new();
    for (index, pair) in kernels.pairs.iter().enumerate() {
        let chart = HeatMap {
            title: "Linear CKA, layer against layer".into(),
            x_label: format!("layers of {}", names[pair.second]),
            y_label: format!("layers of {}", names[pair.first]),
            value_label: "CKA".into(),
            columns: pair.columns.clone(),
            rows: pair.rows.clone(),
            values: pair.values.concat(),
            range: Some((0.0, 1.0)),
        };
        let figure = Figure::new(&format!("cka-{index}"), &chart)?;
        options.push((format!("{} and {}", names[pair.first], names[pair.second]), vec![Block::Figure(figure)]));
    }
    let text = format!(
        "1 where two layers tell {} apart in the same way, whatever the order and number of their neurons; 0 where they \
         have nothing in common.",
        count(kernels.samples, "sample")
    );
    let mut blocks = vec![Block::Text(text)];
    match options.len() {
        1 => blocks.append(&mut options.remove(0).1),
        _ => blocks.push(Block::Choice { label: "Networks:".into(), options }),
    }
    Ok(Section { heading: "Layers".into(), blocks })
}

fn groups_section(report: &Likeness, names: &[String]) -> Result<Section, ReportError> {
    let heading = "Neurons".to_owned();
    if let Some(difference) = &report.difference {
        let text = format!("Neurons are not compared: {difference}.");
        return Ok(Section { heading, blocks: vec![Block::Text(text)] });
    }
    let alignments = report.alignments.as_deref().unwrap_or_default();
    let mut options = Vec::new();
    for (index, alignment) in alignments.iter().enumerate() {
        let name = format!("{} against {}", names[alignment.model], names[report.anchor]);
        options.push((name, alignment_blocks(alignment, index)?));
    }
    let text = "Every neuron of the first network is matched with one of the second by optimal transport. The cosine compares \
                the weights into two neurons, once all earlier layers are aligned: 1 for equal directions.";
    let mut blocks = vec![Block::Text(text.into())];
    match options.len() {
        1 => blocks.append(&mut options.remove(0).1),
        _ => blocks.push(Block::Choice { label: "Networks:".into(), options }),
    }
    Ok(Section { heading, blocks })
}

fn alignment_blocks(alignment: &ComparedAlignment, index: usize) -> Result<Vec<Block>, ReportError> {
    let mean = |quality: &Option<Quality>| quality.as_ref().map(|quality| (quality.mean, None));
    let chart = BarChart {
        title: "Mean cosine of neurons before and after matching".into(),
        x_label: "group".into(),
        y_label: "cosine".into(),
        series: vec!["same index".into(), "matched".into()],
        groups: alignment
            .groups
            .iter()
            .map(|group| BarGroup { name: group.name.clone(), bars: vec![mean(&group.before), mean(&group.after)] })
            .collect(),
    };
    let mut blocks = vec![
        Block::Grid(groups_grid(alignment, index)),
        Block::Figure(Figure::new(&format!("cosine-{index}"), &chart)?),
    ];
    let mut options = Vec::new();
    for (at, group) in alignment.groups.iter().enumerate().filter(|(_, group)| group.after.is_some()) {
        let chart = histogram(group);
        let figure = Figure::new(&format!("match-{index}-{at}"), &chart)?;
        options.push((group.name.clone(), vec![Block::Figure(figure)]));
    }
    if !options.is_empty() {
        blocks.push(Block::Choice { label: "Match quality within".into(), options });
    }
    Ok(blocks)
}

fn histogram(group: &ComparedGroup) -> BarChart {
    let of = |quality: &Option<Quality>, bar: usize| {
        quality.as_ref().and_then(|quality| quality.histogram.get(bar)).map(|&count| (count as f64, None))
    };
    BarChart {
        title: format!("Cosines of the neurons of {}", group.name),
        x_label: "cosine from".into(),
        y_label: "neurons".into(),
        series: vec!["same index".into(), "matched".into()],
        groups: (0..BARS)
            .map(|bar| BarGroup {
                name: format!("{:.1}", -1.0 + 2.0 * bar as f64 / BARS as f64),
                bars: vec![of(&group.before, bar), of(&group.after, bar)],
            })
            .collect(),
    }
}

fn groups_grid(alignment: &ComparedAlignment, index: usize) -> Grid {
    let header = ["Group", "Neurons", "Anchor's", "Cost", "Matched", "Moved", "Cosine before", "After", "Plan"];
    let rows = alignment.groups.iter().enumerate().map(|(at, group)| {
        let pointer = |key: &str| format!("/alignments/{index}/groups/{at}/{key}");
        let mean = |key: &str, quality: &Option<Quality>| match quality {
            Some(quality) => Cell::number(quality.mean, 3, pointer(&format!("{key}/mean"))),
            None => Cell::none(),
        };
        vec![
            Cell::text(group.name.as_str()),
            Cell::count(group.size, pointer("size")),
            Cell::count(group.anchor_size, pointer("anchor_size")),
            Cell::number(group.cost, 5, pointer("cost")),
            Cell::percent(group.matched_fraction, pointer("matched_fraction")),
            Cell::percent(group.moved, pointer("moved")),
            mean("before", &group.before),
            mean("after", &group.after),
            Cell::text(group.termination.as_str()),
        ]
    });
    Grid { caption: "Neuron groups".into(), header: header.map(String::from).to_vec(), rows: rows.collect() }
}

fn layers_section(layers: &[Layers], names: &[String]) -> Section {
    let has_activations = layers.iter().flat_map(|model| &model.layers).any(|layer| layer.activations.is_some());
    let mut header = ["Layer", "Shape", "Mean", "Deviation", "Norm"].map(String::from).to_vec();
    if has_activations {
        header.extend(["Activation mean", "Deviation", "Zeros"].map(String::from));
    }
    let mut options = Vec::new();
    for (index, model) in layers.iter().enumerate() {
        let rows = model.layers.iter().enumerate().map(|(at, layer)| {
            let pointer = |key: &str| format!("/layers/{index}/layers/{at}/{key}");
            let shape: Vec<String> = layer.shape.iter().map(usize::to_string).collect();
            let mut row = vec![
                Cell::text(layer.name.as_str()),
                Cell::text(shape.join(" x ")),
                Cell::number(layer.mean, 5, pointer("mean")),
                Cell::number(layer.deviation, 5, pointer("deviation")),
                Cell::number(layer.norm, 3, pointer("norm")),
            ];
            if let Some(activations) = &layer.activations {
                row.push(Cell::number(activations.mean, 4, pointer("activations/mean")));
                row.push(Cell::number(activations.deviation, 4, pointer("activations/deviation")));
                row.push(Cell::percent(activations.zeros, pointer("activations/zeros")));
            }
            row
        });
        let caption = "Weights, and what layers give behind their nonlinearity".into();
        let grid = Grid { caption, header: header.clone(), rows: rows.collect() };
        options.push((names[model.model].clone(), vec![Block::Grid(grid)]));
    }
    let blocks = vec![Block::Choice { label: "Network:".into(), options }];
    Section { heading: "Statistics".into(), blocks }
}

fn settings(report: &Likeness) -> Section {
    let mut facts: Vec<(String, Cell)> =
        report.settings.iter().map(|(name, value)| ((*name).to_owned(), Cell::text(value.as_str()))).collect();
    let names = short_names(&report.models);
    facts.push(("anchor".into(), Cell::short(&names[report.anchor], report.models[report.anchor].path.as_str())));
    let seconds = &report.seconds;
    for (name, value) in [
        ("read", seconds.read),
        ("align", seconds.align),
        ("predictions", seconds.predictions),
        ("layers", seconds.layers),
    ] {
        facts.push((format!("{name}, seconds"), Cell::number(value, 2, format!("/seconds/{name}"))));
    }
    Section { heading: "Settings".into(), blocks: vec![Block::Facts(facts)] }
}

/// All groups, all digits.
fn groups_table(report: &Likeness) -> Table {
    let header = [
        "model",
        "group",
        "size",
        "anchor_size",
        "cost",
        "gap",
        "termination",
        "matched_fraction",
        "moved",
        "cosine_before",
        "cosine_after",
    ];
    let mut table = Table::new(header);
    for alignment in report.alignments.iter().flatten() {
        for group in &alignment.groups {
            let mean = |quality: &Option<Quality>| {
                quality.as_ref().map_or_else(String::new, |quality| quality.mean.to_string())
            };
            table.rows.push(vec![
                report.models[alignment.model].path.clone(),
                group.name.clone(),
                group.size.to_string(),
                group.anchor_size.to_string(),
                group.cost.to_string(),
                group.gap.to_string(),
                group.termination.clone(),
                group.matched_fraction.to_string(),
                group.moved.to_string(),
                mean(&group.before),
                mean(&group.after),
            ]);
        }
    }
    table
}
