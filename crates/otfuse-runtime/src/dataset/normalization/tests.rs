use super::*;

#[test]
fn parses_names_and_numbers() {
    assert_eq!(Normalization::parse("mnist").unwrap(), Normalization::mnist());
    assert_eq!(Normalization::parse("0.5/0.25").unwrap().channels(), 1);
    assert_eq!(Normalization::parse("1,2,3/4,5,6").unwrap().channels(), 3);
    for wrong in ["", "1", "1/0", "1,2/3", "a/b", "nan/1", "1/-1"] {
        assert!(Normalization::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn channels_first_and_last() {
    let normalization = Normalization::parse("1,2,3/1,2,4").unwrap();
    let mut first = [1.0, 2.0, 2.0, 4.0, 3.0, 7.0];
    normalization.apply(&[3, 1, 2], &mut first);
    assert_eq!(first, [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    let mut last = [1.0, 2.0, 3.0, 2.0, 4.0, 7.0];
    normalization.apply(&[1, 2, 3], &mut last);
    assert_eq!(last, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    assert_eq!(normalization.channel_axis(&[4, 4]), None);
}
