use super::*;

const SHORT: &str = "
title: t
variables: {data: digits, epochs: 3}
data: {source: '${data}'}
networks: [{name: a, train: 'mlp:8', options: {epochs: '${epochs}'}}]
variants: {small: {about: less, variables: {epochs: 1}}}
";

fn failure(text: &str, changes: &Changes<'_>) -> String {
    let failure = experiment(text, changes).err().unwrap();
    format!("{} / {}", failure.message, failure.hint.unwrap_or_default())
}

#[test]
fn a_variant_and_the_command_line_replace_values() {
    let plain = Changes { variant: None, set: &[], seeds: None };
    let found = experiment(SHORT, &plain).unwrap();
    assert_eq!((found.data.source.as_str(), found.file.seeds), ("digits", vec![0]));
    let set = ["data=csv:x.csv".to_owned()];
    let changed = experiment(SHORT, &Changes { variant: Some("small"), set: &set, seeds: Some(2) }).unwrap();
    assert_eq!((changed.data.source.as_str(), changed.file.seeds), ("csv:x.csv", vec![0, 1]));
    assert_eq!(changed.file.variables["epochs"], 1);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let plain = Changes { variant: None, set: &[], seeds: None };
    let unknown = failure(&SHORT.replace("about:", "abuot:"), &plain);
    assert!(unknown.contains("variants.small") && unknown.contains("did you mean 'about'?"), "{unknown}");
    let wrong = failure(&SHORT.replace("title: t", "title: [t]"), &plain);
    assert!(wrong.contains("title") && wrong.contains("string"), "{wrong}");
    assert!(failure("title: [", &plain).contains("not valid YAML"));
    let twice = failure(&format!("{SHORT}\ntitle: u\n"), &plain);
    assert!(twice.contains("duplicate"), "{twice}");
    let set = ["epoch=1".to_owned()];
    let misnamed = failure(SHORT, &Changes { variant: None, set: &set, seeds: None });
    assert!(misnamed.contains("did you mean 'epochs'?"), "{misnamed}");
    let variant = failure(SHORT, &Changes { variant: Some("tiny"), set: &[], seeds: None });
    assert!(variant.contains("full small"), "{variant}");
}
