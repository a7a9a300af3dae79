//! The page of a fusion whose merge was searched for.

use otfuse_report::{Block, Cell, Figure, Grid, LineChart, Page, Point, ReportError, Section, Series};

use super::Paged;
use crate::files::count;
use crate::search::{Search, Searched};

impl Paged for Searched<'_> {
    fn page(&self) -> Result<Page, ReportError> {
        let mut page = self.fusion.page()?;
        let is_result = |section: &Section| section.heading == "Results";
        let behind = page.sections.iter().position(is_result).map_or(0, |place| place + 1);
        page.sections.insert(behind, section(self.search)?);
        Ok(page)
    }
}

fn section(search: &Search) -> Result<Section, ReportError> {
    let text = format!(
        "{} measured on {} of {}; the best ones measured again on {} held out, which decide. From the first one to the best \
         one the {} went from {:.4} to {:.4} there; less is better.",
        count(search.trials.len(), "merge"),
        count(search.samples, "sample"),
        search.data,
        search.held_out,
        search.objective.measure(),
        search.held_out_start,
        search.held_out_best,
    );
    let figure = Figure::new("search", &chart(search))?;
    let blocks = vec![Block::Text(text), Block::Grid(coefficients(search)), Block::Figure(figure)];
    Ok(Section { heading: "Search".into(), blocks })
}

fn coefficients(search: &Search) -> Grid {
    let rows = search.names.iter().enumerate().map(|(at, name)| {
        let value = |trial: usize| {
            Cell::number(search.trials[trial].values[at], 4, format!("/search/trials/{trial}/values/{at}"))
        };
        vec![Cell::text(name.as_str()), value(0), value(search.best)]
    });
    let header = ["Parameter", "First", "Best"].map(String::from).to_vec();
    Grid { caption: "Numbers of the merge".into(), header, rows: rows.collect() }
}

/// Every merge, the best one so far, and those that were measured on samples held out.
fn chart(search: &Search) -> LineChart {
    let at = |(place, score): (usize, f64)| Point::new((place + 1) as f64, score);
    let scores = || search.trials.iter().map(|trial| trial.score);
    let mut least = f64::INFINITY;
    let best = scores().map(|score| {
        least = least.min(score);
        least
    });
    let best = best.enumerate().map(at).collect();
    let held = search.trials.iter().enumerate().filter_map(|(place, trial)| Some(at((place, trial.held_out?))));
    let series = |name: &str, points| Series { name: name.into(), points };
    LineChart {
        title: "The search".into(),
        x_label: "merges measured".into(),
        y_label: search.objective.measure().into(),
        series: vec![
            series("measured", scores().enumerate().map(at).collect()),
            series("the best so far", best),
            series("held out", held.collect()),
        ],
    }
}
