//! The README's example is the one that the library's documentation runs.

/// The lines of the first Rust example behind `heading`, those that documentation hides left out.
fn example(text: &str, heading: &str) -> Vec<String> {
    let behind = text.split_once(heading).expect("the heading").1;
    let lines =
        behind.lines().map(|line| line.strip_prefix("//!").map_or(line, |line| line.strip_prefix(' ').unwrap_or(line)));
    let mut lines = lines.skip_while(|line| !line.starts_with("```"));
    lines.next();
    lines.take_while(|line| !line.starts_with("```")).filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn the_readme_shows_what_is_run() {
    let readme = include_str!("../../../README.md");
    let library = include_str!("../src/lib.rs");
    assert_eq!(example(readme, "## As a library"), example(library, "//! Fuses"));
}
