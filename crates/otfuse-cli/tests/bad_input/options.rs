//! Options that make no sense.

use super::networks::perceptron;
use super::workshop::Workshop;

#[test]
fn of_fuse() {
    let mut shop = Workshop::new();
    shop.network("a.onnx", &perceptron(&[64, 6, 10], 1));
    shop.network("b.onnx", &perceptron(&[64, 6, 10], 2));
    shop.refuses("fuse", &["MODEL"]);
    shop.refuses("fuse a.onnx -o out/x.onnx", &["at least two models", "found 1"]);
    shop.refuses("fuse a.onnx b.onnx", &["--output"]);
    for (options, expected) in [
        ("--anchor 2", ["--anchor 2", "models 0 to 1"]),
        ("--anchor -1", ["'-1'", ""]),
        ("--anchor first", ["first", "--anchor"]),
        ("--weights 1", ["expected 2", "[1.0]"]),
        ("--weights 1,2,3", ["expected 2", "[1.0, 2.0, 3.0]"]),
        ("--weights -1,2", ["negative", "[-1.0, 2.0]"]),
        ("--weights NaN,1", ["expected 2", "NaN"]),
        ("--weights inf,1", ["expected 2", "inf"]),
        ("--weights 0,0", ["not all zero", "[0.0, 0.0]"]),
        ("--weights a,b", ["'a'", "--weights"]),
        ("--samples 0 --mode activations --data digits", ["--samples 0", "at least one"]),
        ("--epsilon 0 --solver sinkhorn", ["--epsilon 0", "positive"]),
        ("--epsilon=-1 --solver sinkhorn", ["--epsilon -1", "positive"]),
        ("--epsilon nan --solver sinkhorn", ["--epsilon NaN", "positive"]),
        ("--solver newton", ["newton", "sinkhorn"]),
        ("--method ott", ["ott", "average"]),
        ("--preset magazine", ["magazine", "paper"]),
        ("--mode activations", ["--mode activations", "--data"]),
        ("--aligned-only --weights 1,1", ["--aligned-only", "--weights"]),
        ("--frobnicate", ["--frobnicate", "unexpected"]),
        ("--seed -3", ["-3", ""]),
    ] {
        shop.refuses(&format!("fuse a.onnx b.onnx -o out/x.onnx {options}"), &expected);
    }
    shop.refuses("fuse a.onnx b.onnx a.onnx -o out/x.onnx --aligned-only", &["--aligned-only", "3 models"]);
    shop.finish(25);
}

#[test]
fn of_other_commands() {
    let mut shop = Workshop::new();
    shop.network("a.onnx", &perceptron(&[64, 6, 10], 1));
    shop.refuses("melt a.onnx", &["melt"]);
    shop.refuses("inspect", &["MODEL"]);
    shop.refuses("eval a.onnx", &["no data set", "--data"]);
    shop.refuses("eval a.onnx --data digits --limit 0", &["--limit 0", "at least one"]);
    shop.refuses("eval a.onnx --data digits --limit many", &["many", "--limit"]);
    shop.refuses("eval a.onnx --data digits --split dev", &["dev", "train"]);
    shop.refuses("verify a.onnx --seed x", &["--seed"]);
    shop.refuses("run a.onnx -o out/y.npz", &["--inputs"]);
    shop.refuses("convert a.onnx", &["OUTPUT"]);
    shop.refuses("prune a.onnx", &["--output"]);
    shop.refuses("prune a.onnx -o out/x.onnx --amount 1", &["from 0 up to 1", "found 1"]);
    shop.refuses("prune a.onnx -o out/x.onnx --amount -0.5", &["from 0 up to 1", "-0.5"]);
    shop.refuses("prune a.onnx -o out/x.onnx --amount nan", &["from 0 up to 1", "NaN"]);
    shop.refuses("prune a.onnx -o out/x.onnx --groups fc9", &["--groups fc9", "no such"]);
    shop.refuses("prune a.onnx -o out/x.onnx --exclude 7", &["--exclude 7", "no such"]);
    shop.refuses("fuse a.onnx a.onnx --sweep 3", &["--data"]);
    shop.refuses("fuse a.onnx a.onnx --sweep 1 --data digits", &["--sweep 1", "from 2"]);
    shop.refuses("fuse a.onnx a.onnx --sweep 0,2 --data digits", &["--sweep 0,2", "from 0 to 1"]);
    shop.refuses("fuse a.onnx a.onnx a.onnx --sweep 3 --data digits", &["two models", "3"]);
    shop.refuses("fuse a.onnx a.onnx --sweep 3 --data digits -o out/x.onnx", &["--sweep", "--output"]);
    shop.refuses("eval a.onnx --data digits --partition iid:2", &["--partition needs --part"]);
    shop.refuses("eval a.onnx --data digits --partition iid:0 --part 0", &["iid:0", "number of parts"]);
    shop.refuses("eval a.onnx --data digits --partition iid:2 --part 2", &["part 2", "from 0 to 1"]);
    shop.refuses("eval a.onnx --data digits --partition labels:0/12 --part 0", &["label 12", "below 10"]);
    shop.finish(24);
}
