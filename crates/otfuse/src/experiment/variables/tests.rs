use serde_json::json;

use super::*;

#[test]
fn variables_keep_their_types_where_they_stand_alone() {
    let named = json!({"n": 3, "list": ["a", "b"], "dir": "x"});
    let variables = Variables::new(named.as_object().unwrap());
    let found = substituted(&json!({"a": "${n}", "b": ["${list}", "${dir}/y-${n}"], "c": 1.5}), &variables);
    assert_eq!(found.unwrap(), json!({"a": 3, "b": [["a", "b"], "x/y-3"], "c": 1.5}));
    assert_eq!(shown(&json!([0.5, 1])), "0.5,1");
    for wrong in ["${m}", "${n", "a ${} b"] {
        assert!(substituted(&json!(wrong), &variables).is_err(), "{wrong}");
    }
}

#[test]
fn values_are_set_as_yaml() {
    let named = json!({"n": 3, "dir": "x"});
    let mut variables = Variables::new(named.as_object().unwrap());
    variables.set("n=[1, 2]").unwrap();
    variables.set("dir=cifar10:a b").unwrap();
    assert_eq!(substituted(&json!(["${n}", "${dir}"]), &variables).unwrap(), json!([[1, 2], "cifar10:a b"]));
    assert!(variables.set("m=1").is_err() && variables.set("n").is_err());
}
