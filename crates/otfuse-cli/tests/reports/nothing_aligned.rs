//! Fusions in which nothing, or not all, is aligned say so.

use crate::desk::Desk;

#[test]
fn a_network_without_hidden_neurons_is_not_fused_as_if_it_were_aligned() {
    let desk = Desk::of("nothing_aligned");
    let (a, b, out) = (desk.file("linear1.onnx"), desk.file("linear2.onnx"), desk.out("f.onnx"));
    let words = ["nothing can be aligned: 0 of 8 parameters", "network's output", "--method average"];
    desk.refuses(&["fuse", &a, &b, "-o", &out], &words);
    desk.refuses(&["align", &a, &b, "-o", &out], &["nothing can be aligned"]);
    // The hint, followed.
    let ran = desk.ends(0, &["fuse", &a, &b, "-o", &out, "--method", "average"]);
    assert!(ran.stdout.contains("0 of 8 parameters aligned in 0 groups"), "{}", ran.stdout);
    assert!(ran.stdout.contains("averaged index by index, as asked"), "{}", ran.stdout);
    // The published code aligns the outputs too.
    desk.ends(0, &["fuse", &a, &b, "-o", &desk.out("free.onnx"), "--align-outputs"]);
}

#[test]
fn every_fusion_says_how_much_is_aligned_and_what_is_not() {
    let desk = Desk::of("nothing_aligned");
    let (a, b, arch, out) = (desk.file("norm1.pt"), desk.file("norm2.pt"), desk.file("norm.onnx"), desk.out("f.pt"));
    let (page, card) = (desk.out("page.html"), format!("{out}.README.md"));
    let ran = desk.ends(0, &["fuse", &a, &b, "--arch", &arch, "-o", &out, "--report", &page, "--card"]);
    let expected = "76 of 78 parameters aligned in 1 group; not aligned: 2 held by axis 1 of the network's output";
    assert!(ran.stdout.contains(expected), "{}", ran.stdout);
    assert!(std::fs::read_to_string(card).unwrap().contains("76 of 78 parameters aligned"));
    assert!(std::fs::read_to_string(page).unwrap().contains("76 of 78 parameters aligned"));
    let json = desk.ends(0, &["fuse", &a, &b, "--arch", &arch, "-o", &out, "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["coverage"]["aligned"], &json["coverage"]["groups"]), (&76.into(), &1.into()));
    assert_eq!(json["coverage"]["rest"][0]["parameters"], 2);
    let aligned = desk.ends(0, &["align", &a, &b, "--arch", &arch, "-o", &out]);
    assert!(aligned.stdout.contains("76 of 78 parameters aligned"), "{}", aligned.stdout);
}

#[test]
fn statistics_that_nothing_measures_anew_are_warned_of() {
    let desk = Desk::of("nothing_aligned");
    let (a, b, arch, out) = (desk.file("norm1.pt"), desk.file("norm2.pt"), desk.file("norm.onnx"), desk.out("f.pt"));
    let fused = desk.ends(0, &["fuse", &a, &b, "--arch", &arch, "-o", &out]).stderr;
    assert!(fused.contains("1 batch normalisation:") && fused.contains("--data"), "{fused}");
    // Nothing is averaged here.
    let aligned = desk.ends(0, &["align", &a, &b, "--arch", &arch, "-o", &out]).stderr;
    assert!(!aligned.contains("batch normalisation"), "{aligned}");
}
