//! Results as Markdown and comma-separated values.

use std::fmt::Write as _;

use super::result::{Mean, Results, Row, Run, point_text};
use super::tasks::Learnt;
use super::variables::shown;
use crate::visible;

/// One line per network, point and seed.
pub(crate) fn csv(results: &Results) -> String {
    let axis = results.axis.as_deref();
    let mut header = vec!["network".to_owned()];
    header.extend(axis.map(str::to_owned));
    header.extend(
        [
            "seed",
            "accuracy",
            "loss",
            "gap_to_better_parent",
            "parameters",
            "best_epoch",
            "epochs_to_reach",
            "published",
        ]
        .map(str::to_owned),
    );
    let mut text = header.join(",") + "\n";
    for row in &results.rows {
        for run in &row.runs {
            let mut cells = vec![row.network.clone()];
            let value =
                |name: &str| row.point.as_ref().and_then(|point| point.get(name)).map_or_else(String::new, shown);
            cells.extend(axis.map(value));
            cells.extend([run.seed.to_string(), run.accuracy.to_string(), run.loss.to_string()]);
            cells.push(run.gap.map_or_else(String::new, |gap| format!("{gap:.6}")));
            cells.push(row.parameters.mean.to_string());
            cells.push(run.best_epoch.map_or_else(String::new, |epoch| epoch.to_string()));
            cells.push(run.reached.map_or_else(String::new, |epoch| epoch.to_string()));
            cells.push(row.published.map_or_else(String::new, |value| value.to_string()));
            text += &cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",");
            text.push('\n');
        }
    }
    text
}

