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
    rendered_with(browser, page, profile, &[])
}

/// What a page looks like at a width, as attributes of the document: `data-width`, by how many pixels it is too wide
/// (`data-over`), how many bars are cut (`data-cut`), whether it is dark (`data-dark`).
#[allow(dead_code)]
pub fn measured(browser: &Path, page: &Path, folder: &Path, width: u32, dark: bool) -> (String, Vec<String>) {
    // A window has at least 500 pixels; a frame in it is as narrow as one likes, and tells what it measured.
    const SCRIPT: &str = "<script>addEventListener('load', () => { const root = document.documentElement; \
        const cut = [...document.querySelectorAll('.track div, svg .bars rect')].filter((bar) => { \
          const box = bar.getBoundingClientRect(); \
          return box.width > 0 && (box.right > innerWidth + 1 || box.left < -1); }); \
        parent.postMessage({ width: innerWidth, over: root.scrollWidth - root.clientWidth, cut: cut.length, \
          dark: matchMedia('(prefers-color-scheme: dark)').matches }, '*'); });</script>";
    let text = std::fs::read_to_string(page).expect("readable");
    // The page lets its own script run alone, known by its hash; the one that measures is let in by another.
    // (Where the script changes, the browser says the new one.)
    const HASH: &str = "sha256-N53tjooOgDd5YOvEBjfFoIySGfmsA0hj0cRDGnP6WH0=";
    let inner = text.replace("</body>", &format!("{SCRIPT}</body>"));
    let inner = inner.replace("script-src '", &format!("script-src '{HASH}' '"));
    std::fs::write(folder.join("inner.html"), inner).expect("written");
    let frame = format!(
        "<!doctype html><script>addEventListener('message', (event) => \
         Object.assign(document.documentElement.dataset, event.data));</script>\
         <iframe src=\"inner.html\" style=\"border:0;width:{width}px;height:1600px\"></iframe>"
    );
    let copy = folder.join("measured.html");
    std::fs::write(&copy, frame).expect("written");
    let scheme = format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 });
    rendered_with(browser, &copy, &folder.join("profile"), &["--window-size=1600,1700", &scheme, "--hide-scrollbars"])
}

fn rendered_with(browser: &Path, page: &Path, profile: &Path, options: &[&str]) -> (String, Vec<String>) {
    let output = Command::new(browser)
        .args(options)
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
