//! What a search for numbers of a merge found, as text.

use otfuse::Search;

use crate::table::{count, table};

/// The best numbers, and what they gain on samples that were held out.
pub fn text(found: &Search) -> String {
    let best = &found.trials[found.best];
    let rows = found.names.iter().enumerate().map(|(at, name)| {
        vec![name.clone(), format!("{}", found.trials[0].values[at]), format!("{}", best.values[at])]
    });
    let part = |model: &str| {
        let own = found.names.iter().zip(&best.values).filter(|(name, _)| name.split('@').next() == Some(model));
        own.map(|(_, value)| value.abs()).sum::<f64>()
    };
    let mut models: Vec<&str> = found.names.iter().filter_map(|name| name.split('@').next()).collect();
    models.retain(|name| name.starts_with("weight["));
    models.dedup();
    models.retain(|model| part(model) == 0.0);
    let alone = match models[..] {
        [] => String::new(),
        _ => format!("\n{} has no part in the best merge: without it the others do better", models.join(", ")),
    };
    let reused =
        if found.reused > 0 { format!(", {} of them by an earlier search", found.reused) } else { String::new() };
    format!(
        "{}\n{} measured on {} of {}{reused}; {} on {} held out: {:.4} at the beginning, {:.4} with the best{alone}",
        table(&["parameter", "beginning", "best"], &["beginning", "best"], rows),
        count(found.trials.len(), "merge"),
        count(found.samples, "sample"),
        found.data,
        found.objective,
        found.held_out,
        found.held_out_start,
        found.held_out_best,
    )
}
