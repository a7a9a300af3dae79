//! Samples as people have them: without labels, of several inputs, of tokens, with a target at each place or of numbers.

mod workbench;

use std::collections::BTreeMap;

use otfuse::formats::npz::{read_npz, write_npz};
use otfuse::formats::onnx::{WriteOptions, to_proto, write_onnx};
use otfuse::graph::{Conv, DataType, Dim, Graph, GraphBuilder, Operator, Shape, Tensor, Window};
use serde_json::Value;
use workbench::Workbench;

/// Numbers from -0.5 to 0.5, the same for a seed.
fn pattern(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

fn floats(shape: &[usize], seed: u32) -> Tensor {
    Tensor::from_f32(shape, pattern(shape.iter().product(), seed))
}

fn archive(bench: &Workbench, name: &str, arrays: &[(&str, &Tensor)]) {
    let arrays: BTreeMap<String, Tensor> =
        arrays.iter().map(|(name, array)| ((*name).to_owned(), (*array).clone())).collect();
    write_npz(&bench.path(name), &arrays).expect("written");
}

fn network(bench: &Workbench, name: &str, graph: &Graph) {
    let proto = to_proto(graph).expect("sound");
    write_onnx(&bench.path(name), proto, &WriteOptions::default()).expect("written");
}

/// Runs a line; its exit code, stdout and stderr.
fn run(bench: &Workbench, line: &str) -> (Option<i32>, String, String) {
    let output = bench.run(&line.split_whitespace().collect::<Vec<_>>());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn json(bench: &Workbench, line: &str) -> Value {
    let (code, out, errors) = run(bench, line);
    assert_eq!(code, Some(0), "{line}: {errors}");
    serde_json::from_str(&out).expect("JSON")
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

#[test]
fn labels_are_asked_for_only_by_what_scores() {
    let bench = Workbench::new();
    let x = floats(&[40, 64], 1);
    archive(&bench, "named.npz", &[("input", &x)]);
    archive(&bench, "x.npz", &[("x", &x)]);
    archive(&bench, "any.npz", &[("calibration", &x)]);
    for data in ["named.npz", "x.npz", "any.npz"] {
        let (code, _, errors) = run(&bench, &format!("fuse a.onnx b.onnx -o {data}.onnx --data npz:{data}"));
        assert_eq!(code, Some(0), "{errors}");
        assert!(errors.starts_with("note: ") && errors.contains("without labels"), "{errors}");
    }
    assert_eq!(bench.bytes("named.npz.onnx"), bench.bytes("x.npz.onnx"), "the name makes no difference");
    for line in [
        "align a.onnx b.onnx -o aligned.onnx --data npz:named.npz",
        "compare a.onnx b.onnx --data npz:named.npz --report page.html",
        "fuse a.onnx b.onnx c.onnx -o three.onnx --data npz:named.npz",
        "interpolate a.onnx b.onnx --data npz:data.npz --steps 3",
    ] {
        let (code, _, errors) = run(&bench, line);
        assert_eq!(code, Some(0), "{line}: {errors}");
    }
    let compared = json(&bench, "compare a.onnx b.onnx --data npz:named.npz --json");
    assert!(number(&compared, "/predictions/pairs/0/agreement") <= 1.0);
    assert!(compared.pointer("/models/0/accuracy").is_none());
    for line in [
        "eval a.onnx --data npz:named.npz",
        "interpolate a.onnx b.onnx --data npz:named.npz",
        "fuse a.onnx b.onnx --sweep 3 --data npz:named.npz",
        "finetune a.onnx --data npz:named.npz -o out.onnx",
        "distill a.onnx --start b.onnx --data npz:named.npz --teacher-weight 0.5 -o out.onnx",
    ] {
        let (code, _, errors) = run(&bench, line);
        assert_eq!(code, Some(2), "{line}: {errors}");
        assert!(errors.contains("named.npz has no labels") && errors.contains("hint: y holds"), "{line}: {errors}");
        assert!(!bench.path("out.onnx").exists());
    }
}

/// Two inputs with a shared trunk, two outputs.
fn two_inputs(seed: u32) -> Graph {
    let mut b = GraphBuilder::new("two");
    let image = b.input("image", &[None, Some(6)]);
    let table = b.input("table", &[None, Some(3)]);
    let linear = |b: &mut GraphBuilder, x, name: &str, shape: [usize; 2], seed: u32| {
        let weight = b.initializer(name, floats(&shape, seed));
        b.linear(x, weight, None)
    };
    let first = linear(&mut b, image, "image.weight", [8, 6], seed);
    let second = linear(&mut b, table, "table.weight", [8, 3], seed + 1);
    let sum = b.add(first, second);
    let trunk = b.relu(sum);
    let classes = linear(&mut b, trunk, "classes.weight", [4, 8], seed + 2);
    let other = linear(&mut b, trunk, "other.weight", [2, 8], seed + 3);
    b.output(classes);
    b.output(other);
    b.finish().expect("sound")
}

#[test]
fn several_inputs_have_arrays_of_their_names() {
    let bench = Workbench::new();
    network(&bench, "p.onnx", &two_inputs(10));
    network(&bench, "q.onnx", &two_inputs(20));
    let (image, table) = (floats(&[30, 6], 1), floats(&[30, 3], 2));
    archive(&bench, "both.npz", &[("image", &image), ("table", &table)]);
    let labels = Tensor::from_i64(&[30], (0..30).map(|at| at % 4).collect());
    archive(&bench, "labelled.npz", &[("image", &image), ("table", &table), ("y", &labels)]);
    archive(&bench, "half.npz", &[("image", &image), ("tabel", &table)]);
    json(&bench, "fuse p.onnx q.onnx -o f.onnx --data npz:both.npz --json");
    assert_eq!(number(&json(&bench, "eval p.onnx f.onnx --data npz:labelled.npz --json"), "/models/1/samples"), 30.0);
    json(&bench, "finetune f.onnx -o g.onnx --data npz:labelled.npz --epochs 2 --json");
    let (code, _, errors) = run(&bench, "fuse p.onnx q.onnx -o h.onnx --data npz:half.npz");
    assert_eq!(code, Some(2));
    for part in ["half.npz has no array 'table'", "image, table", "'tabel' of shape [3]"] {
        assert!(errors.contains(part), "{errors}");
    }
}

/// Token ids of a fixed length with a mask, averaged embeddings, two classes.
fn tokens(seed: u32, length: usize) -> Graph {
    let mut b = GraphBuilder::new("tokens");
    let shape: Shape = [Dim::symbol("batch"), Dim::known(length)].into_iter().collect();
    let ids = b.input_of("input_ids", DataType::I64, shape);
    let table = b.initializer("embedding.weight", floats(&[20, 8], seed));
    let embedded = b.node(Operator::Gather { axis: 0 }, &[table, ids]);
    let mean = b.mean(embedded, &[1]);
    let mean = b.flatten(mean);
    let weight = b.initializer("hidden.weight", floats(&[8, 8], seed + 1));
    let hidden = b.linear(mean, weight, None);
    let hidden = b.relu(hidden);
    let weight = b.initializer("classes.weight", floats(&[2, 8], seed + 2));
    let classes = b.linear(hidden, weight, None);
    b.output(classes);
    b.finish().expect("sound")
}

#[test]
fn tokens_are_integers_and_long_ones_are_windowed() {
    let bench = Workbench::new();
    network(&bench, "p.onnx", &tokens(1, 6));
    network(&bench, "q.onnx", &tokens(2, 6));
    let ids = |length: usize| Tensor::from_i64(&[12, length], (0..12 * length as i64).map(|at| at * 7 % 20).collect());
    let labels = Tensor::from_i64(&[12], (0..12).map(|at| at % 2).collect());
    archive(&bench, "short.npz", &[("input_ids", &ids(6)), ("labels", &labels)]);
    archive(&bench, "long.npz", &[("input_ids", &ids(20))]);
    archive(&bench, "floats.npz", &[("input_ids", &floats(&[12, 6], 3))]);
    assert_eq!(number(&json(&bench, "eval p.onnx --data npz:short.npz --json"), "/models/0/samples"), 12.0);
    json(&bench, "fuse p.onnx q.onnx -o f.onnx --data npz:short.npz --json");
    let (code, _, errors) = run(&bench, "fuse p.onnx q.onnx -o g.onnx --data npz:long.npz");
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("12 samples of 20 tokens are cut into 36 windows of 6"), "{errors}");
    assert!(errors.contains("the last 2 of each are left out"), "{errors}");
    let (code, _, errors) = run(&bench, "fuse p.onnx q.onnx -o h.onnx --data npz:floats.npz");
    assert_eq!(code, Some(2));
    assert!(errors.contains("'input_ids': expected int64, found floats"), "{errors}");
}

#[test]
fn language_models_take_ids_without_a_mask_and_no_more_than_their_positions() {
    let bench = Workbench::new().with_folders();
    let ids = Tensor::from_i64(&[5, 20], (0..100).map(|at| at % 9).collect());
    archive(&bench, "ids.npz", &[("input_ids", &ids)]);
    let (code, _, errors) = run(&bench, "fuse h1 h2 -o h3 --data npz:ids.npz");
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("are cut into 10 windows of 8"), "{errors}");
    let (code, out, errors) = run(&bench, "eval h1 --data text@32:text.txt --json");
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("windows of 8"), "{errors}");
    assert!(number(&serde_json::from_str(&out).expect("JSON"), "/models/0/perplexity") > 1.0);
}

