//! Help as it is read: `-h` is one screen with examples, `--help` has everything under headings.

use clap::{Arg, Command};

/// What the short help of a command shows.
struct Short {
    command: &'static str,
    /// Options, beside what is named by its place.
    shown: &'static [&'static str],
    /// Lines to be typed, and what they do.
    examples: [(&'static str, &'static str); 3],
}

const MAIN: [(&str, &str); 3] = [
    ("otfuse demo", "train two small networks, fuse them, compare"),
    ("otfuse fuse a.onnx b.onnx -o fused.onnx", "two networks made one, without data"),
    ("otfuse eval a.onnx b.onnx fused.onnx --data cifar10:DIR", "how good they are"),
];

const SHORT: &[Short] = &[
    Short {
        command: "inspect",
        shown: &["arch", "svg", "json"],
        examples: [
            ("otfuse inspect net.onnx", "inputs, outputs, layers, neuron groups"),
            ("otfuse inspect net.pt --arch resnet", "a state dict of a known architecture"),
            ("otfuse inspect net.onnx --svg net.svg", "as a drawing"),
        ],
    },
    Short {
        command: "verify",
        shown: &["arch", "seed", "json"],
        examples: [
            ("otfuse verify net.onnx", "permute all neuron groups, compare the outputs"),
            ("otfuse verify net.pt --arch net.onnx", "a state dict with the ONNX file of its network"),
            ("otfuse verify net.onnx --seed 1", "with other permutations"),
        ],
    },
    Short {
        command: "fuse",
        shown: &["output", "arch", "data", "normalize", "weights", "repair", "report", "dry_run", "json"],
        examples: [
            ("otfuse fuse a.onnx b.onnx -o fused.onnx", "without data: by weights"),
            ("otfuse fuse a.pt b.pt --arch net.onnx -o fused.pt", "state dicts with the ONNX file of their network"),
            ("otfuse fuse a.onnx b.onnx -o fused.onnx --data npz:x.npz", "with samples, which need no labels: better"),
        ],
    },
    Short {
        command: "align",
        shown: &["output", "arch", "data", "save_alignment", "json"],
        examples: [
            ("otfuse align a.onnx b.onnx -o a-aligned.onnx", "the first in the order of the second"),
            ("otfuse align a.onnx b.onnx -o a-aligned.onnx --data npz:x.npz", "by activations too"),
            ("otfuse align a.pt b.pt -o c.pt --save-alignment map.json", "for `apply`"),
        ],
    },
    Short {
        command: "apply",
        shown: &["output", "arch", "to", "json"],
        examples: [
            ("otfuse apply map.json later.pt -o later-aligned.pt", "what `align` found, on a later checkpoint"),
            ("otfuse apply map.json later.pt --to b.pt -o later-aligned.pt", "where widths differ"),
            ("otfuse apply map.json later.pt --arch net.onnx -o out.pt", "a state dict without a known architecture"),
        ],
    },
    Short {
        command: "transport-task-vector",
        shown: &["output", "arch", "data", "scale", "follow", "samples", "repair", "dry_run", "json"],
        examples: [
            (
                "otfuse transport-task-vector a.onnx a-tuned.onnx b.onnx -o b-tuned.onnx --data npz:x.npz",
                "with samples, which need no labels",
            ),
            (
                "otfuse transport-task-vector a.onnx a-tuned.onnx b.onnx -o b-tuned.onnx",
                "the difference of weights alone",
            ),
            ("otfuse transport-task-vector a adapter b -o b-tuned --data text:FILE", "a LoRA adapter of a"),
        ],
    },
    Short {
        command: "extract-lora",
        shown: &["output", "arch", "rank", "energy", "linear_only", "json"],
        examples: [
            ("otfuse extract-lora tuned base -o adapter --rank 16", "two Hugging Face folders"),
            ("otfuse extract-lora tuned base -o adapter --energy 0.95", "as many ranks as each layer needs"),
            ("otfuse extract-lora tuned.pt base.pt --arch vgg -o adapter --rank 8", "two checkpoints"),
        ],
    },
    Short {
        command: "merge-lora",
        shown: &["output", "weights", "json"],
        examples: [
            ("otfuse merge-lora base adapter -o merged", "as PEFT merges it"),
            ("otfuse merge-lora base first second -o merged --weights 0.7,0.3", "two adapters"),
            ("otfuse merge-lora base.safetensors adapter -o merged.safetensors", "into a file of tensors"),
        ],
    },
    Short {
        command: "compare",
        shown: &["arch", "data", "limit", "report", "csv", "json"],
        examples: [
            ("otfuse compare a.onnx b.onnx", "neurons"),
            ("otfuse compare a.onnx b.onnx --data cifar10:DIR", "layers and predictions too"),
            ("otfuse compare a.onnx b.onnx --report page.html", "as a page"),
        ],
    },
    Short {
        command: "interpolate",
        shown: &["arch", "data", "steps", "repair", "as_fuse", "report", "csv", "json"],
        examples: [
            ("otfuse interpolate a.onnx b.onnx --data digits", "11 networks between two"),
            ("otfuse interpolate a.onnx b.onnx --data digits --steps 0.5 --as-fuse", "what `fuse` would write"),
            ("otfuse interpolate a.onnx b.onnx --data digits --report page.html", "as a page"),
        ],
    },
    Short {
        command: "prune",
        shown: &["output", "arch", "amount", "json"],
        examples: [
            ("otfuse prune net.onnx -o half.onnx", "half of the neurons of each group"),
            ("otfuse prune net.onnx -o small.onnx --amount 0.8", "a fifth is left"),
            ("otfuse prune net.pt --arch resnet -o half.pt", "a state dict"),
        ],
    },
    Short {
        command: "eval",
        shown: &["arch", "data", "normalize", "ensemble", "split", "limit", "report", "json"],
        examples: [
            ("otfuse eval net.onnx --data images:DIR --normalize imagenet", "folders of classes"),
            ("otfuse eval a.onnx b.onnx --data cifar10:DIR --ensemble", "two parents and their ensemble"),
            ("otfuse eval net.onnx --data npz:data.npz --json", "arrays x and y; JSON"),
        ],
    },
    Short {
        command: "generate",
        shown: &["arch", "data", "against", "features", "alignment", "output", "walk", "json"],
        examples: [
            ("otfuse generate a.onnx b.onnx -o grid.png", "what both make of the same noise"),
            (
                "otfuse generate a.onnx b.onnx fused.onnx --alignment turned.json -o grid.png",
                "noise turned as `fuse` found",
            ),
            ("otfuse generate a.onnx fused.onnx --against mnist:DIR", "distances from a data set"),
        ],
    },
    Short {
        command: "run",
        shown: &["inputs", "output", "arch", "json"],
        examples: [
            ("otfuse run net.onnx --inputs x.npz -o y.npz", "arrays by the names of the inputs"),
            ("otfuse run net.pt --arch resnet --inputs x.npz -o y.npz", "a state dict"),
            ("otfuse run net.onnx --inputs x.npz -o y.npz --device cuda", "on a GPU"),
        ],
    },
    Short {
        command: "convert",
        shown: &["arch", "json"],
        examples: [
            ("otfuse convert net.onnx net.safetensors", "the weights alone"),
            ("otfuse convert net.pt net.onnx --arch resnet", "a state dict as a network"),
            ("otfuse convert folder net.onnx", "a Hugging Face folder"),
        ],
    },
    Short {
        command: "train",
        shown: &["output", "data", "epochs", "batch_size", "optimizer", "lr", "validation", "seed", "json"],
        examples: [
            ("otfuse train mlp:128-64 --data digits -o a.onnx --seed 1", "a perceptron"),
            ("otfuse train resnet18 --data cifar10:DIR -o a.pt --epochs 30 --schedule onecycle", "a residual network"),
            ("otfuse train gpt2:2,64,4 --data text:FILE -o a", "a language model, as a folder"),
        ],
    },
    Short {
        command: "finetune",
        shown: &["output", "arch", "data", "epochs", "lr", "validation", "seed", "json"],
        examples: [
            ("otfuse finetune fused.onnx --data cifar10:DIR -o tuned.onnx", "10 epochs; never worse than the start"),
            ("otfuse finetune fused.onnx --data npz:data.npz -o tuned.onnx --epochs 3 --lr 0.001", "gently"),
            ("otfuse finetune fused.pt --arch net.onnx --data images:DIR -o tuned.pt", "a state dict"),
        ],
    },
    Short {
        command: "distill",
        shown: &["output", "arch", "data", "student", "start", "epochs", "lr", "json"],
        examples: [
            ("otfuse distill a.onnx b.onnx --start fused.onnx --data cifar10:DIR -o c.onnx", "a fused network follows"),
            ("otfuse distill a.onnx b.onnx --student mlp:64 --data digits -o c.onnx", "a new network follows"),
            ("otfuse distill a.onnx --start b.onnx --data npz:data.npz -o c.onnx --epochs 3", "for 3 epochs"),
        ],
    },
    Short {
        command: "experiment",
        shown: &["output", "variant", "dry_run", "json"],
        examples: [
            ("otfuse experiment file.yml -o DIR", "train, fuse and measure as the file says"),
            ("otfuse experiment file.yml -o DIR --variant small", "its small variant"),
            ("otfuse experiment file.yml -o DIR --dry-run", "what would be done"),
        ],
    },
    Short {
        command: "demo",
        shown: &["seed", "report", "json"],
        examples: [
            ("otfuse demo", "half a minute, no files needed"),
            ("otfuse demo --seed 1", "other networks"),
            ("otfuse demo --report page.html", "as a page"),
        ],
    },
    Short {
        command: "completions",
        shown: &[],
        examples: [
            ("otfuse completions bash > ~/.local/share/bash-completion/completions/otfuse", "for bash"),
            ("otfuse completions zsh > ~/.zfunc/_otfuse", "for zsh, with ~/.zfunc in fpath"),
            ("otfuse completions fish > ~/.config/fish/completions/otfuse.fish", "for fish"),
        ],
    },
    Short {
        command: "man",
        shown: &[],
        examples: [
            ("otfuse man > otfuse.1", "the page of all commands"),
            ("otfuse man fuse | man -l -", "that of one command, read at once"),
            ("otfuse man fuse > otfuse-fuse.1", "to be installed"),
        ],
    },
];

