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
