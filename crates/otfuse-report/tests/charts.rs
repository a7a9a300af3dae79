//! Charts: the same bytes twice, well-formed whatever the names, and nothing but finite numbers in them.

use otfuse_report::{BarChart, BarGroup, Chart, ContourMap, HeatMap, LineChart, Mark, Point, Series};

const HOSTILE: &str = "<script>alert(\"1\")</script> & 'x' \u{0}\u{1b}[31m\n]]> ${a} 名前 \u{202e}";

fn line(name: &str) -> LineChart {
    let series = |name: String, lift: f64| Series {
        name,
        points: (0..=10).map(|step| Point::new(f64::from(step) / 10.0, lift + f64::from(step * (10 - step)))).collect(),
    };
    let mut second = series(name.into(), 4.0);
    second.points[3] = second.points[3].with_error(2.0);
    second.points[5].y = f64::NAN;
    LineChart {
        title: name.into(),
        x_label: "weight".into(),
        y_label: "loss".into(),
        series: vec![series("plain".into(), 0.0), second],
    }
}

fn bars(name: &str) -> BarChart {
    let mut groups: Vec<BarGroup> =
        (0..4).map(|index| BarGroup::new(format!("{name} {index}"), [1.0, f64::from(index)])).collect();
    groups[0].bars[1] = Some((2.0, Some(0.5)));
    groups[2].bars[0] = None;
    groups[3].bars[0] = Some((f64::INFINITY, None));
    BarChart {
        title: name.into(),
        x_label: name.into(),
        y_label: "share".into(),
        series: vec!["a".into(), name.into()],
        groups,
    }
}

fn heat(name: &str) -> HeatMap {
    HeatMap {
        title: name.into(),
        x_label: "layers of b".into(),
        y_label: "layers of a".into(),
        value_label: "CKA".into(),
        columns: (0..12).map(|index| format!("features.{index}.weight")).collect(),
        rows: (0..9).map(|index| format!("{name}{index}")).collect(),
        values: (0..108).map(|index| (index % 7 != 0).then_some(f64::from(index) / 108.0)).collect(),
        range: Some((0.0, 1.0)),
    }
}

fn contour(name: &str) -> ContourMap {
    let x: Vec<f64> = (0..9).map(f64::from).collect();
    ContourMap {
        title: name.into(),
        x_label: "first direction".into(),
        y_label: "second direction".into(),
        value_label: "loss".into(),
        values: x.iter().flat_map(|y| x.iter().map(move |x| (x - 4.0).powi(2) + (y - 3.0).powi(2))).collect(),
        y: x.clone(),
        x,
        marks: vec![Mark { name: name.into(), x: 4.0, y: 3.0 }],
        ceiling: Some(20.0),
    }
}

fn all(name: &str) -> Vec<Box<dyn Chart>> {
    vec![Box::new(line(name)), Box::new(bars(name)), Box::new(heat(name)), Box::new(contour(name))]
}

/// Elements are balanced, and text and attributes hold no character that XML reserves or forbids.
fn assert_well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        assert!(!rest[..start].contains('>'), "a bare > in: {}", &rest[..start]);
        let end = start + rest[start..].find('>').expect("an element ends");
        let element = &rest[start + 1..end];
        assert_eq!(element.matches('"').count() % 2, 0, "quotes in <{element}>");
        if let Some(name) = element.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
        } else if !element.ends_with('/') {
            open.push(element.split([' ', '\n']).next().expect("a name"));
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "numbers that are not finite");
    assert!(svg.chars().all(|c| c == '\n' || !c.is_control()));
}

#[test]
fn charts_are_the_same_bytes_and_well_formed() {
    for name in ["model", HOSTILE, ""] {
        for (first, second) in all(name).iter().zip(all(name)) {
            let svg = first.to_svg().expect("drawn");
            assert_eq!(svg, second.to_svg().expect("drawn"));
            assert_well_formed(&svg);
            assert!(!svg.contains("<script"));
            if let Ok(folder) = std::env::var("OTFUSE_KEEP_CHARTS") {
                let kind = svg.len();
                std::fs::write(format!("{folder}/{}-{kind}.svg", name.len()), &svg).expect("written");
            }
        }
    }
}

#[test]
fn charts_without_values_are_drawn() {
    let empty: [Box<dyn Chart>; 3] =
        [Box::new(LineChart::default()), Box::new(BarChart::default()), Box::new(HeatMap::default())];
    for chart in empty {
        assert_well_formed(&chart.to_svg().expect("drawn"));
    }
    let mut chart = line("x");
    for series in &mut chart.series {
        series.points.iter_mut().for_each(|point| point.y = f64::NAN);
    }
    assert_well_formed(&chart.to_svg().expect("drawn"));
    let flat = ContourMap { values: vec![1.0; 81], ceiling: None, ..contour("flat") };
    assert_well_formed(&flat.to_svg().expect("drawn"));
    let lost = ContourMap { values: vec![f64::NAN; 81], ceiling: None, ..contour("lost") };
    assert!(lost.to_svg().is_ok());
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let wrong = HeatMap { values: vec![None], ..heat("x") };
    let message = wrong.to_svg().expect_err("refused").to_string();
    assert_eq!(message, "'x': expected 108 values, found 1");
    assert!(ContourMap { x: vec![1.0], ..contour("x") }.to_svg().is_err());
}

#[test]
fn tables_hold_what_is_drawn() {
    let table = line("a \"b\", c").table();
    assert_eq!(table.rows.len(), 22);
    assert_eq!(table.rows[14], ["a \"b\", c", "0.3", "25", "2"]);
    assert!(table.to_csv().contains("\n\"a \"\"b\"\", c\",0.3,25,2\n"));
    assert_eq!(bars("x").table().rows.len(), 7);
    assert_eq!((heat("x").table().rows.len(), heat("x").table().header.len()), (9, 13));
}

#[cfg(feature = "png")]
#[test]
fn drawings_become_images() {
    use otfuse_report::to_png;

    let chart = line("Perte, вес, λ");
    let svg = chart.to_svg().expect("drawn");
    let image = to_png(&svg, 2.0).expect("an image");
    assert_eq!(image, to_png(&svg, 2.0).expect("an image"));
    let size = |at: usize| u32::from_be_bytes(image[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(size(16), 1440);
    // Letters are drawn, whatever fonts the machine has: without the title there is less to write down.
    let bare = to_png(&line("").to_svg().expect("drawn"), 2.0).expect("an image");
    assert!(image.len() > bare.len() + 500, "{} and {} bytes", image.len(), bare.len());
    for wrong in ["", "<html/>", "<svg", "<svg xmlns='http://www.w3.org/2000/svg'/>x"] {
        assert!(to_png(wrong, 1.0).is_err(), "{wrong}");
    }
    assert!(to_png(&svg, 0.0).is_err() && to_png(&svg, 1e9).is_err() && to_png(&svg, f32::NAN).is_err());
}
