//! Pages in a browser: no errors, and what is shown equals the numbers within. Skipped where no browser is installed.

#![allow(clippy::print_stderr)]

mod browser;

use otfuse_report::{BarChart, BarGroup, Block, Cell, Figure, Grid, LineChart, Page, Point, Section, Series};
use serde_json::json;

const HOSTILE: &str =
    "</script><script>console.error('run')</script><img src=x onerror=console.error(1)> & \"quoted\" 'x'";

fn page(name: &str) -> Page {
    let points = vec![Point::new(0.0, 0.25), Point::new(0.5, 1.0 / 3.0), Point::new(1.0, 0.5)];
    let chart = LineChart {
        title: format!("Loss of {name}"),
        x_label: "weight".into(),
        y_label: name.into(),
        series: vec![Series { name: name.into(), points }],
    };
    let figure = || Block::Figure(Figure::new("loss", &chart).expect("drawn"));
    let grid = Grid {
        caption: name.into(),
        header: vec!["model".into(), "loss".into(), "accuracy".into()],
        rows: vec![vec![
            name.into(),
            Cell::number(1.0 / 3.0, 4, "/models/0/loss"),
            Cell::percent(0.98765, "/models/0/accuracy"),
        ]],
    };
    let options = vec![("first".to_owned(), vec![figure()]), (name.to_owned(), vec![figure()])];
    Page {
        title: name.into(),
        verdict: name.into(),
        summary: format!("About {name}."),
        sections: vec![
            Section { heading: "Numbers".into(), blocks: vec![Block::Text(name.into()), Block::Grid(grid)] },
            Section {
                heading: name.into(),
                blocks: vec![
                    Block::Facts(vec![(name.into(), name.into())]),
                    Block::Choice { label: "Layer".into(), options },
                ],
            },
        ],
        data: json!({"models": [{"path": name, "loss": 1.0 / 3.0, "accuracy": 0.98765}]}),
        terms: vec![(name.into(), name.into())],
        generator: "otfuse".into(),
    }
}

#[test]
fn pages_are_the_same_bytes_and_hold_no_foreign_markup() {
    let html = page(HOSTILE).to_html();
    assert_eq!(html, page(HOSTILE).to_html());
    assert!(!html.contains("<img") && !html.contains("<script>console"));
    assert_eq!(html.matches("<script").count(), 2);
    for (at, _) in html.match_indices("http") {
        let rest = &html[at..];
        assert!(rest.starts_with("http-equiv") || rest.starts_with("http://www.w3.org/2000/svg"), "{:.60}", rest);
    }
}

#[test]
fn pages_fit_narrow_and_wide_screens_light_and_dark() {
    let Some(browser) = browser::installed() else {
        eprintln!("skipped: no browser is installed");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("page.html");
    let bars = BarChart {
        title: "Accuracy".into(),
        y_label: "accuracy (%)".into(),
        series: vec!["accuracy".into()],
        groups: (0..12)
            .map(|at| BarGroup::new(format!("some-long-name-of-a-network-{at}.onnx"), [70.0 + f64::from(at)]))
            .collect(),
        ..BarChart::default()
    };
    let mut page = page("fused network");
    page.verdict = "Accuracy of the fused network: 93.10 %; of the best parent: 94.00 %.".into();
    page.terms = vec![("Anchor".into(), "the network that the others are aligned to".into())];
    page.sections[0].blocks.push(Block::Figure(Figure::new("bars", &bars).expect("drawn")));
    std::fs::write(&path, page.to_html()).expect("written");
    for width in [360, 800, 1440] {
        for dark in [false, true] {
            let (document, console) = browser::measured(&browser, &path, folder.path(), width, dark);
            assert_eq!(console, Vec::<String>::new());
            let attribute = |name: &str| {
                let rest = document.split_once(&format!("data-{name}=\"")).expect("measured").1;
                rest.split('"').next().unwrap_or_default().to_owned()
            };
            let found = ["width", "over", "cut", "dark"].map(attribute);
            let expected = [width.to_string(), "0".into(), "0".into(), dark.to_string()];
            assert_eq!(found, expected, "{width} pixels, dark: {dark}");
        }
    }
}

#[test]
fn a_browser_shows_the_page_without_errors() {
    let Some(browser) = browser::installed() else {
        eprintln!("skipped: no browser is installed");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("page.html");
    let page = page(HOSTILE);
    std::fs::write(&path, page.to_html()).expect("written");
    let (document, console) = browser::rendered(&browser, &path, &folder.path().join("profile"));
    assert_eq!(console, Vec::<String>::new());
    // The script ran: figures are interactive and one option of two is shown.
    assert_eq!(document.matches("aria-pressed=\"true\"").count(), 2);
    assert_eq!(document.matches("class=\"option\" hidden").count(), 1);
    assert_eq!(browser::compared(&document, &page.data), 2);
}
