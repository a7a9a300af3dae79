//! The page and the model card of a fusion, from the command's own JSON: they show what it says and nothing else.

use otfuse_report::{BarChart, BarGroup, Block, Cell, Figure, Grid, Page, ReportError, Section};
use serde_json::Value;

use super::short_hash;

/// The page of `fuse`.
pub fn fusion_page(data: &Value) -> Result<Page, ReportError> {
    let output = text(&data["output"]);
    let mut sections = Vec::new();
    if data["comparison"].is_object() {
        sections.push(Section { heading: "Results".into(), blocks: comparison(&data["comparison"])? });
    }
    sections.push(Section { heading: "Models".into(), blocks: vec![Block::Grid(models(data))] });
    sections.push(Section { heading: "Neuron groups".into(), blocks: groups(data)? });
    sections.push(Section { heading: "Time".into(), blocks: seconds(data)? });
    sections.push(Section { heading: "Settings".into(), blocks: vec![Block::Facts(facts(&data["settings"], ""))] });
    let count = data["models"].as_array().map_or(0, Vec::len);
    Ok(Page {
        title: format!("Fusion of {count} networks"),
        summary: format!(
            "{output}: the neurons of all networks aligned to those of the anchor, their weights averaged."
        ),
        sections,
        ..Page::default()
    })
}

/// The page of `eval`.
pub fn evaluation_page(data: &Value) -> Result<Page, ReportError> {
    let mut rows: Vec<(String, &Value, String)> = data["models"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(at, row)| (text(&row["path"]), row, format!("/models/{at}")))
        .collect();
    if data["ensemble"].is_object() {
        rows.push(("ensemble".into(), &data["ensemble"], "/ensemble".into()));
    }
    let samples = data["models"][0]["samples"].as_u64().unwrap_or(0);
    Ok(Page {
        title: "Evaluation".into(),
        summary: format!("{samples} samples of {}.", text(&data["data"])),
        sections: vec![Section { heading: "Results".into(), blocks: table_of(&rows)? }],
        ..Page::default()
    })
}

/// The page of `demo`.
pub fn demo_page(data: &Value) -> Result<Page, ReportError> {
    let rows = rows_of(&data["rows"]).map(Vec::as_slice).unwrap_or_default();
    Ok(Page {
        title: "Two perceptrons made one".into(),
        summary: format!(
            "Perceptrons on handwritten digits ({}), seed {}, measured on held-out samples.",
            text(&data["data"]),
            data["seed"]
        ),
        sections: vec![Section { heading: "Results".into(), blocks: results(rows, "/rows")? }],
        ..Page::default()
    })
}

/// Parents, ensemble, plain average and fused network, each with where it stands in the JSON.
pub fn compared(comparison: &Value) -> Vec<(String, &Value, String)> {
    let parents = comparison["parents"].as_array().into_iter().flatten().enumerate();
    let mut rows: Vec<(String, &Value, String)> =
        parents.map(|(at, row)| (text(&row["path"]), row, format!("/comparison/parents/{at}"))).collect();
    for (key, name) in [("ensemble", "ensemble"), ("vanilla", "plain average"), ("fused", "fused")] {
        if comparison[key].is_object() {
            rows.push((name.into(), &comparison[key], format!("/comparison/{key}")));
        }
    }
    rows
}

fn comparison(found: &Value) -> Result<Vec<Block>, ReportError> {
    let text = format!("{} {} samples of {}.", found["samples"], text(&found["split"]), text(&found["data"]));
    let mut blocks = vec![Block::Text(text)];
    blocks.append(&mut table_of(&compared(found))?);
    Ok(blocks)
}

fn rows_of(value: &Value) -> Option<&Vec<Value>> {
    value.as_array().filter(|rows| !rows.is_empty())
}

/// Rows with a name or path and measurements.
fn results(rows: &[Value], at: &str) -> Result<Vec<Block>, ReportError> {
    let rows = rows.iter().enumerate().map(|(index, row)| {
        let name = row["name"].as_str().or(row["path"].as_str()).unwrap_or_default();
        (name.replace('_', " "), row, format!("{at}/{index}"))
    });
    table_of(&rows.collect::<Vec<_>>())
}

/// A table and a chart of accuracies.
fn table_of(rows: &[(String, &Value, String)]) -> Result<Vec<Block>, ReportError> {
    let has = |key: &str| rows.iter().any(|(_, row, _)| row[key].is_number());
    let mut header = vec!["Network".to_owned(), "Accuracy".into()];
    for (key, name) in [("loss", "Loss"), ("perplexity", "Perplexity"), ("seconds", "Seconds")] {
        if has(key) {
            header.push(name.into());
        }
    }
    let cells = rows.iter().map(|(name, row, at)| {
        let mut cells = vec![Cell::text(name.as_str())];
        cells.push(match row["accuracy"].as_f64() {
            Some(accuracy) => Cell::percent(accuracy, format!("{at}/accuracy")),
            None => Cell::none(),
        });
        for (key, decimals) in [("loss", 4), ("perplexity", 3), ("seconds", 2)].iter().filter(|(key, _)| has(key)) {
            cells.push(number(row, key, *decimals, at));
        }
        cells
    });
    let grid = Grid { caption: "All networks on the same samples".into(), header, rows: cells.collect() };
    let mut blocks = vec![Block::Grid(grid)];
    if has("accuracy") {
        let chart = BarChart {
            title: "Accuracy".into(),
            x_label: "network".into(),
            y_label: "accuracy (%)".into(),
            series: vec!["accuracy".into()],
            groups: rows
                .iter()
                .map(|(name, row, _)| BarGroup {
                    name: name.clone(),
                    bars: vec![row["accuracy"].as_f64().map(|accuracy| (100.0 * accuracy, None))],
                })
                .collect(),
        };
        blocks.push(Block::Figure(Figure::new("accuracy", &chart)?));
    }
    Ok(blocks)
}