/// A convolution to three classes at each place of 4 x 4.
fn dense(seed: u32) -> Graph {
    let mut b = GraphBuilder::new("dense");
    let x = b.input("pixels", &[None, Some(2), Some(4), Some(4)]);
    let weight = b.initializer("first.weight", floats(&[6, 2, 3, 3], seed));
    let conv = |padding| Conv { groups: 1, window: Window::uniform(2, 1, padding) };
    let y = b.conv(x, weight, None, conv(1));
    let y = b.relu(y);
    let weight = b.initializer("second.weight", floats(&[3, 6, 1, 1], seed + 1));
    let y = b.conv(y, weight, None, conv(0));
    b.output(y);
    b.finish().expect("sound")
}

#[test]
fn a_class_at_each_place_is_measured_and_trained() {
    let bench = Workbench::new();
    network(&bench, "p.onnx", &dense(1));
    network(&bench, "q.onnx", &dense(2));
    let x = floats(&[24, 2, 4, 4], 5);
    // What the network says, but for every seventh place, and a void in each sample.
    archive(&bench, "only.npz", &[("pixels", &x)]);
    bench.succeed(&["run", "p.onnx", "--inputs", "only.npz", "-o", "said.npz"]);
    let said = read_npz(&bench.path("said.npz")).expect("read");
    let scores = said.values().next().expect("an output").to_f32().expect("floats");
    let (mut labels, mut wrong, mut counted) = (Vec::new(), 0, 0);
    for at in 0..24 * 16 {
        let (sample, place) = (at / 16, at % 16);
        let score = |class: usize| scores[(sample * 3 + class) * 16 + place];
        let best = (1..3).fold(0, |best, class| if score(class) > score(best) { class } else { best });
        let is_wrong = at % 7 == 0;
        labels.push(if place == 15 { -1 } else { (best as i64 + i64::from(is_wrong)) % 3 });
        if place != 15 {
            counted += 1;
            wrong += i32::from(is_wrong);
        }
    }
    archive(&bench, "masks.npz", &[("pixels", &x), ("y", &Tensor::from_i64(&[24, 4, 4], labels))]);
    let found = json(&bench, "eval p.onnx q.onnx --ensemble --data npz:masks.npz --json");
    let expected = 1.0 - f64::from(wrong) / f64::from(counted);
    assert!((number(&found, "/models/0/accuracy") - expected).abs() < 1e-9, "{found}");
    assert!(number(&found, "/models/0/mean_iou") < expected && number(&found, "/ensemble/loss") > 0.0);
    let (_, out, _) = run(&bench, "eval p.onnx --data npz:masks.npz");
    assert!(out.contains("mean IoU"), "{out}");
    let fused = json(&bench, "fuse p.onnx q.onnx -o f.onnx --data npz:masks.npz --report page.html --json");
    assert!(number(&fused, "/comparison/fused/mean_iou") <= 1.0);
    let trained = json(&bench, "finetune q.onnx -o g.onnx --data npz:masks.npz --epochs 4 --lr 0.1 --json");
    assert!(number(&trained, "/epochs/3/loss") < number(&trained, "/epochs/0/loss"), "{trained}");
    json(&bench, "interpolate p.onnx q.onnx --data npz:masks.npz --steps 3 --json");
}