/// Headings of the options in the long help, in its order.
const HEADINGS: &[(&str, &[&str])] = &[
    (
        "Input and output",
        &[
            "output",
            "arch",
            "save_alignment",
            "save_samples",
            "report",
            "figures",
            "card",
            "csv",
            "svg",
            "dot",
            "inputs",
            "to",
            "state",
            "restart",
            "dry_run",
            "json",
            "device",
        ],
    ),
    (
        "Data",
        &[
            "data",
            "normalize",
            "image_size",
            "partition",
            "part",
            "partition_seed",
            "pixel_order",
            "samples",
            "samples_from",
            "check",
            "split",
            "limit",
            "layer_samples",
            "train",
        ],
    ),
    (
        "Matching of neurons",
        &[
            "method",
            "symmetry",
            "mode",
            "preset",
            "cost",
            "normalize_features",
            "solver",
            "epsilon",
            "marginals",
            "anchor",
            "depth",
            "pairs",
            "free_inputs",
            "align_outputs",
            "activation_point",
            "activation_features",
            "importance_cost",
            "residual",
            "aligned_only",
            "allow_nonfinite",
            "no_verify",
            "seed",
        ],
    ),
    (
        "Merging and repair",
        &[
            "effort",
            "merge",
            "t",
            "weights",
            "scale",
            "follow",
            "rank",
            "energy",
            "linear_only",
            "repair",
            "ridge",
            "importance",
            "class_shares",
            "width_budget",
            "target_width",
            "as_fuse",
        ],
    ),
    ("Measuring", &["sweep", "steps", "plane", "ensemble"]),
    (
        "Training",
        &[
            "student",
            "start",
            "temperature",
            "teacher_weight",
            "epochs",
            "batch_size",
            "optimizer",
            "lr",
            "momentum",
            "nesterov",
            "weight_decay",
            "schedule",
            "label_smoothing",
            "crop",
            "flip",
            "validation",
            "watch_test",
            "freeze_statistics",
        ],
    ),
];

