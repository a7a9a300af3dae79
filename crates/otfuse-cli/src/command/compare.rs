fn text(report: &Report) -> String {
    let mut shown = String::new();
    let line = |shown: &mut String, text: &str| {
        shown.push_str(text);
        shown.push('\n');
    };
    if let Some(difference) = &report.difference {
        line(&mut shown, &format!("neurons are not compared: {difference}\n"));
    }
    for alignment in report.alignments.iter().flatten() {
        let paths = (&report.models[alignment.model].path, &report.models[report.anchor].path);
        line(&mut shown, &format!("{} against {}", paths.0, paths.1));
        let optional = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.3}"));
        let rows = alignment.groups.iter().map(|group| {
            let size = match group.size == group.anchor_size {
                true => group.size.to_string(),
                false => format!("{} -> {}", group.size, group.anchor_size),
            };
            vec![
                group.name.clone(),
                size,
                format!("{:.5}", group.cost),
                format!("{:.0} %", 100.0 * group.matched_fraction),
                format!("{:.0} %", 100.0 * group.moved),
                optional(group.before.as_ref().map(|quality| quality.mean)),
                optional(group.after.as_ref().map(|quality| quality.mean)),
            ]
        });
        let header = ["group", "neurons", "cost", "matched", "moved", "cosine before", "after"];
        line(&mut shown, &table(&header, &header[1..], rows));
    }
    if let Some(predictions) = &report.predictions {
        let samples = count(predictions.samples, "sample");
        let rows = report.models.iter().filter_map(|model| {
            let measure = model.measure?;
            Some(vec![model.path.clone(), format!("{:.2} %", 100.0 * measure.accuracy), format!("{:.4}", measure.loss)])
        });
        line(&mut shown, &table(&["model", "accuracy", "loss"], &["accuracy", "loss"], rows));
        line(&mut shown, &format!("{samples} of {}", predictions.data));
        for pair in &predictions.pairs {
            let paths = (&report.models[pair.first].path, &report.models[pair.second].path);
            let agreement = 100.0 * pair.agreement;
            let _ = writeln!(shown, "{} and {} agree on {agreement:.2} %", paths.0, paths.1);
        }
    }
    if let Some(kernels) = &report.cka {
        for pair in &kernels.pairs {
            let paths = (&report.models[pair.first].path, &report.models[pair.second].path);
            let same: Vec<f64> =
                pair.values.iter().enumerate().filter_map(|(at, row)| row.get(at).copied().flatten()).collect();
            let mean = same.iter().sum::<f64>() / same.len().max(1) as f64;
            let _ = writeln!(shown, "{} and {}: linear CKA of layers in the same place {mean:.4}", paths.0, paths.1);
        }
    }
    shown
}