#[test]
fn numbers_are_met_by_squared_error() {
    let bench = Workbench::new();
    let graph = |seed: u32| {
        let mut b = GraphBuilder::new("numbers");
        let x = b.input("x", &[None, Some(5)]);
        let weight = b.initializer("first.weight", floats(&[12, 5], seed));
        let y = b.linear(x, weight, None);
        let y = b.relu(y);
        let weight = b.initializer("second.weight", floats(&[2, 12], seed + 1));
        let y = b.linear(y, weight, None);
        b.output(y);
        b.finish().expect("sound")
    };
    network(&bench, "p.onnx", &graph(1));
    network(&bench, "q.onnx", &graph(2));
    let x = floats(&[60, 5], 7);
    archive(&bench, "only.npz", &[("x", &x)]);
    bench.succeed(&["run", "p.onnx", "--inputs", "only.npz", "-o", "said.npz"]);
    let said = read_npz(&bench.path("said.npz")).expect("read").into_values().next().expect("an output");
    let targets = said.to_f32().expect("floats").iter().map(|value| value + 0.25).collect();
    archive(&bench, "data.npz", &[("x", &x), ("y", &Tensor::from_f32(&[60, 2], targets))]);
    let found = json(&bench, "eval p.onnx q.onnx --data npz:data.npz --ensemble --json");
    assert!((number(&found, "/models/0/loss") - 0.0625).abs() < 1e-6, "{found}");
    assert!((number(&found, "/models/0/mean_absolute_error") - 0.25).abs() < 1e-6);
    assert!(number(&found, "/models/0/r2") < 1.0 && found.pointer("/models/0/accuracy").is_none());
    let (_, out, _) = run(&bench, "eval p.onnx --data npz:data.npz");
    assert!(out.contains("squared error") && out.contains("0.06250"), "{out}");
    let fused = json(&bench, "fuse p.onnx q.onnx -o f.onnx --data npz:data.npz --report page.html --json");
    assert!(number(&fused, "/comparison/fused/loss") > 0.0);
    for line in [
        "fuse p.onnx q.onnx --sweep 3 --data npz:data.npz",
        "interpolate p.onnx q.onnx --data npz:data.npz --steps 3 --report walk.html",
        "compare p.onnx q.onnx --data npz:data.npz --report likeness.html",
    ] {
        let (code, _, errors) = run(&bench, line);
        assert_eq!(code, Some(0), "{line}: {errors}");
    }
    let trained = json(&bench, "finetune q.onnx -o g.onnx --data npz:data.npz --epochs 5 --lr 0.05 --json");
    assert!(number(&trained, "/epochs/4/loss") < number(&trained, "/epochs/0/loss"), "{trained}");
    // Classes with numbers as labels are no classes.
    let floats = Tensor::from_f32(&[60], (0..60).map(|at| (at % 2) as f32).collect());
    archive(&bench, "classes.npz", &[("x", &x), ("y", &floats)]);
    let (code, _, errors) = run(&bench, "eval p.onnx --data npz:classes.npz");
    assert_eq!(code, Some(2));
    assert!(errors.contains("classes are labelled with integers"), "{errors}");
    // Numbers are followed too.
    let line = "distill p.onnx --start q.onnx --data npz:data.npz --epochs 2 --lr 0.01 -o h.onnx";
    let (code, _, errors) = run(&bench, line);
    assert_eq!(code, Some(0), "{errors}");
}

