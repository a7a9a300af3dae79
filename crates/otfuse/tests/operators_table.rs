//! `docs/operators.md` says what the code does. `OTFUSE_BLESS=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use otfuse::formats::onnx::FIRST_VERSIONS;
use otfuse::graph::{AxisRule, Operator, ShapeSource};
use otfuse::runtime::{passes_gradients, refusal};

/// Names that are read as another operator, with what they are read as.
const ALIASES: [(&str, &str); 6] = [
    ("CastLike", "Cast"),
    ("Dropout", "Identity"),
    ("Scatter", "ScatterElements"),
    ("SequenceAt", "Slice"),
    ("SplitToSequence", "Slice"),
    ("Upsample", "Resize"),
];

const HEAD: &str = "\
# Operators

Written by `OTFUSE_BLESS=1 cargo test --release -p otfuse --test operators_table` from the code; a test fails where the
two differ. All rules are in `crates/otfuse-graph/src/symmetry/rules`, each beside the sentence that stands here, and
`crates/otfuse/tests/mutation` proves that none of them can be left out or changed.

- *opsets*: the forms of ONNX's own domain that are read; all are brought into the newest one.
- *shapes*: inferred from the inputs' *shapes*, from the *contents* of small integer inputs as well (those that follow
  from shapes are followed), or with one length that only the *data* tell.
- *forward*: computed in float32 (integers exactly), compared with onnxruntime.
- *gradients*: whether training goes through it.

Of the domain `ai.onnx.ml` there are Scaler, read as Sub and Mul whose operands are weights, Normalizer, read as a
reduction and Div, ArrayFeatureExtractor, read as Gather, and ZipMap, read as Identity.

Whatever is not in this table, or has attributes that have no counterpart here (strings, sequences,
operators of other domains), is read and written back unchanged, is refused by name where the network has to be executed,
and pins everything that it touches.

";

fn row(operator: &Operator, opsets: &str) -> String {
    let shapes = match operator.shape_source() {
        ShapeSource::Shapes => "shapes",
        ShapeSource::Contents => "contents",
        ShapeSource::Data => "data",
        ShapeSource::Declared => "no",
    };
    let forward = refusal(operator).map_or_else(|| "yes".to_owned(), |reason| format!("refused: {reason}"));
    let gradients = if passes_gradients(operator) { "yes" } else { "no" };
    let rule = match operator.axis_rule() {
        AxisRule::Shares(rule) => rule.to_owned(),
        AxisRule::Pins(reason) => format!("pins everything: {reason}"),
    };
    format!("| {} | {opsets} | {shapes} | {forward} | {gradients} | {rule} |\n", operator.name())
}

fn table() -> String {
    let operators: BTreeMap<String, Operator> =
        Operator::one_of_each().into_iter().map(|operator| (operator.name().to_owned(), operator)).collect();
    let mut text = HEAD.to_owned();
    let all = FIRST_VERSIONS.len();
    let executed = FIRST_VERSIONS
        .iter()
        .filter(|(name, _)| operators.get(*name).is_none_or(|operator| refusal(operator).is_none()));
    let _ = writeln!(text, "{all} operators are read, of which {} are executed.\n", executed.count());
    text.push_str("| operator | opsets | shapes | forward | gradients | axis rule |\n|---|---|---|---|---|---|\n");
    for (name, first) in FIRST_VERSIONS {
        let opsets = format!("{first} and later");
        match operators.get(name) {
            Some(operator) => text.push_str(&row(operator, &opsets)),
            None => {
                let (_, target) =
                    ALIASES.iter().find(|(alias, _)| *alias == name).expect("an operator or another's name");
                assert!(operators.contains_key(*target), "{target}");
                let _ = writeln!(text, "| {name} | {opsets} | read as {target} | | | |");
            }
        }
    }
    text
}

#[test]
fn every_operator_of_the_graph_is_read() {
    for operator in Operator::one_of_each() {
        let name = operator.name();
        assert!(FIRST_VERSIONS.iter().any(|(known, _)| *known == name), "{name} is in no file");
    }
}

#[test]
fn the_table_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operators.md");
    let table = table();
    if std::env::var_os("OTFUSE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder docs");
        std::fs::write(&path, &table).expect("docs/operators.md");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == table, "docs/operators.md is out of date: run the test with OTFUSE_BLESS=1");
}
