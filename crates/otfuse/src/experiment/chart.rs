//! Results as charts.

use otfuse_report::{BarChart, BarGroup, Figure, LineChart, Point, ReportError, Series};

use super::result::{Mean, Results, Row};
use super::tasks::Learnt;

/// The accuracy of all networks, and epoch by epoch where networks were trained for several.
pub(crate) fn figures(results: &Results) -> Result<Vec<Figure>, ReportError> {
    let is_curve = results.rows.iter().any(|row| row.point.is_some());
    let mut figures = vec![match is_curve {
        true => Figure::new("accuracy", &curve(results))?,
        false => Figure::new("accuracy", &bars(results))?,
    }];
    let epochs = epochs(results);
    if !epochs.series.is_empty() {
        figures.push(Figure::new("epochs", &epochs)?);
    }
    type Course = fn(&Learnt) -> &Vec<Mean>;
    let courses: [(_, _, Course); 2] = [
        ("tasks", "mean accuracy on the tasks so far, %", |learnt| &learnt.course),
        ("known-tasks", "the same among the classes of each task, %", |learnt| &learnt.known_course),
    ];
    let drawn: Vec<LineChart> = courses.iter().map(|(_, label, of)| course(results, label, *of)).collect();
    for (at, ((name, ..), chart)) in courses.iter().zip(&drawn).enumerate() {
        let is_new = at == 0 || results.rows.iter().flat_map(|row| &row.learnt).any(|it| it.course != it.known_course);
        if !chart.series.is_empty() && is_new {
            figures.push(Figure::new(name, chart)?);
        }
    }
    Ok(figures)
}

/// How networks do after each task; of those that are no sequence, at the end.
fn course(results: &Results, label: &str, of: fn(&Learnt) -> &Vec<Mean>) -> LineChart {
    let rows = results.rows.iter().filter_map(|row| Some((row, row.learnt.as_ref()?)));
    let points = |learnt: &Learnt| {
        of(learnt).iter().enumerate().map(|(task, mean)| percent((task + 1) as f64, *mean)).collect::<Vec<Point>>()
    };
    let series = rows.map(|(row, learnt)| Series { name: row.network.clone(), points: points(learnt) });
    LineChart {
        title: results.title.clone(),
        x_label: "tasks learned".into(),
        y_label: label.into(),
        series: series.filter(|series| !series.points.is_empty()).collect(),
    }
}

fn percent(x: f64, mean: Mean) -> Point {
    let point = Point::new(x, 100.0 * mean.mean);
    match mean.deviation {
        Some(deviation) => point.with_error(100.0 * deviation),
        None => point,
    }
}

/// Accuracy over the first variable (or over the number of the point, where its values are no numbers); what is the same
/// at all points is a level line.
fn curve(results: &Results) -> LineChart {
    let axis = results.axis.clone().unwrap_or_default();
    let names = distinct(results);
    let number = |row: &Row| row.point.as_ref().and_then(|point| point.get(&axis)).and_then(serde_json::Value::as_f64);
    let moving: Vec<&Row> = results.rows.iter().filter(|row| row.point.is_some()).collect();
    let is_numeric = moving.iter().all(|row| number(row).is_some());
    let place = |row: &Row| -> f64 {
        let of_name = moving.iter().filter(|other| other.network == row.network);
        let at = of_name.take_while(|other| other.point != row.point).count();
        if is_numeric { number(row).unwrap_or_default() } else { (at + 1) as f64 }
    };
    let all: Vec<f64> = moving.iter().map(|row| place(row)).collect();
    let ends =
        [all.iter().copied().fold(f64::INFINITY, f64::min), all.iter().copied().fold(f64::NEG_INFINITY, f64::max)];
    let x_label = if is_numeric { axis.clone() } else { format!("{axis} (points in the order of the table)") };
    let series = names.into_iter().map(|name| {
        let rows = results.rows.iter().filter(|row| row.network == name);
        let points = rows.flat_map(|row| match row.point {
            Some(_) => vec![percent(place(row), row.accuracy)],
            None => ends.iter().map(|&x| Point::new(x, 100.0 * row.accuracy.mean)).collect(),
        });
        Series { points: points.collect(), name: name.to_owned() }
    });
    LineChart { title: results.title.clone(), x_label, y_label: "test accuracy, %".into(), series: series.collect() }
}

fn bars(results: &Results) -> BarChart {
    let bar = |row: &Row| Some((100.0 * row.accuracy.mean, row.accuracy.deviation.map(|deviation| 100.0 * deviation)));
    BarChart {
        title: results.title.clone(),
        x_label: String::new(),
        y_label: "test accuracy, %".into(),
        series: vec!["accuracy".into()],
        groups: results.rows.iter().map(|row| BarGroup { name: row.network.clone(), bars: vec![bar(row)] }).collect(),
    }
}

/// Accuracy after each epoch of what was trained for more than one, parents left out: on the test samples where they were
/// watched, else on samples held out.
fn epochs(results: &Results) -> LineChart {
    let rows: Vec<&Row> = results
        .rows
        .iter()
        .filter(|row| row.point.is_none() && !row.parent && row.runs.iter().all(|run| run.epochs.len() > 1))
        .collect();
    let tested = rows.iter().flat_map(|row| &row.runs).flat_map(|run| &run.epochs).all(|epoch| epoch.test.is_some());
    let series = rows.iter().map(|row| {
        let length = row.runs.iter().map(|run| run.epochs.len()).min().unwrap_or_default();
        let points = (0..length).filter_map(|at| {
            let of = |run: &super::result::Run| {
                let epoch = &run.epochs[at];
                if tested { epoch.test } else { epoch.validation }
            };
            let values: Vec<f64> = row.runs.iter().map(of).collect::<Option<_>>()?;
            Some(percent((at + 1) as f64, Mean::of(&values, true)))
        });
        Series { name: row.network.clone(), points: points.collect() }
    });
    LineChart {
        title: format!("{}: training", results.title),
        x_label: "epoch".into(),
        y_label: if tested { "test accuracy, %".into() } else { "accuracy on samples held out, %".into() },
        series: series.filter(|series| !series.points.is_empty()).collect(),
    }
}

/// The networks' names, each once.
fn distinct(results: &Results) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in &results.rows {
        if !names.contains(&row.network.as_str()) {
            names.push(&row.network);
        }
    }
    names
}