/// The command line with its help arranged.
pub fn arranged(command: Command) -> Command {
    let command = command
        .mut_arg("device", |device| device.hide_short_help(true).help_heading("Input and output"))
        .mut_arg("json", |json| json.help_heading("Input and output"));
    let command =
        command.after_help(examples(&MAIN, "otfuse COMMAND -h", "shows the options of a command that matter most"));
    SHORT.iter().fold(command, |command, short| command.mut_subcommand(short.command, |command| help(command, short)))
}

fn help(command: Command, short: &Short) -> Command {
    let (name, version) = (format!("otfuse {} --help", short.command), env!("CARGO_PKG_VERSION"));
    let few = examples(&short.examples, &name, "shows all options");
    let all = examples(&short.examples, &format!("otfuse {version}"), "");
    let all = all.rsplit_once("\n\n").map_or(all.clone(), |(examples, _)| examples.to_owned());
    command.mut_args(|argument| arrange(argument, short)).after_help(few).after_long_help(all)
}

fn arrange(argument: Arg, short: &Short) -> Arg {
    let id = argument.get_id().as_str().to_owned();
    if argument.is_positional() || id == "help" {
        return argument;
    }
    let is_shown = short.shown.contains(&id.as_str());
    let argument = argument.hide_short_help(!is_shown);
    let trains = ["train", "finetune", "distill"].contains(&short.command);
    let heading = HEADINGS.iter().find(|(_, ids)| ids.contains(&id.as_str())).map(|(heading, _)| *heading);
    match heading {
        Some(_) if trains && id == "seed" => argument.help_heading("Training"),
        Some("Training") if !trains => argument,
        Some(heading) => argument.help_heading(heading),
        None => argument,
    }
}

