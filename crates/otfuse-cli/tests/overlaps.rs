//! No output is an input or another output, however its path is spelt: refused before work starts, nothing touched.

mod workbench;

use std::fs;
use std::path::Path;

use workbench::Workbench;

/// A command, `{0}`, `{1}` .. standing for its outputs.
struct Case {
    line: &'static str,
    outputs: &'static [&'static str],
    inputs: &'static [&'static str],
}

/// What a file of settings stands for is an input as well as itself.
const CASES: &[Case] = &[
    Case {
        line: "fuse a.onnx ext.onnx --data npz:data.npz -o {0} --save-alignment {1} --report {2} --figures {3} --card",
        outputs: &["out.onnx", "plan.json", "page.html", "figures"],
        inputs: &["a.onnx", "ext.onnx", "ext.onnx.data", "data.npz"],
    },
    Case {
        line: "fuse settings.yml -o {0} --save-alignment {1} --report {2}",
        outputs: &["out.onnx", "plan.json", "page.html"],
        inputs: &["settings.yml", "a.onnx", "b.onnx"],
    },
    Case {
        line: "fuse a.pt b.onnx --arch a.onnx -o {0} --report {1}",
        outputs: &["out.onnx", "page.html"],
        inputs: &["a.pt", "a.onnx"],
    },
    Case {
        line: "fuse h1 h2 -o {0} --save-alignment {1} --report {2}",
        outputs: &["out", "plan.json", "page.html"],
        inputs: &["h1", "h2/model.safetensors", "h1/config.json"],
    },
    Case {
        line: "fuse a.onnx b.onnx --sweep 3 --data npz:data.npz --csv {0}",
        outputs: &["points.csv"],
        inputs: &["a.onnx", "data.npz"],
    },
    Case {
        line: "align a.onnx ext.onnx -o {0} --save-alignment {1}",
        outputs: &["out.onnx", "plan.json"],
        inputs: &["a.onnx", "ext.onnx", "ext.onnx.data"],
    },
    Case {
        line: "apply known.json a.onnx --to b.onnx -o {0}",
        outputs: &["out.onnx"],
        inputs: &["known.json", "a.onnx", "b.onnx"],
    },
    Case {
        line: "compare a.onnx b.onnx --data npz:data.npz --report {0} --csv {1} --figures {2}",
        outputs: &["page.html", "groups.csv", "figures"],
        inputs: &["a.onnx", "data.npz"],
    },
    Case {
        line: "interpolate a.onnx b.onnx --steps 3 --data npz:data.npz --report {0} --csv {1}",
        outputs: &["page.html", "points.csv"],
        inputs: &["b.onnx", "data.npz"],
    },
    Case { line: "prune a.pt --arch mlp -o {0}", outputs: &["out.pt"], inputs: &["a.pt"] },
    Case {
        line: "eval a.onnx ext.onnx --data npz:data.npz --report {0} --figures {1}",
        outputs: &["page.html", "figures"],
        inputs: &["ext.onnx.data", "data.npz"],
    },
    Case { line: "inspect a.onnx --svg {0} --dot {1}", outputs: &["drawing.svg", "drawing.dot"], inputs: &["a.onnx"] },
    Case { line: "run a.onnx --inputs x.npz -o {0}", outputs: &["y.npz"], inputs: &["a.onnx", "x.npz"] },
    Case { line: "convert ext.onnx {0}", outputs: &["out.pt"], inputs: &["ext.onnx", "ext.onnx.data"] },
    Case {
        line: "train mlp:8 --data npz:data.npz --epochs 1 -o {0} --state {1}",
        outputs: &["out.pt", "out.state"],
        inputs: &["data.npz"],
    },
    Case {
        line: "finetune a.pt --arch a.onnx --data npz:data.npz --epochs 1 -o {0} --state {1}",
        outputs: &["out.pt", "out.state"],
        inputs: &["a.pt", "a.onnx", "data.npz"],
    },
    Case {
        line: "distill a.onnx b.onnx --start c.onnx --data npz:data.npz --epochs 1 -o {0} --state {1}",
        outputs: &["out.onnx", "out.state"],
        inputs: &["a.onnx", "b.onnx", "c.onnx", "data.npz"],
    },
    Case {
        line: "distill a.onnx --student mlp:8 --data npz:data.npz --epochs 1 -o {0} --state {1}",
        outputs: &["out.onnx", "out.state"],
        inputs: &["a.onnx", "data.npz"],
    },
    Case {
        line: "experiment experiment.yml -o folder --report {0}",
        outputs: &["page.html"],
        inputs: &["experiment.yml", "a.onnx", "data.npz"],
    },
    Case { line: "demo --report {0} --figures {1}", outputs: &["page.html", "figures"], inputs: &[] },
];

/// Outputs that follow from others: a card, a state, external data, what an experiment writes.
const DERIVED: &[&str] = &[
    "fuse a.onnx b.onnx -o out.onnx --card --report out.onnx.README.md",
    "fuse a.onnx ext.onnx -o out.onnx --report out.onnx.data",
    "fuse a.onnx b.onnx -o plan.onnx --save-alignment sub/../plan.onnx",
    "train mlp:8 --data npz:data.npz -o out.state.pt --state sub/../out.state.pt",
    "finetune a.onnx --data npz:a.onnx.state -o a.onnx.state.onnx --state a.onnx.state",
    "experiment experiment.yml -o folder --report folder/results.csv",
];

