//! `otfuse fuse CONFIG.yml` without alignment: tensors merged by name.

use std::collections::BTreeMap;
use std::path::Path;

use otfuse::{Error, Merge, MergeParameters, MergeReport, Parameters, Registry, Result, Setting};

use crate::session::Session;
use crate::table::count;

/// Merges as the file at `path` says, into `output`, or checks it.
pub fn run(
    merge: Merge,
    (path, output): (&Path, &Path),
    (is_dry, shard_size): (bool, Option<u64>),
    session: &Session,
) -> Result<()> {
    let merge = match shard_size {
        Some(bytes) => merge.shard_size(bytes),
        None => merge,
    };
    let mut registry = Registry::new();
    registry.input("settings", path)?;
    merge.register(&mut registry, output)?;
    if is_dry {
        return session.print(&merge.rehearse(output)?, |found| {
            format!("{}\nnothing was written; the result would go to {}", text(found), output.display())
        });
    }
    let report = merge.write(&registry, output, &session.context)?;
    registry.commit()?;
    session.print(&report, text)
}

/// What was merged, as text.
fn text(report: &MergeReport) -> String {
    let base = report.base.as_ref().map_or_else(String::new, |base| format!(", base {base}"));
    let layers = report.layers.map_or_else(String::new, |layers| format!(", {}", count(layers, "layer")));
    let vocabulary = report.vocabulary.map_or_else(String::new, |rows| format!(", {}", count(rows, "token")));
    format!(
        "{}: {} merged by {}{base}\n{} with {} parameters as {}{layers}{vocabulary}, in the form of {}\n{:.2} s",
        report.output,
        count(report.models.len(), "model"),
        report.method,
        count(report.tensors, "tensor"),
        report.parameters,
        report.dtypes.join(", "),
        report.donor,
        report.seconds,
    )
}

/// NAME=NUMBER or NAME=FIRST,..,LAST, as typed.
pub fn parameters(typed: &[String]) -> Result<Option<MergeParameters>> {
    let mut all = BTreeMap::new();
    for text in typed {
        let wrong = || {
            Error::input(format!("`parameter` {text}: expected NAME=NUMBER or NAME=FIRST,..,LAST"))
                .hint("`parameter` density=0.5 for one")
        };
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let numbers: Vec<f64> =
            value.split(',').map(|part| part.trim().parse().ok()).collect::<Option<_>>().ok_or_else(wrong)?;
        let setting = match numbers[..] {
            [number] => Setting::Number(number),
            _ => Setting::Gradient(numbers),
        };
        if all.insert(name.trim().to_owned(), setting).is_some() {
            return Err(Error::input(format!("`parameter` {name} is given twice")).hint("leave one of them out"));
        }
    }
    let all = Parameters(all);
    Ok((!typed.is_empty()).then(|| MergeParameters { all, ..MergeParameters::default() }))
}
