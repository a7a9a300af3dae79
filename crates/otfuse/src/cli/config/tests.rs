use super::*;

const FILE: &str = "
merge_method: ot
base_model: a.pt
models: [{model: a.pt, parameters: {weight: 0.25}}, {model: b.pt, parameters: {weight: 0.75}}]
arch: vgg
alignment: {preset: converged, repair: data-free, balance: true}
";

#[test]
fn a_file_stands_for_words() {
    let expected = ["a.pt", "b.pt", "--arch=vgg", "--anchor=0", "--balance", "--preset=converged"];
    let found = of(FILE).unwrap();
    assert_eq!(found[..6], expected);
    assert_eq!(found[6..], ["--repair=data-free", "--weights=0.25,0.75"]);
    assert!(of("merge_method: linear\nmodels: [{model: a}, {model: b}]").unwrap().contains(&"--method=average".into()));
}

#[test]
fn options_that_are_typed_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yml");
    std::fs::write(&path, FILE).unwrap();
    let line = |words: &[&str]| -> Vec<String> {
        let line = words.iter().map(|word| word.replace("FILE", path.to_str().unwrap()).into()).collect();
        expanded(line).unwrap().into_iter().map(|word| word.into_string().unwrap()).collect()
    };
    let found = line(&["otfuse", "--json", "fuse", "--preset", "paper", "FILE", "-o", "c.pt", "--anchor=1"]);
    assert_eq!(found[..7], ["otfuse", "--json", "fuse", "--preset", "paper", "a.pt", "b.pt"]);
    assert!(found.contains(&"--anchor=1".into()) && !found.contains(&"--anchor=0".into()));
    assert!(!found.contains(&"--preset=converged".into()));
    assert_eq!(line(&["otfuse", "experiment", "x.yml"]), ["otfuse", "experiment", "x.yml"]);
}

#[test]
fn what_is_wrong_is_named() {
    for (from, to, expected) in [
        ("merge_method", "merge_methd", "did you mean 'merge_method'?"),
        ("preset", "presett", "did you mean 'preset'?"),
        ("base_model: a.pt", "base_model: c.pt", "none of the models"),
        ("parameters: {weight: 0.25}", "parameters: {}", "some of the models"),
        ("balance: true", "anchor: 1", "place of its own"),
        ("{weight: 0.25}", "{weight: much}", "models[0].parameters.weight"),
    ] {
        let failure = of(&FILE.replacen(from, to, 1)).unwrap_err();
        let text = format!("{} / {}", failure.message, failure.hint.unwrap_or_default());
        assert!(text.contains(expected), "{text}");
    }
}
