//! Networks without weights.

use crate::desk::Desk;

#[test]
fn networks_without_parameters_are_refused() {
    let desk = Desk::of("nothing_to_fuse");
    for (name, word) in [("trees", "TreeEnsembleClassifier"), ("plain", "computed from its inputs")] {
        let [one, two] = ["1", "2"].map(|number| desk.file(&format!("{name}{number}.onnx")));
        desk.refuses(&["fuse", &one, &two, "-o", &desk.out("f.onnx")], &["no parameters to fuse", word]);
    }
}