#[test]
fn images_without_classes() {
    let bench = Workbench::new();
    std::fs::create_dir(bench.path("photos")).expect("a folder");
    for at in 0..10_u8 {
        let pixels: Vec<u8> = (0..64).map(|pixel| pixel * 3 + at).collect();
        let mut bytes = Vec::new();
        let encoder = image_webp::WebPEncoder::new(&mut bytes);
        encoder.encode(&pixels, 8, 8, image_webp::ColorType::L8).expect("encoded");
        bench.put(&format!("photos/{at}.webp"), bytes);
    }
    bench.put("photos/readme.txt", "left alone");
    let (code, _, errors) = run(&bench, "fuse a.onnx b.onnx -o f.onnx --data images:photos");
    // A webp image has colours, and the networks take 64 numbers.
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("samples of shape [3, 8, 8]"), "{errors}");
    let (code, _, errors) = run(&bench, "eval a.onnx --data images:photos");
    assert_eq!(code, Some(2));
    assert!(errors.contains("images:photos has no labels") && errors.contains("DIR/CLASS/IMAGE"), "{errors}");
}

#[test]
fn numbers_of_an_odd_size_are_shown_and_taken_as_they_are() {
    let bench = Workbench::new();
    let large: Vec<f32> = pattern(40 * 64, 1).iter().map(|value| 255.0 * (value + 0.5)).collect();
    archive(&bench, "large.npz", &[("input", &Tensor::from_f32(&[40, 64], large))]);
    let (code, _, errors) = run(&bench, "align a.onnx b.onnx -o f.onnx --data npz:large.npz");
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("warning: npz:large.npz: the samples have the mean 12"), "{errors}");
    assert!(errors.contains("--normalize 0/255 scales them"), "{errors}");
    let (_, _, errors) = run(&bench, "align a.onnx b.onnx -o f.onnx --data npz:large.npz --normalize 0/255");
    assert_eq!(errors, "");
}