/// Lines to be typed with what they do, and where more is.
fn examples(lines: &[(&str, &str)], more: &str, shows: &str) -> String {
    let mut text = String::from("Examples:\n");
    for (line, does) in lines {
        text += &format!("  {line}\n      {does}\n");
    }
    text + &format!("\n`{more}` {shows}.")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Lines of a screen.
    const SCREEN: usize = 48;

    #[test]
    fn short_help_fits_a_screen_and_has_three_examples() {
        let mut all = arranged(crate::Arguments::command().term_width(100));
        all.build();
        let commands: Vec<String> = all.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        assert!(all.render_help().to_string().lines().count() <= SCREEN);
        for name in commands.iter().filter(|name| *name != "help") {
            assert!(SHORT.iter().any(|short| short.command == name), "{name} has no short help");
            let command = all.find_subcommand_mut(name).expect("there");
            let text = command.render_help().to_string();
            let lines = text.lines().count();
            assert!(lines <= SCREEN, "{name} -h has {lines} lines:\n{text}");
            assert!(text.matches("\n  otfuse ").count() >= 3, "{text}");
        }
    }

    #[test]
    fn examples_can_be_typed() {
        let all = arranged(crate::Arguments::command());
        let lines = SHORT.iter().flat_map(|short| &short.examples).chain(&MAIN);
        for (line, _) in lines {
            let typed = line.split(['>', '|']).next().unwrap_or_default();
            let found = all.clone().try_get_matches_from(typed.split_whitespace());
            assert!(found.is_ok(), "{line}: {}", found.err().map_or_else(String::new, |error| error.to_string()));
        }
    }

    #[test]
    fn every_name_of_the_tables_is_an_option() {
        let all = arranged(crate::Arguments::command());
        for short in SHORT {
            let command = all.find_subcommand(short.command).expect(short.command);
            for id in short.shown.iter().filter(|id| **id != "json") {
                assert!(command.get_arguments().any(|argument| argument.get_id() == id), "{} {id}", short.command);
            }
        }
        let known = |id: &str| {
            let of = |command: &Command| command.get_arguments().any(|argument| argument.get_id() == id);
            of(&all) || all.get_subcommands().any(of)
        };
        for id in HEADINGS.iter().flat_map(|(_, ids)| *ids) {
            assert!(known(id), "{id}");
        }
    }
}
