//! Published figures and third-party checkpoints, through the command line. Skipped where `../shared` is absent.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use otfuse::formats::model::{Architecture, Model};
use otfuse::formats::safetensors::read_safetensors;
use otfuse::graph::Tensor;
use serde_json::Value;
use tempfile::TempDir;

use support::shared;

fn otfuse(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_otfuse")).arg("--json").args(arguments).output().expect("it starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn percent(value: &Value) -> f64 {
    100.0 * value["accuracy"].as_f64().expect("an accuracy")
}

fn assert_percent(value: &Value, expected: f64) {
    let found = percent(value);
    assert!((found - expected).abs() < 0.02 + 1e-9, "found {found}, expected {expected}");
}

/// The two perceptrons of the method's authors, and MNIST.
fn perceptrons() -> Option<(Vec<PathBuf>, String)> {
    let models = shared("models/mnist-mlp-otfusion/mnist_models")?;
    let models = ["model_0", "model_1"].map(|model| models.join(model).join("final.checkpoint"));
    Some((models.to_vec(), format!("mnist:{}", text(&shared("data/mnist")?))))
}

#[test]
fn parents_ensemble_and_plain_average_of_the_authors_perceptrons() {
    let Some((models, data)) = perceptrons() else { return };
    let (m0, m1) = (text(&models[0]), text(&models[1]));
    let report = otfuse(&["eval", m0, m1, "--arch", "mlp", "--data", &data, "--ensemble"]);
    assert_percent(&report["models"][0], 97.72);
    assert_percent(&report["models"][1], 97.75);
    assert_percent(&report["ensemble"], 97.88);

    let folder = TempDir::new().unwrap();
    let fused = folder.path().join("average.safetensors");
    otfuse(&["fuse", m0, m1, "--arch", "mlp", "--method", "average", "-o", text(&fused)]);
    let report = otfuse(&["eval", text(&fused), "--arch", "mlp", "--data", &data]);
    assert_percent(&report["models"][0], 73.84);
}

#[test]
fn plans_and_weights_equal_those_of_the_published_code() {
    let Some((models, data)) = perceptrons() else { return };
    let Some(golden) = shared("golden") else { return };
    let (m0, m1) = (text(&models[0]), text(&models[1]));
    let folder = TempDir::new().unwrap();
    let cases: [(&str, &[&str], f64); 3] = [
        ("euclidean", &[], 95.58),
        ("normalized", &["--normalize-features"], 96.63),
        ("cosine", &["--cost", "cosine"], 96.60),
    ];
    for (name, options, accuracy) in cases {
        let fused = folder.path().join(format!("{name}.pt"));
        let alignment = folder.path().join(format!("{name}.json"));
        let mut arguments = vec!["fuse", m0, m1, "--arch", "mlp", "--preset", "paper", "-o", text(&fused)];
        arguments.extend(["--save-alignment", text(&alignment)]);
        arguments.extend(options);
        otfuse(&arguments);

        let json = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let expected = json(&golden.join(format!("mnist-mlp-{name}.json")));
        let found = json(&alignment);
        for (layer, group) in found[0]["groups"].as_array().unwrap().iter().enumerate() {
            let plan = match &expected["plans"] {
                Value::Array(plans) => &plans[layer],
                plans => &plans[layer.to_string()],
            };
            assert_eq!(group["plan"]["permutation"], plan["match_of_model0_neuron"], "{name}, layer {layer}");
            let costs = [&group["cost"], &plan["cost"]].map(|cost| cost.as_f64().unwrap());
            // The published code divides by the marginals plus 1e-7, which shrinks aligned weights by up to 4e-5.
            assert!((costs[0] - costs[1]).abs() < 1e-4 * costs[1], "{name}, layer {layer}: {costs:?}");
        }

        let weights = read_safetensors(&golden.join(format!("mnist-mlp-{name}.safetensors"))).unwrap();
        let model = Model::open(&fused, Some(&Architecture::parse("mlp").unwrap())).unwrap();
        let mut compared = 0;
        for ((key, expected), layer) in weights.iter().zip(1..) {
            let value = model.graph.find_value(&format!("fc{layer}.weight")).expect(key);
            let found = model.graph.initializer(value).and_then(Tensor::to_f32).unwrap();
            let expected = expected.to_f32().unwrap();
            assert_eq!(found.len(), expected.len(), "{key}");
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{name}: {key}");
            compared += 1;
        }
        assert_eq!(compared, 4);
        let report = otfuse(&["eval", text(&fused), "--arch", "mlp", "--data", &data]);
        assert_percent(&report["models"][0], accuracy);
    }
}

#[test]
fn plans_of_a_convolutional_pair_equal_those_of_the_published_code() {
    let (Some(models), Some(golden)) = (shared("models/cifar10-vgg11"), shared("golden")) else { return };
    let folder = TempDir::new().unwrap();
    let (fused, alignment) = (folder.path().join("fused.safetensors"), folder.path().join("alignment.json"));
    let (m0, m1) = (models.join("vgg11_seed0.pt"), models.join("vgg11_seed1.pt"));
    let arguments = ["fuse", text(&m0), text(&m1), "--arch", "vgg", "--preset", "paper", "-o", text(&fused)];
    otfuse(&[&arguments[..], &["--save-alignment", text(&alignment)]].concat());
    let json = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let (found, expected) = (json(&alignment), json(&golden.join("cifar10-vgg11-euclidean.json")));
    let groups = found[0]["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 9);
    for (layer, group) in groups.iter().enumerate() {
        let plan = &expected["plans"][layer];
        assert_eq!(group["plan"]["permutation"], plan["match_of_model0_neuron"], "layer {layer}");
    }
}

#[test]
fn activation_mode_beats_raw_weight_rows_on_the_authors_perceptrons() {
    let Some((models, data)) = perceptrons() else { return };
    let folder = TempDir::new().unwrap();
    let fused = folder.path().join("activations.onnx");
    let (m0, m1) = (text(&models[0]), text(&models[1]));
    for preset in [&[][..], &["--preset", "paper"]] {
        let mut arguments =
            vec!["fuse", m0, m1, "--arch", "mlp", "--mode", "activations", "--repair", "none", "--samples", "200"];
        arguments.extend(["--data", &data, "-o", text(&fused)]);
        arguments.extend(preset);
        otfuse(&arguments);
        let report = otfuse(&["eval", text(&fused), "--data", &data]);
        assert!(percent(&report["models"][0]) >= 96.0, "{preset:?}: {report}");
    }
}

#[test]
fn eight_pickled_modules_fuse_in_one_command() {
    let Some(folder) = shared("models/mnist-mlp-noniid/split-by-8") else { return };
    let models: Vec<PathBuf> = (0..8).map(|model| folder.join(format!("model_{model}.pt"))).collect();
    let output = TempDir::new().unwrap();
    let fused = output.path().join("fused.pt");
    let mut arguments = vec!["fuse", "--arch", "mlp", "-o", text(&fused)];
    arguments.extend(models.iter().map(|model| text(model)));
    let report = otfuse(&arguments);
    assert_eq!(report["models"].as_array().unwrap().len(), 8);
    assert_eq!(report["groups"].as_array().unwrap().len(), 7);
    assert!(Model::open(&fused, Some(&Architecture::parse("mlp").unwrap())).is_ok());
}

#[test]
fn lenets_of_unequal_first_layers_fuse_into_the_anchors_shape() {
    let Some(folder) = shared("models/cifar10-lenet5") else { return };
    let names = ["JesusSantosCapote", "0xlally", "BangYou01", "HanazawaKanana"];
    let models: Vec<PathBuf> = names.iter().map(|name| folder.join(format!("{name}.pth"))).collect();
    let output = TempDir::new().unwrap();
    let fused = output.path().join("fused.safetensors");
    for (anchor, filters) in [("0", 10), ("3", 6)] {
        let mut arguments =
            vec!["fuse", "--arch", "lenet", "--effort", "quick", "--anchor", anchor, "-o", text(&fused)];
        arguments.extend(models.iter().map(|model| text(model)));
        otfuse(&arguments);
        let dict = read_safetensors(&fused).unwrap();
        assert_eq!(dict.get("conv1.weight").unwrap().shape(), [filters, 3, 5, 5]);
        assert_eq!(dict.get("conv2.weight").unwrap().shape(), [16, filters, 5, 5]);
    }
}

/// The first `count` images of a sheet of `../shared/data/cifar10` as a binary batch in `folder`.
fn unpack_cifar(folder: &Path, sheet: &str, count: usize) -> Option<()> {
    let source = shared("data/cifar10")?;
    let image = fs::File::open(source.join(format!("{sheet}.webp"))).unwrap();
    let mut decoder = image_webp::WebPDecoder::new(std::io::BufReader::new(image)).unwrap();
    let mut pixels = vec![0; decoder.output_buffer_size().unwrap()];
    decoder.read_image(&mut pixels).unwrap();
    let depth = if decoder.has_alpha() { 4 } else { 3 };
    let labels = fs::read(source.join(format!("{sheet}.labels"))).unwrap();
    let mut batch = Vec::with_capacity(count * 3073);
    for (tile, label) in labels.iter().enumerate().take(count) {
        batch.push(*label);
        let (top, left) = (tile / 100 * 32, tile % 100 * 32);
        for channel in 0..3 {
            for (y, x) in (0..32).flat_map(|y| (0..32).map(move |x| (y, x))) {
                batch.push(pixels[((top + y) * 3200 + left + x) * depth + channel]);
            }
        }
    }
    fs::write(folder.join(format!("{sheet}.bin")), batch).unwrap();
    Some(())
}

fn resnets() -> Option<[PathBuf; 2]> {
    let folder = shared("models/cifar10-resnet")?;
    Some(["bognev", "Zheng-Jiakun"].map(|author| folder.join(author).join("resnet20.th")))
}

#[test]
fn residual_networks_of_two_authors_are_proved_and_fused() {
    let Some([a, b]) = resnets() else { return };
    let folder = TempDir::new().unwrap();
    let Some(()) = unpack_cifar(folder.path(), "data_batch_1", 40) else { return };
    let data = format!("cifar10:{}", text(folder.path()));
    for model in [&a, &b] {
        let report = otfuse(&["verify", text(model), "--arch", "resnet"]);
        assert_eq!(report["ok"], true);
        assert_eq!(report["free_groups"], 14);
        assert!(report["max_rel_error"].as_f64().unwrap() < 1e-4, "{report}");
    }
    let fused = folder.path().join("fused.pt");
    let activations = ["--mode", "activations", "--samples", "20", "--data", &data, "--normalize", "imagenet"];
    for options in [&["--effort", "quick"][..], &activations] {
        let mut arguments = vec!["fuse", text(&a), text(&b), "--arch", "resnet", "-o", text(&fused)];
        arguments.extend(options);
        let report = otfuse(&arguments);
        assert_eq!(report["groups"].as_array().unwrap().len(), 14);
        // Names, order, shapes and buffers of the anchor's state dict survive.
        let entries = |path: &Path| -> Vec<(String, Vec<usize>, String)> {
            let dict = otfuse::formats::read_state_dict(path, None).unwrap();
            dict.iter().map(|(name, t)| (name.into(), t.shape().to_vec(), t.data_type().to_string())).collect()
        };
        assert_eq!(entries(&fused), entries(&b));
    }
}

#[test]
#[ignore = "two minutes: the whole CIFAR-10 test set through two residual networks"]
fn residual_networks_have_the_accuracy_that_their_authors_report() {
    let Some([a, b]) = resnets() else { return };
    let folder = TempDir::new().unwrap();
    let Some(()) = unpack_cifar(folder.path(), "test_batch", 10_000) else { return };
    let data = format!("cifar10:{}", text(folder.path()));
    let report = otfuse(&["eval", text(&a), text(&b), "--arch", "resnet", "--data", &data, "--normalize", "imagenet"]);
    for model in report["models"].as_array().unwrap() {
        let accuracy = percent(model);
        assert!((91.0 - 0.3..=92.1 + 0.3).contains(&accuracy), "{model}");
    }
}

#[test]
fn a_dense_network_fused_into_its_pruned_copy_beats_the_copy() {
    let Some(model) = shared("models/cifar10-vgg11/vgg11_seed0.pt") else { return };
    let folder = TempDir::new().unwrap();
    let Some(()) = unpack_cifar(folder.path(), "test_batch", 300) else { return };
    let data = format!("cifar10:{}", text(folder.path()));
    let [pruned, fused] = ["pruned.pt", "fused.pt"].map(|name| folder.path().join(name));
    let report = otfuse(&["prune", text(&model), "--arch", "vgg", "--amount", "0.4", "-o", text(&pruned)]);
    assert!(report["kept_parameters"].as_u64() < report["parameters"].as_u64().map(|count| count / 2), "{report}");
    otfuse(&["fuse", text(&model), text(&pruned), "--arch", "vgg", "--no-verify", "-o", text(&fused)]);
    let report = otfuse(&["eval", text(&pruned), text(&fused), "--arch", "vgg", "--data", &data]);
    let [pruned, fused] = [&report["models"][0], &report["models"][1]].map(percent);
    assert!(fused > pruned && fused > 70.0, "{pruned} {fused}");
}

#[test]
fn weight_matching_ends_where_the_published_algorithm_ends() {
    let Some((models, _)) = perceptrons() else { return };
    let golden: Value = serde_json::from_str(include_str!("golden/git_rebasin.json")).unwrap();
    let folder = TempDir::new().unwrap();
    let fused = folder.path().join("fused.safetensors");
    let (m0, m1) = (text(&models[0]), text(&models[1]));
    for run in golden["runs"].as_array().unwrap() {
        let seed = run["seed"].to_string();
        let options = ["--arch", "mlp", "--preset", "git-rebasin", "--seed", &seed, "-o", text(&fused)];
        let report = otfuse(&[&["fuse", m0, m1, "--no-verify"], &options[..]].concat());
        let sweeps = &report["sweeps"][0];
        assert_eq!(sweeps["converged"], true);
        let objective: Vec<f64> =
            sweeps["objective"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        assert!(objective.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-9)), "{objective:?}");
        let expected = run["squared_distance"].as_f64().unwrap();
        let found = objective.last().unwrap();
        assert!((found - expected).abs() < 1e-5 * expected, "seed {seed}: found {found}, expected {expected}");
    }
}
