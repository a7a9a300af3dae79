//! The name that was meant.

/// The known name nearest to the one found, or all of them.
pub(crate) fn suggestion<'a>(found: &str, known: impl Iterator<Item = &'a str>, otherwise: &str) -> String {
    let known: Vec<&str> = known.collect();
    let near = known.iter().map(|name| (strsim::jaro_winkler(found, name), name));
    match near.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((likeness, name)) if likeness > 0.75 => format!("did you mean '{name}'?"),
        _ if known.is_empty() => "remove it".into(),
        _ => format!("{otherwise} {}", known.join(", ")),
    }
}
