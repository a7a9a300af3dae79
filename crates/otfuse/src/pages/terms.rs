//! Terms of pages, explained where they stand.

use otfuse_report::{Block, Page};

/// A term, how it is found in a page (in small letters), and what it means.
const TERMS: [(&str, &[&str], &str); 22] = [
    (
        "Accuracy",
        &["accuracy"],
        "the share of labels that the network holds for the most probable ones; higher is better",
    ),
    (
        "Loss",
        &["loss"],
        "the mean cross-entropy of a label in nats: 0 is certain and right, the logarithm of the number of classes is guessing",
    ),
    (
        "Squared error",
        &["squared error"],
        "the mean of the squared differences to the numbers to be met; lower is better",
    ),
    ("Absolute error", &["absolute error"], "the mean difference to the numbers to be met, without its sign"),
    ("R2", &["r2"], "the share of the targets' variance that is explained: 1 is exact, 0 is no better than their mean"),
    (
        "Mean IoU",
        &["iou"],
        "the overlap of places said and true, as a share of both together, averaged over the classes",
    ),
    ("Perplexity", &["perplexity"], "between how many equally probable tokens a language model wavers"),
    ("Parent", &["parent"], "one of the networks that were fused"),
    (
        "Anchor",
        &["anchor"],
        "the network that the others are aligned to; the result has its shape, its names and its format",
    ),
    (
        "Ensemble",
        &["ensemble"],
        "all parents run side by side, their probabilities averaged: as dear as all of them; what fusing aims at",
    ),
    ("Plain average", &["plain average", "vanilla"], "the parents' weights averaged index by index, without alignment"),
    ("Fused", &["fused"], "the parents' neurons brought into one order, then their weights averaged"),
    ("Repaired", &["repair"], "what averaging changed about the layers' outputs is corrected afterwards"),
    (
        "Neuron group",
        &["group", "neurons"],
        "neurons whose order is free: exchanged in all weights that they run through, the network computes the same",
    ),
    ("Cost", &["cost"], "the mean distance between matched neurons in what describes them; 0 for equal ones"),
    (
        "Gap",
        &["gap"],
        "how much a better matching could save at most; 0 where it is proved to be the best, or by how much accuracy differs",
    ),
    ("Matched", &["matched"], "the share of neurons that have a partner of their own"),
    ("Plan", &["plan"], "how the search for the matching ended"),
    (
        "Barrier",
        &["barrier"],
        "how far the loss on the way between networks rises above the straight line between theirs; 0 if it rises nowhere",
    ),
    ("Cosine", &["cosine"], "1 where two neurons have the same direction, 0 where they have nothing in common"),
    ("CKA", &["cka"], "how alike two layers tell the samples apart: 1 in the same way, 0 with nothing in common"),
    ("SHA-256", &["sha-256"], "the fingerprint of a file: equal files have equal ones"),
];

/// The terms that a page uses.
pub(super) fn terms(page: &Page) -> Vec<(String, String)> {
    let mut text = format!("{} {}", page.verdict, page.summary);
    for section in &page.sections {
        text += &format!(" {} ", section.heading);
        section.blocks.iter().for_each(|block| words(block, &mut text));
    }
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '-').collect();
    let is_used = |name: &str| match name.contains(' ') {
        true => text.contains(name),
        false => words.iter().any(|word| *word == name || word.strip_suffix('s') == Some(name)),
    };
    let used = TERMS.iter().filter(|(_, names, _)| names.iter().any(|name| is_used(name)));
    used.map(|(term, _, meaning)| ((*term).to_owned(), (*meaning).to_owned())).collect()
}

/// What a block says in words of its own, not in names of files and weights.
fn words(block: &Block, text: &mut String) {
    match block {
        Block::Text(words) => *text += &format!(" {words}"),
        Block::Facts(facts) => facts.iter().for_each(|(name, _)| *text += &format!(" {name}")),
        Block::Grid(grid) => *text += &format!(" {} {}", grid.caption, grid.header.join(" ")),
        Block::Figure(figure) => *text += &format!(" {} {}", figure.title, figure.table.header.join(" ")),
        Block::Choice { options, .. } => options.iter().flat_map(|(_, blocks)| blocks).for_each(|it| words(it, text)),
    }
}