fn models(data: &Value) -> Grid {
    let rows = data["models"].as_array().into_iter().flatten().enumerate().map(|(at, model)| {
        let at = format!("/models/{at}");
        let parameters = model["parameters"].as_u64().unwrap_or(0) as usize;
        vec![
            Cell::text(text(&model["path"])),
            Cell::count(parameters, format!("{at}/parameters")),
            number(model, "weight", 3, &at),
            Cell::text(short_hash(model["sha256"].as_str().unwrap_or_default())),
        ]
    });
    let header = ["Model", "Parameters", "Weight", "SHA-256"].map(String::from).to_vec();
    Grid { caption: "The networks fused".into(), header, rows: rows.collect() }
}

fn groups(data: &Value) -> Result<Vec<Block>, ReportError> {
    let Some(groups) = rows_of(&data["groups"]) else {
        return Ok(vec![Block::Text("Nothing was aligned: a plain average.".into())]);
    };
    let rows = groups.iter().enumerate().map(|(at, group)| {
        let at = format!("/groups/{at}");
        let count = |key: &str| Cell::count(group[key].as_u64().unwrap_or(0) as usize, format!("{at}/{key}"));
        vec![
            Cell::text(text(&group["name"])),
            count("model"),
            count("size"),
            count("anchor_size"),
            number(group, "cost", 5, &at),
            number(group, "gap", 9, &at),
            match group["matched_fraction"].as_f64() {
                Some(share) => Cell::percent(share, format!("{at}/matched_fraction")),
                None => Cell::none(),
            },
            Cell::text(text(&group["termination"])),
        ]
    });
    let header = ["Group", "Model", "Neurons", "Anchor's", "Cost", "Gap", "Matched", "Plan"].map(String::from).to_vec();
    let grid =
        Grid { caption: "What was matched, by the first weight of each group".into(), header, rows: rows.collect() };
    let mut models: Vec<u64> = groups.iter().filter_map(|group| group["model"].as_u64()).collect();
    models.sort_unstable();
    models.dedup();
    let mut names: Vec<String> = Vec::new();
    for group in groups {
        let name = text(&group["name"]);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let chart = BarChart {
        title: "Transport cost of each group".into(),
        x_label: "group".into(),
        y_label: "cost".into(),
        series: models.iter().map(|model| format!("model {model}")).collect(),
        groups: names
            .iter()
            .map(|name| BarGroup {
                name: name.clone(),
                bars: models
                    .iter()
                    .map(|model| {
                        let of = |group: &&Value| group["model"] == *model && text(&group["name"]) == *name;
                        Some((groups.iter().find(of)?["cost"].as_f64()?, None))
                    })
                    .collect(),
            })
            .collect(),
    };
    Ok(vec![Block::Grid(grid), Block::Figure(Figure::new("costs", &chart)?)])
}

fn seconds(data: &Value) -> Result<Vec<Block>, ReportError> {
    let stages = data["seconds"].as_object().into_iter().flatten();
    let stages: Vec<(&String, f64)> = stages.filter_map(|(name, value)| Some((name, value.as_f64()?))).collect();
    let facts = stages
        .iter()
        .map(|(name, value)| ((*name).clone(), Cell::number(*value, 2, format!("/seconds/{}", pointer(name)))));
    let chart = BarChart {
        title: "Time by stage".into(),
        x_label: "stage".into(),
        y_label: "seconds".into(),
        series: vec!["seconds".into()],
        groups: stages.iter().map(|(name, value)| BarGroup::new((*name).clone(), [*value])).collect(),
    };
    Ok(vec![Block::Facts(facts.collect()), Block::Figure(Figure::new("seconds", &chart)?)])
}

/// Names and values of an object, those of objects within it behind their names.
fn facts(settings: &Value, before: &str) -> Vec<(String, Cell)> {
    let mut found = Vec::new();
    for (key, value) in settings.as_object().into_iter().flatten() {
        let name = format!("{before}{}", key.replace('_', " "));
        match value {
            Value::Null => {}
            Value::Object(_) => found.extend(facts(value, &format!("{name}, "))),
            Value::Bool(value) => found.push((name, Cell::text(if *value { "yes" } else { "no" }))),
            value => found.push((name, Cell::text(text(value)))),
        }
    }
    found
}

fn number(row: &Value, key: &str, decimals: usize, at: &str) -> Cell {
    row[key].as_f64().map_or_else(Cell::none, |value| Cell::number(value, decimals, format!("{at}/{key}")))
}

/// A value as text, strings without quotes.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A key as part of a JSON pointer.
fn pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