fn quoted(cell: &str) -> String {
    // A spreadsheet computes what begins like a formula; numbers are none.
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
    let cell = visible(cell, true);
    let cell = if is_formula { format!("'{cell}") } else { cell.into_owned() };
    if cell.contains([',', '"', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

/// For people.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = format!("# {}\n\n", results.title);
    if !results.about.trim().is_empty() {
        let _ = writeln!(text, "{}\n", results.about.trim());
    }
    if let Some((name, about)) = &results.variant {
        let _ = writeln!(text, "Variant `{name}`: {}\n", about.trim());
    }
    let seeds: Vec<String> = results.seeds.iter().map(u64::to_string).collect();
    let _ = writeln!(
        text,
        "Test accuracy in percent on {} samples of `{}`, mean ± standard deviation over seeds {}. *Gap*: difference to the \
         better parent, in points.\n",
        results.samples,
        results.data,
        seeds.join(", ")
    );
    let constant: Vec<&Row> = results.rows.iter().filter(|row| row.point.is_none()).collect();
    if !constant.is_empty() {
        text += &networks(&constant, results);
    }
    let curve: Vec<&Row> = results.rows.iter().filter(|row| row.point.is_some()).collect();
    if !curve.is_empty() {
        text += &points(&curve, results.axis.as_deref());
    }
    text += &learnt(results);
    text += &reached(results);
    text += &settings(results);
    text
}

/// A table with a line per network.
fn networks(rows: &[&Row], results: &Results) -> String {
    let is_published = rows.iter().any(|row| row.published.is_some());
    let mut text = String::from("| network | accuracy | gap | loss | parameters |");
    text += if is_published { " published | published gap |\n" } else { "\n" };
    text += if is_published { "|---|---|---|---|---|---|---|\n" } else { "|---|---|---|---|---|\n" };
    for row in rows {
        let gap = row.gap.map_or_else(String::new, signed);
        let _ = write!(
            text,
            "| {} | {} | {gap} | {} | {} |",
            escaped(&row.network),
            percent(row.accuracy),
            fixed(row.loss, 1.0, 4),
            row.parameters.mean.round()
        );
        if is_published {
            let cell = |value: Option<f64>, signed: bool| match (value, signed) {
                (None, _) => String::new(),
                (Some(value), true) => format!("{value:+.2}"),
                (Some(value), false) => format!("{value:.2}"),
            };
            let _ = write!(text, " {} | {} |", cell(row.published, false), cell(row.published_gap, true));
        }
        text.push('\n');
    }
    if let (true, Some(source)) = (is_published, &results.source) {
        let parents: Vec<String> = results.published_parents.iter().map(|value| format!("{value:.2}")).collect();
        let _ = write!(text, "\nPublished: {}", source.trim());
        if !parents.is_empty() {
            let _ = write!(text, "; parents {}", parents.join(" / "));
        }
        text += ". Other parents than here: compare the gaps.\n";
    }
    text + "\n"
}

/// A table with a line per point and a column per network.
fn points(rows: &[&Row], axis: Option<&str>) -> String {
    let place = |point| point_text(axis, point);
    let mut names: Vec<&str> = Vec::new();
    let mut points = Vec::new();
    for row in rows {
        if !names.contains(&row.network.as_str()) {
            names.push(&row.network);
        }
        if let Some(point) = &row.point
            && !points.contains(&point)
        {
            points.push(point);
        }
    }
    let axis = axis.unwrap_or_default();
    let columns: Vec<String> = names.iter().flat_map(|name| [escaped(name), "gap".into()]).collect();
    let mut text = format!("| {} | {} |\n", escaped(axis), columns.join(" | "));
    text += &format!("|{}\n", "---|".repeat(1 + columns.len()));
    let published = rows.iter().filter_map(|row| row.published.map(|value| (row, value)));
    for point in &points {
        let mut cells = vec![point.get(axis).map_or_else(String::new, |value| escaped(&shown(value)))];
        for name in &names {
            let found = rows.iter().find(|row| row.network == *name && row.point.as_ref() == Some(*point));
            cells.push(found.map_or_else(String::new, |row| percent(row.accuracy)));
            cells.push(found.and_then(|row| row.gap).map_or_else(String::new, signed));
        }
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text.push('\n');
    for name in &names {
        let of = rows.iter().filter(|row| row.network == *name);
        let above: Vec<String> = of
            .filter(|row| row.gap.is_some_and(|gap| gap.mean > 0.0) && !row.parent)
            .filter_map(|row| row.point.as_ref().map(place))
            .collect();
        if !above.is_empty() {
            let _ = writeln!(text, "{} is above its better parent at: {}.\n", escaped(name), above.join("; "));
        }
    }
    let published: Vec<String> = published
        .filter_map(|(row, value)| {
            row.point.as_ref().map(|point| format!("{} at {}: {value:.2}", escaped(&row.network), place(point)))
        })
        .collect();
    if !published.is_empty() {
        let _ = writeln!(text, "Published: {}.\n", published.join("; "));
    }
    text
}

/// How networks did on tasks that came one after the other.
fn learnt(results: &Results) -> String {
    let rows: Vec<(&Row, &Learnt)> = results.rows.iter().filter_map(|row| Some((row, row.learnt.as_ref()?))).collect();
    let Some(tasks) = rows.iter().map(|(_, learnt)| learnt.tasks.len()).max() else { return String::new() };
    let differs = rows.iter().any(|(_, learnt)| learnt.known_average != learnt.average);
    let optional = |value: Option<Mean>| value.map_or_else(String::new, percent);
    let mut text = String::from(
        "Tasks one after the other: the mean of the accuracies on all tasks at the end; forgetting, the best accuracy on a task \
         less that at the end; forward transfer, the accuracy on a task before it is learned less that of the untrained network",
    );
    text += if differs { "; *known*: among the classes of the task alone.\n\n" } else { ".\n\n" };
    text += "| network | average | forgetting |";
    text += if differs {
        " known: average | known: forgetting | forward transfer | kB |\n"
    } else {
        " forward transfer | kB |\n"
    };
    text += &format!("|{}\n", "---|".repeat(if differs { 7 } else { 5 }));
    for (row, learnt) in &rows {
        let mut cells = vec![escaped(&row.network), percent(learnt.average), optional(learnt.forgetting)];
        if differs {
            cells.extend([percent(learnt.known_average), optional(learnt.known_forgetting)]);
        }
        cells.extend([optional(learnt.forward), learnt.memory.div_ceil(1000).to_string()]);
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    let names: Vec<String> = (1..=tasks).map(|task| format!("task {task}")).collect();
    let _ = writeln!(text, "\nAccuracy on each task at the end:\n\n| network | {} |", names.join(" | "));
    text += &format!("|{}\n", "---|".repeat(1 + tasks));
    for (row, learnt) in &rows {
        let cells: Vec<String> = learnt.tasks.iter().map(|mean| percent(*mean)).collect();
        let _ = writeln!(text, "| {} | {} |", escaped(&row.network), cells.join(" | "));
    }
    text + "\n"
}

/// Which training reached another, and when.
fn reached(results: &Results) -> String {
    let mut text = String::new();
    for row in results.rows.iter().filter(|row| row.runs.iter().any(|run| run.reached_of.is_some())) {
        let target = row.reaches.as_deref().unwrap_or_default();
        let each = |run: &Run| match (run.reached, run.reached_of) {
            (Some(epoch), Some(of)) => format!("{epoch} of {of} (seed {})", run.seed),
            _ => format!("never (seed {})", run.seed),
        };
        let each: Vec<String> = row.runs.iter().map(each).collect();
        let _ = writeln!(
            text,
            "Epochs until {} has the last accuracy of {}: {}.\n",
            escaped(&row.network),
            escaped(target),
            each.join(", ")
        );
    }
    text
}

fn settings(results: &Results) -> String {
    let mut text = String::from("Settings (options not given have their defaults):\n\n");
    let mut last = String::new();
    for row in &results.rows {
        let point = row
            .point
            .as_ref()
            .map_or_else(String::new, |point| format!(" ({})", point_text(results.axis.as_deref(), point)));
        let note = row.note.as_ref().map_or_else(String::new, |note| format!(". {}", note.trim()));
        // A curve has one line: the settings of its first point.
        if row.network != last {
            let _ = writeln!(text, "- {}{point}: `{}`{note}", escaped(&row.network), row.settings);
        }
        last.clone_from(&row.network);
    }
    text
}

fn escaped(text: &str) -> String {
    visible(text, false).replace('|', "\\|").replace('<', "&lt;").replace('>', "&gt;")
}

fn percent(mean: Mean) -> String {
    fixed(mean, 100.0, 2)
}

fn fixed(mean: Mean, scale: f64, digits: usize) -> String {
    let value = format!("{:.digits$}", mean.mean * scale);
    mean.deviation.map_or_else(|| value.clone(), |deviation| format!("{value} ± {:.digits$}", deviation * scale))
}

fn signed(mean: Mean) -> String {
    let value = format!("{:+.2}", mean.mean * 100.0);
    mean.deviation.map_or_else(|| value.clone(), |deviation| format!("{value} ± {:.2}", deviation * 100.0))
}
