//! Ranges of axes and the numbers beside them.

/// Numbers beside an axis, at most.
pub const MOST: usize = 11;

/// The range that shows all finite values, a little wider than them.
pub fn range(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values.into_iter().filter(|value| value.is_finite()) {
        low = low.min(value);
        high = high.max(value);
    }
    if low > high {
        return (0.0, 1.0);
    }
    // The sum of two numbers near the largest one is not finite.
    let (low, high) = (low.max(-1e300), high.min(1e300));
    let span = high - low;
    let margin = match span > 1e-12 * low.abs().max(high.abs()) && span > 1e-300 {
        true => 0.05 * span,
        false => (0.05 * low.abs()).max(1e-3),
    };
    (low - margin, high + margin)
}

/// How many numbers an axis has at most: where all values are whole numbers, so few that those beside it are, too.
pub fn count(values: impl IntoIterator<Item = f64>) -> usize {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        if value.fract() != 0.0 {
            return MOST;
        }
        low = low.min(value);
        high = high.max(value);
    }
    if high > low { (high - low).min(MOST as f64 - 1.0) as usize + 1 } else { MOST }
}

/// Values beside an axis: few digits, but as many as neighbours need to differ.
pub fn ticks((low, high): (f64, f64)) -> impl Fn(&f64) -> String {
    let span = high - low;
    move |&value| {
        // Zero often comes as a rest of rounding.
        let value = if value.abs() < 1e-9 * span { 0.0 } else { value };
        let largest = low.abs().max(high.abs());
        if !(1e-3..1e6).contains(&largest) {
            return format!("{value:.1e}");
        }
        let decimals = (1.0 - span.log10().floor()).clamp(0.0, 9.0) as usize;
        let text = format!("{value:.decimals$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    }
}

/// A value as it is shown on hover: six significant digits.
pub fn shown(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor();
    if !(-5.0..9.0).contains(&magnitude) {
        return format!("{value:.5e}");
    }
    let text = format!("{value:.*}", (5.0 - magnitude).max(0.0) as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_is_finite() {
        let (low, high) = range([1.0, f64::NAN, 3.0, f64::INFINITY]);
        assert!(low < 1.0 && high > 3.0 && high < 4.0);
        assert_eq!(range([]), (0.0, 1.0));
        let (low, high) = range([2.0, 2.0]);
        assert!(low < 2.0 && high > 2.0);
        let (low, high) = range([f64::MIN, f64::MAX]);
        assert!((high - low).is_finite());
    }

    #[test]
    fn whole_numbers_have_no_fractions_between_them() {
        assert_eq!(count([4.0, 6.0]), 3);
        assert_eq!(count([0.0, 60.0]), MOST);
        assert_eq!(count([0.0, 0.5, 1.0]), MOST);
        assert_eq!(count([2.0]), MOST);
        assert_eq!(count([f64::NAN, 1e300, -1e300]), MOST);
    }

    #[test]
    fn numbers_have_the_digits_they_need() {
        assert_eq!(ticks((0.0, 1.0))(&0.30000000000000004), "0.3");
        assert_eq!(ticks((0.0, 100.0))(&40.0), "40");
        assert_eq!(ticks((0.5, 0.52))(&0.505), "0.505");
        assert_eq!(ticks((-1.0, 1.0))(&-1e-17), "0");
        assert_eq!(shown(0.123456789), "0.123457");
        assert_eq!(shown(12345.6789), "12345.7");
        assert_eq!(shown(1e-9), "1.00000e-9");
        assert_eq!(shown(0.0), "0");
    }
}
