//! The text of `otfuse fuse --sweep`.

use otfuse::{Measure, Sweep};

use crate::table::{count, table};

/// Averages of two networks with weights from 0 to 1, as text.
pub fn text(found: &Sweep) -> String {
    let accuracy = |measure: &Measure| measure.headline();
    let what = found.models.first().map_or("accuracy", |parent| parent.measure.headline_name());
    let rows = found.points.iter().map(|point| {
        let vanilla = point.vanilla.as_ref().map_or_else(|| "-".into(), accuracy);
        vec![format!("{:.3}", point.weight), vanilla, accuracy(&point.ensemble), accuracy(&point.ot)]
    });
    let header = ["weight", "vanilla", "ensemble", "ot"];
    let parents: Vec<String> =
        found.models.iter().map(|parent| format!("{}: {}", parent.path, accuracy(&parent.measure))).collect();
    let vanilla = found.barrier.vanilla.map_or_else(String::new, |barrier| format!("vanilla {barrier:.4}, "));
    let halfway = super::interpolate::halfway(&found.halfway, "otfuse interpolate --as-fuse measures that");
    format!(
        "{}\n{}\n\nweight of the second model; {what} on {} of {}\nloss barrier: {vanilla}ot {:.4}{halfway}",
        parents.join("\n"),
        table(&header, &header, rows),
        count(found.samples, "sample"),
        found.data,
        found.barrier.ot,
    )
}