fn workbench() -> Workbench {
    let bench = Workbench::new().with_folders();
    bench.put("settings.yml", "models: [{model: a.onnx}, {model: b.onnx}]\nalignment: {sweeps: 0}\n");
    bench.put(
        "experiment.yml",
        "title: three\ndata: {source: 'npz:data.npz'}\nnetworks:\n- {name: a, file: a.onnx}\n- {name: b, file: b.onnx}\n\
         - {name: f, fuse: [a, b]}\n",
    );
    bench.succeed(&["align", "a.onnx", "b.onnx", "-o", "unused.onnx", "--save-alignment", "known.json"]);
    fs::remove_file(bench.path("unused.onnx")).expect("removed");
    fs::copy(bench.path("data.npz"), bench.path("x.npz")).expect("copied");
    fs::copy(bench.path("data.npz"), bench.path("a.onnx.state")).expect("copied");
    bench
}

/// Other ways to name a file, links to it included, which are made where they are missing.
fn spellings(bench: &Workbench, name: &str) -> Vec<String> {
    let flat = name.replace('/', "-");
    let mut found = vec![name.to_owned(), format!("./{name}"), format!("sub/../{name}"), bench.text(name)];
    #[cfg(unix)]
    {
        let link = format!("link-{flat}");
        if !bench.path(&link).is_symlink() {
            std::os::unix::fs::symlink(name, bench.path(&link)).expect("linked");
        }
        found.push(link);
    }
    if bench.path(name).is_file() {
        let link = format!("hard-{flat}");
        if !bench.path(&link).exists() {
            fs::hard_link(bench.path(name), bench.path(&link)).expect("linked");
        }
        found.push(link);
    }
    let other = name.to_uppercase();
    if Path::new(&bench.path("SUB")).is_dir() {
        found.push(other);
    }
    found
}

fn refused(bench: &Workbench, line: &str, faults: &mut Vec<String>) {
    let before = bench.snapshot();
    let output = bench.run(&line.split_whitespace().collect::<Vec<_>>());
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = [
        "is one of the inputs",
        "are the same file",
        "expected a folder, found a file",
        "expected a file, found a directory",
    ];
    if output.status.code() != Some(2) || !said.iter().any(|text| errors.contains(text)) {
        faults.push(format!("otfuse {line}\n    {}: {errors}", output.status));
    }
    if bench.snapshot() != before {
        faults.push(format!("otfuse {line}\n    touched files"));
    }
}

#[test]
fn no_output_is_an_input_or_another_output() {
    let bench = workbench();
    fs::create_dir(bench.path("folder")).expect("a folder");
    let (mut cases, mut faults) = (0, Vec::new());
    let mut try_out = |case: &Case, given: &[(usize, &str)]| {
        let mut line = case.line.to_owned();
        for (at, output) in case.outputs.iter().enumerate() {
            let given = given.iter().find(|(index, _)| *index == at).map_or(*output, |(_, path)| path);
            line = line.replace(&format!("{{{at}}}"), given);
        }
        cases += 1;
        refused(&bench, &line, &mut faults);
    };
    // What lies there already, under all its names.
    bench.put("same.onnx", "older");
    for case in CASES {
        for output in 0..case.outputs.len() {
            for input in case.inputs {
                spellings(&bench, input).iter().for_each(|path| try_out(case, &[(output, path)]));
            }
            for other in 0..output {
                for name in ["same.onnx", "new.onnx"] {
                    for path in spellings(&bench, name) {
                        try_out(case, &[(output, &path), (other, name)]);
                    }
                }
            }
        }
    }
    DERIVED.iter().for_each(|line| refused(&bench, line, &mut faults));
    assert!(faults.is_empty(), "{} faults in {cases} cases:\n{}", faults.len(), faults.join("\n"));
    assert!(cases > 300, "{cases} cases");
}

#[test]
fn words_of_a_file_of_settings_are_no_options() {
    let bench = Workbench::new();
    for (settings, expected) in [
        ("models: [{model: a.onnx}, {model: --save-alignment=plan.json}]", "--save-alignment=plan.json"),
        ("models: [{model: a.onnx}, {model: b.onnx}]\nalignment: {report: page.html}", "takes no option 'report'"),
        ("models: [{model: a.onnx}, {model: b.onnx}]\nalignment: {figures: sub}", "takes no option 'figures'"),
    ] {
        bench.put("settings.yml", settings);
        let before = bench.snapshot();
        let output = bench.run(&["fuse", "settings.yml", "-o", "out.onnx"]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && errors.contains(expected), "{settings}: {errors}");
        assert_eq!(bench.snapshot(), before);
    }
}

#[test]
fn one_output_that_fails_leaves_the_older_ones() {
    let bench = Workbench::new();
    bench.put("out.onnx", "older");
    let before = bench.snapshot();
    let output = bench.run(&["fuse", "a.onnx", "b.onnx", "-o", "out.onnx", "--save-alignment", "none/plan.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(bench.snapshot(), before);
}

#[test]
fn a_page_may_lie_in_the_folder_of_the_result() {
    let bench = Workbench::new().with_folders();
    bench.succeed(&["fuse", "h1", "h2", "-o", "out", "--report", "out/page.html", "--figures", "out/figures"]);
    assert!(bench.path("out/page.html").is_file() && bench.path("out/config.json").is_file());
}
