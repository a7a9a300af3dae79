//! A page in a headless browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The browser of this machine.
pub fn installed() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}

/// The document after its script ran, and what it wrote to the console.
pub fn rendered(browser: &Path, page: &Path, profile: &Path) -> (String, Vec<String>) {
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

/// Checks that every cell which names a number of the page's JSON shows it, rounded; the number of such cells.
pub fn compared(document: &str, data: &Value) -> usize {
    let mut seen = 0;
    for (at, _) in document.match_indices("data-json=\"") {
        let rest = &document[at + 11..];
        let (pointer, rest) = rest.split_once('"').expect("an attribute");
        let shown = rest[rest.find('>').expect("a cell") + 1..].split('<').next().expect("its text");
        let exact = data.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {pointer}"));
        let (shown, exact) = match shown.strip_suffix(" %") {
            Some(share) => (share, 100.0 * exact),
            None => (shown, exact),
        };
        let decimals = shown.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        assert_eq!(shown, format!("{exact:.decimals$}"), "{pointer}");
        seen += 1;
    }
    seen
}
