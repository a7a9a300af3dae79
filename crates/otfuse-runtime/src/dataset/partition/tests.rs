use super::*;

/// 1,000 samples of 5 classes, class 4 rarer than others.
fn dataset() -> Dataset {
    let labels: Vec<u32> = (0..1000).map(|index| if index % 50 == 0 { 4 } else { index % 4 }).collect();
    Dataset::from_floats("numbers", vec![1], (0..1000).map(|index| index as f32).collect(), labels, 5).unwrap()
}

fn parts(text: &str, seed: u64) -> Vec<Vec<usize>> {
    let partition: Partition = text.parse().unwrap();
    assert_eq!(partition.to_string().parse::<Partition>().unwrap(), partition);
    partition.indices(&dataset(), seed).unwrap()
}

fn count(part: &[usize], class: u32) -> usize {
    let labels = dataset();
    part.iter().filter(|&&index| labels.labels()[index] == class).count()
}

#[test]
fn parts_are_disjoint_and_together_all() {
    for text in [
        "iid:7",
        "labels:0-1/2,3,4",
        "labels:2",
        "specialist:4,0.1",
        "split:0.2",
        "dirichlet:0.3,6",
        "dirichlet:0.001,3",
    ] {
        for seed in 0..3 {
            let mut all = parts(text, seed).concat();
            all.sort_unstable();
            assert_eq!(all, (0..1000).collect::<Vec<_>>(), "{text}");
        }
        assert_eq!(parts(text, 1), parts(text, 1));
    }
    assert_ne!(parts("iid:7", 1), parts("iid:7", 2));
    let all: Vec<usize> = (0..1000).collect();
    assert_eq!(parts("labels:0/2", 0).concat().len(), count(&all, 0) + count(&all, 2), "labels may be left out");
}

#[test]
fn parts_are_what_the_protocols_say() {
    let even = parts("iid:3", 0);
    assert_eq!(even.iter().map(Vec::len).collect::<Vec<_>>(), [334, 333, 333]);
    assert!(even.iter().all(|part| (6..=7).contains(&count(part, 4))));
    let [special, general] = parts("specialist:4,0.1", 0).try_into().unwrap();
    assert_eq!((count(&special, 4), count(&general, 4)), (20, 0));
    assert!(general.len() > 8 * (special.len() - 20));
    let [small, big] = parts("split:0.25", 0).try_into().unwrap();
    assert_eq!((count(&small, 4), count(&big, 4)), (5, 15));
    assert!(parts("labels:2", 0)[0].iter().all(|&index| dataset().labels()[index] < 3));
}

#[test]
fn a_small_parameter_is_more_uneven() {
    let unevenness = |text: &str| -> f64 {
        let spread = |seed| -> f64 {
            let parts = parts(text, seed);
            let shares = parts.iter().map(|part| count(part, 1) as f64 / 250.0);
            shares.map(|share| (share - 0.25).powi(2)).sum()
        };
        (0..50).map(spread).sum::<f64>() / 50.0
    };
    // The variance of K shares together is (1 - 1/K) / (K alpha + 1).
    for (alpha, expected) in [(0.1, 0.75 / 1.4), (1.0, 0.75 / 5.0), (10.0, 0.75 / 41.0)] {
        let found = unevenness(&format!("dirichlet:{alpha},4"));
        assert!((0.6..1.6).contains(&(found / expected)), "alpha {alpha}: {found}, expected {expected}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for text in [
        "",
        "iid",
        "iid:0",
        "iid:x",
        "labels:",
        "labels:0/0",
        "labels:5-3",
        "labels:0,/1",
        "specialist:1",
        "specialist:1,2",
        "split:-1",
        "split:nan",
        "dirichlet:0,3",
        "dirichlet:1",
        "dirichlet:1,0",
        "dirichlet:inf,2",
        "halves",
    ] {
        assert!(text.parse::<Partition>().is_err(), "{text}");
    }
    let data = dataset();
    for text in ["labels:0/7", "specialist:5,0.1", "labels:6"] {
        let error = data.part(&text.parse().unwrap(), 0, 0).unwrap_err().to_string();
        assert!(error.contains("numbers"), "{error}");
    }
    assert!(data.part(&"iid:3".parse().unwrap(), 3, 0).unwrap_err().to_string().contains("from 0 to 2"));
    assert!(data.part(&"split:0".parse().unwrap(), 0, 0).unwrap_err().to_string().contains("no samples"));
    assert_eq!(data.part(&"split:0.5".parse().unwrap(), 0, 0).unwrap().name(), "numbers (split:0.5, part 0)");
}
