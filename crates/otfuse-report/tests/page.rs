//! Pages in a browser: no errors, and what is shown equals the numbers within. Skipped where no browser is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use otfuse_report::{Block, Cell, Figure, Grid, LineChart, Page, Point, Section, Series};
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
        generator: "otfuse".into(),
    }
}

fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}

/// The document after its script ran, and what it wrote to the console.
fn rendered(browser: &Path, page: &Path, profile: &Path) -> (String, Vec<String>) {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("the browser starts");
    let log = String::from_utf8_lossy(&output.stderr);
    let console = log.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    (String::from_utf8_lossy(&output.stdout).into_owned(), console)
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
fn a_browser_shows_the_page_without_errors() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no browser is installed");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("page.html");
    let page = page(HOSTILE);
    std::fs::write(&path, page.to_html()).expect("written");
    let (document, console) = rendered(&browser, &path, &folder.path().join("profile"));
    assert_eq!(console, Vec::<String>::new());
    // The script ran: figures are interactive and one option of two is shown.
    assert_eq!(document.matches("aria-pressed=\"true\"").count(), 2);
    assert_eq!(document.matches("class=\"option\" hidden").count(), 1);
    // What cells show is the exact number, rounded.
    let mut seen = 0;
    for (at, _) in document.match_indices("data-json=\"") {
        let rest = &document[at + 11..];
        let (pointer, rest) = rest.split_once('"').expect("an attribute");
        let shown = rest[rest.find('>').expect("a cell") + 1..].split('<').next().expect("its text");
        let exact = page.data.pointer(pointer).and_then(serde_json::Value::as_f64).expect("a number");
        let (shown, exact) = match shown.strip_suffix(" %") {
            Some(share) => (share, 100.0 * exact),
            None => (shown, exact),
        };
        let decimals = shown.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        assert_eq!(shown, format!("{exact:.decimals$}"), "{pointer}");
        seen += 1;
    }
    assert_eq!(seen, 2);
}
