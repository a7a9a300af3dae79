use serde_json::json;

use super::*;

fn of(command: &str, options: &Value) -> Result<Vec<String>, String> {
    words(command, options.as_object().unwrap())
        .map_err(|failure| format!("{} / {}", failure.message, failure.hint.unwrap_or_default()))
}

#[test]
fn options_are_those_of_the_command() {
    let found = of("train", &json!({"lr": 0.1, "flip": true, "nesterov": false, "limit": null}));
    assert_eq!(found.unwrap(), ["--flip", "--lr=0.1"]);
    assert_eq!(of("fuse", &json!({"weights": [0.25, 0.75]})).unwrap(), ["--weights=0.25,0.75"]);
    let unknown = of("fuse", &json!({"presett": "paper"})).unwrap_err();
    assert!(unknown.contains("'presett'") && unknown.contains("did you mean 'preset'?"), "{unknown}");
    for (command, wrong) in [
        ("train", json!({"flip": 1})),
        ("train", json!({"lr": {"a": 1}})),
        ("train", json!({"output": "x"})),
        ("fuse", json!({"data": "digits"})),
    ] {
        assert!(of(command, &wrong).is_err(), "{wrong}");
    }
}

#[test]
fn values_are_checked_as_on_the_command_line() {
    let line = |option: &str| ["fuse", "a", "b", "-o", "c", option].map(str::to_owned);
    assert!(matches!(parsed(&line("--preset=paper")), Ok(Command::Fuse(_))));
    let failure = parsed(&line("--preset=papr")).unwrap_err();
    assert!(failure.message.contains("papr"), "{failure:?}");
}