#[test]
fn a_wrong_normalisation_is_suspected() {
    let bench = Workbench::new();
    bench.succeed(&["train", "mlp:32", "--data", "digits", "-o", "good.onnx", "--epochs", "5", "--seed", "1"]);
    let (code, _, errors) = run(&bench, "eval good.onnx --data digits");
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let (code, _, errors) = run(&bench, "eval good.onnx --data digits --normalize 40/0.1");
    assert_eq!(code, Some(0));
    assert!(errors.contains("near chance (10 classes)") && errors.contains("With --normalize none it is "), "{errors}");
}

#[test]
fn misspelt_kinds_of_data_are_understood() {
    let bench = Workbench::new();
    for (typed, meant) in [
        ("npzz:data.npz", "npz:data.npz"),
        ("data.npz", "npz:data.npz"),
        ("sub", "images:sub"),
        ("Digits", "digits"),
        ("cifar-10:sub", "cifar10:sub"),
        ("numpy:data.npz", "npz:data.npz"),
        ("txt@32:a.txt", "text@32:a.txt"),
        ("imagefolder:sub", "images:sub"),
    ] {
        let (code, _, errors) = run(&bench, &format!("eval a.onnx --data {typed}"));
        assert_eq!(code, Some(2));
        assert!(errors.contains(&format!("hint: did you mean {meant}?")), "{typed}: {errors}");
    }
}
