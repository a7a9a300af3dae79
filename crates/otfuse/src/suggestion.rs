//! The name that was meant.

/// The known name nearest to the one found, or all of them.
pub(crate) fn suggestion<'a>(found: &str, known: impl Iterator<Item = &'a str>, otherwise: &str) -> String {
    let known: Vec<&str> = known.collect();
    // Of names that look as much alike the one that takes the fewest slips of the fingers, two exchanged letters being one.
    let slips = |name: &str| (strsim::osa_distance(found, name), found.len().abs_diff(name.len()));
    let near = known.iter().map(|name| (strsim::jaro_winkler(found, name), name));
    let near: Vec<_> = near.filter(|(likeness, _)| *likeness > 0.75).collect();
    match near.into_iter().min_by(|a, b| slips(a.1).cmp(&slips(b.1)).then(b.0.total_cmp(&a.0))) {
        Some((_, name)) => format!("did you mean '{name}'?"),
        _ if known.is_empty() => "remove it".into(),
        _ => format!("{otherwise} {}", known.join(", ")),
    }
}
