//! Networks as a person would draw them.

use otfuse::diagram::{Diagram, UnitKind};
use otfuse::graph::{Facts, Graph, GraphBuilder, NeuronGroups, Tensor};
use otfuse::runtime::dataset::{Dataset, Vocabulary};
use otfuse::{architecture, architecture_for};

fn diagram(graph: &Graph) -> Diagram {
    Diagram::of(graph, &Facts::of(graph).unwrap(), &NeuronGroups::of(graph).unwrap())
}

fn labels(diagram: &Diagram) -> Vec<&str> {
    diagram.units.iter().map(|unit| unit.label.as_str()).collect()
}

fn text(length: usize) -> Dataset {
    let tokens = vec![1; 2 * length];
    Dataset::from_tokens("text", length, tokens.clone(), tokens, 5, Vocabulary::of_characters("abcd")).unwrap()
}

#[test]
fn a_perceptron_is_a_column() {
    let diagram = diagram(&architecture("mlp:20-10", &[4], 3, 0).unwrap().graph);
    let expected =
        ["input [batch × 4]", "Linear 4 → 20, ReLU", "Linear 20 → 10, ReLU", "Linear 10 → 3", "logits [batch × 3]"];
    assert_eq!(labels(&diagram), expected);
    assert!(diagram.blocks.is_empty());
    assert_eq!(diagram.units[1].carries.iter().map(|id| id.index()).collect::<Vec<_>>(), [0]);
    assert_eq!(diagram.units[1].weights, "fc1");
}

#[test]
fn residual_blocks_are_folded() {
    let diagram = diagram(&architecture("resnet20", &[3, 32, 32], 10, 0).unwrap().graph);
    let counts: Vec<usize> = diagram.blocks.iter().map(|block| block.count).collect();
    assert_eq!(counts, [3, 2, 2], "{}", diagram.text());
    assert!(diagram.text().contains("Conv 3×3, 16 → 16, BatchNorm, ReLU"), "{}", diagram.text());
    assert!(diagram.units.iter().any(|unit| unit.label == "+, ReLU" && unit.kind == UnitKind::Join));
}

#[test]
fn transformers_are_attention_and_perceptrons() {
    for (spec, attention, perceptron) in [
        ("gpt2:3,16,2", "Attention, 2 heads × 8", "MLP 16 → 64 → 16, GELU"),
        ("llama:3,16,2", "Attention, 2 heads × ", "Gated MLP 16 → 48 → 16, SiLU"),
    ] {
        let diagram = diagram(&architecture_for(spec, &text(6), 0).unwrap().graph);
        let shown = diagram.text();
        assert_eq!(diagram.blocks.iter().map(|block| block.count).collect::<Vec<_>>(), [3], "{shown}");
        assert!(shown.contains(attention) && shown.contains(perceptron), "{shown}");
        assert_eq!(diagram.blocks[0].length, 6, "{shown}");
    }
}

#[test]
fn hostile_names_are_only_text() {
    let name = "</text><script>\"'&\\\n\u{1}";
    let mut b = GraphBuilder::new("network");
    let x = b.input(name, &[None, Some(4)]);
    let w = b.initializer(&format!("{name}.weight"), Tensor::from_f32(&[3, 4], vec![0.5; 12]));
    let y = b.linear(x, w, None);
    b.output(y);
    let diagram = diagram(&b.finish().unwrap());
    let svg = diagram.svg(name);
    assert!(!svg.contains("<script") && !svg.contains('\u{1}'), "{svg}");
    assert!(svg.contains("&lt;script&gt;&quot;&#39;&amp;"), "{svg}");
    let dot = diagram.dot(name);
    assert!(dot.contains("\\\"'&\\\\\\n") && !dot.contains('\u{1}'), "{dot}");
    assert_eq!(svg, diagram.svg(name));
}
