//! Networks that leave lengths open and do not take all of them.

use crate::desk::Desk;

#[test]
fn lengths_that_the_network_takes_are_found() {
    let desk = Desk::of("dynamic_hw");
    for (name, groups) in
        [("halves", "5 neuron groups"), ("window", "2 neuron"), ("flat", "2 neuron"), ("pair", "1 neuron")]
    {
        let [one, two] = ["1", "2"].map(|number| desk.file(&format!("{name}{number}.onnx")));
        let ran = desk.ends(0, &["verify", &one]);
        assert!(ran.stdout.contains(groups), "{name}: {}", ran.stdout);
        let out = desk.out(&format!("{name}.onnx"));
        let ran = desk.ends(0, &["fuse", &one, &two, "-o", &out]);
        assert!(!ran.stderr.contains("not proved"), "{name}: {}", ran.stderr);
    }
}

#[test]
fn lengths_can_be_given() {
    let desk = Desk::of("dynamic_hw");
    let file = desk.file("halves1.onnx");
    desk.ends(0, &["verify", &file, "--shape", "x=1x1x48x32"]);
    let out = desk.out("f.onnx");
    desk.ends(0, &["fuse", &file, &desk.file("halves2.onnx"), "-o", &out, "--shape", "x=1x1x48x32"]);
    // Lengths that it does not take are said, with the node, and not that the file is damaged.
    let ran = desk.refuses(&["verify", &file, "--shape", "x=1x1x8x8"], &["halves1.onnx", "x=1x1x8x8", "--shape"]);
    assert!(!ran.stderr.contains("damaged"), "{}", ran.stderr);
    desk.refuses(&["verify", &file, "--shape", "y=1x1"], &["no input 'y'", "its inputs are x"]);
    desk.refuses(&["verify", &file, "--shape", "x=1x2x8x8"], &["expected batchx1xheightxwidth, found 1x2x8x8"]);
    desk.refuses(&["verify", &file, "--shape", "x"], &["x=1x3x640x640"]);
}
