//! Data sets of image files.
#![cfg(feature = "images")]

use std::fs;
use std::path::Path;
use std::str::FromStr;

use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage, RgbaImage};
use otfuse_runtime::dataset::{DataSpec, Dataset, DatasetError, Split};

fn load(folder: &Path, split: Split, limit: Option<usize>, size: Option<u32>) -> Result<Dataset, DatasetError> {
    let spec: DataSpec = format!("images:{}", folder.display()).parse()?;
    DataSpec { image_size: size, ..spec }.load(split, limit, None)
}

fn save(folder: &Path, name: &str, image: impl Into<DynamicImage>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.into().save(path).unwrap();
}

fn grey(value: u8) -> GrayImage {
    GrayImage::from_pixel(2, 3, Luma([value]))
}

fn coloured(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([10 * x as u8, 10 * y as u8, 255]))
}

#[test]
fn classes_are_folders_and_every_fifth_image_is_for_testing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for index in 0..7 {
        save(folder, &format!("cat/{index}.png"), grey(index));
    }
    save(folder, "dog/b.PNG", grey(20));
    save(folder, "dog/a.png", grey(10));
    fs::write(folder.join("readme.txt"), "beside the classes").unwrap();
    fs::write(folder.join("cat/.hidden"), "left alone").unwrap();
    fs::write(folder.join("cat/Thumbs.db"), "left alone").unwrap();
    let train = load(folder, Split::Train, None, None).unwrap();
    assert_eq!((train.labels(), train.classes()), (&[0, 1, 0, 1, 0, 0, 0, 0][..], 2), "classes take turns");
    assert_eq!(train.sample_shape(), [1, 3, 2]);
    let first = |dataset: &Dataset| -> Vec<f32> {
        (0..dataset.len()).map(|index| (255.0 * dataset.samples([index])[0]).round()).collect()
    };
    assert_eq!(first(&train), [0.0, 10.0, 1.0, 20.0, 2.0, 3.0, 5.0, 6.0]);
    let test = load(folder, Split::Test, None, None).unwrap();
    assert_eq!((test.labels(), first(&test)), (&[0][..], vec![4.0]));
    assert_eq!(load(folder, Split::Train, Some(3), None).unwrap().labels(), [0, 1, 0]);
}

#[test]
fn folders_of_splits_and_formats() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    save(folder, "train/a/x.png", coloured(4, 2));
    save(folder, "train/b/x.webp", coloured(4, 2));
    save(folder, "train/b/y.jpg", RgbImage::from_pixel(4, 2, Rgb([200, 100, 50])));
    save(folder, "val/a/x.png", GrayImage::from_pixel(4, 2, Luma([51])));
    save(folder, "val/b/x.png", RgbaImage::from_pixel(4, 2, image::Rgba([51, 102, 153, 7])));
    let train = load(folder, Split::Train, None, None).unwrap();
    assert_eq!((train.sample_shape(), train.labels()), (&[3, 2, 4][..], &[0, 1, 1][..]));
    let bytes = |dataset: &Dataset, index| -> Vec<u8> {
        dataset.samples([index]).iter().map(|value| (255.0 * value).round() as u8).collect()
    };
    let plane = [[0, 10, 20, 30, 0, 10, 20, 30], [0, 0, 0, 0, 10, 10, 10, 10], [255; 8]].concat();
    assert_eq!(bytes(&train, 0), plane);
    assert_eq!(bytes(&train, 1), plane);
    for (found, expected) in bytes(&train, 2).iter().zip([[200; 8], [100; 8], [50; 8]].concat()) {
        assert!(found.abs_diff(expected) <= 3, "{found}, {expected}");
    }
    let test = load(folder, Split::Test, None, None).unwrap();
    assert_eq!((bytes(&test, 0), bytes(&test, 1)), (vec![51; 24], [[51; 8], [102; 8], [153; 8]].concat()));
}

#[test]
fn sizes_are_made_equal_where_asked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Left half dark, right half bright; the middle square of the second is that of the first.
    let half =
        |width: u32, height: u32| GrayImage::from_fn(width, height, |x, _| Luma([if x < width / 2 { 0 } else { 255 }]));
    save(folder, "a/0.png", half(8, 8));
    save(folder, "a/1.png", half(16, 8));
    save(folder, "a/2.png", half(2, 2));
    save(folder, "a/3.png", half(1, 60000));
    let dataset = load(folder, Split::Train, None, Some(4)).unwrap();
    assert_eq!((dataset.len(), dataset.sample_shape()), (4, &[1, 4, 4][..]));
    for index in 0..3 {
        let sample = dataset.samples([index]);
        for row in sample.chunks(4) {
            assert!(row[0] < 0.15 && row[1] < 0.35 && row[2] > 0.65 && row[3] > 0.85, "{index}: {row:?}");
        }
    }
    let error = load(folder, Split::Train, None, None).unwrap_err();
    assert!(error.hint().contains("--image-size"));
    let error = error.to_string();
    assert!(error.contains("1.png") && error.contains("expected 8 x 8") && error.contains("found 16 x 8"), "{error}");
    let spec = DataSpec { image_size: Some(4), ..DataSpec::from_str("digits").unwrap() };
    assert!(spec.load(Split::Train, None, None).unwrap_err().to_string().contains("expected a folder of images"));
}

#[test]
fn images_without_folders_of_classes_have_no_labels() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for index in 0..6 {
        save(folder, &format!("all/{index}.png"), grey(10 * index));
        save(folder, &format!("parts/train/{index}.png"), grey(index));
    }
    fs::write(folder.join("all/names.csv"), "beside the images").unwrap();
    let train = load(&folder.join("all"), Split::Train, None, None).unwrap();
    assert_eq!((train.len(), train.is_labelled(), train.labels(), train.classes()), (5, false, &[][..], 0));
    let test = load(&folder.join("all"), Split::Test, None, None).unwrap();
    assert_eq!((test.len(), (255.0 * test.samples([0])[0]).round()), (1, 40.0));
    assert_eq!(load(&folder.join("parts"), Split::Train, Some(4), None).unwrap().len(), 4);
    assert!(load(&folder.join("parts"), Split::Test, None, None).unwrap_err().is_absent_split());
    save(folder, "parts/val/x.png", grey(7));
    assert_eq!(load(&folder.join("parts"), Split::Test, None, None).unwrap().len(), 1);
}

/// A name, what makes the folder, and parts of the error.
type Case<'a> = (&'a str, &'a dyn Fn(&Path), &'a [&'a str]);

#[test]
fn what_is_wrong_is_said() {
    let cases: [Case<'_>; 11] = [
        ("nothing", &|_| {}, &["a folder for each class"]),
        ("other files only", &|folder| write(folder, "x.txt", b"x"), &["a folder for each class", "no folders"]),
        ("an empty class", &|folder| fs::create_dir_all(folder.join("b")).unwrap(), &["b: class", "found none"]),
        (
            "another kind of file",
            &|folder| {
                save(folder, "a/0.png", grey(1));
                fs::write(folder.join("a/1.gif"), "GIF89a").unwrap();
            },
            &["1.gif", "png, jpeg or webp", "gif"],
        ),
        ("no image", &|folder| write(folder, "a/0.png", b"text"), &["0.png", "expected a png, jpeg or webp image"]),
        ("an empty file", &|folder| write(folder, "a/0.jpg", b""), &["0.jpg", "expected"]),
        (
            "half an image",
            &|folder| {
                save(folder, "a/0.png", coloured(9, 9));
                let bytes = fs::read(folder.join("a/0.png")).unwrap();
                fs::write(folder.join("a/0.png"), &bytes[..bytes.len() / 2]).unwrap();
            },
            &["0.png", "expected a png, jpeg or webp image"],
        ),
        ("a folder in a class", &|folder| save(folder, "a/b/0.png", grey(1)), &["a/b", "found a folder"]),
        (
            "no training images",
            &|folder| save(folder, "test/a/0.png", grey(1)),
            &["has no train split", "expected a folder train", "found test"],
        ),
        (
            "other classes",
            &|folder| {
                save(folder, "train/a/0.png", grey(1));
                save(folder, "test/b/0.png", grey(1));
            },
            &["expected 1 (a) as in train", "found 1 (b)"],
        ),
        (
            "colours",
            &|folder| {
                save(folder, "a/0.png", grey(1));
                save(folder, "a/1.png", coloured(2, 3));
            },
            &["1.png", "expected grey", "0.png", "coloured"],
        ),
    ];
    for (name, make, parts) in cases {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path());
        let error = load(folder.path(), Split::Train, None, None).expect_err(name);
        assert!(!error.hint().is_empty());
        for part in parts {
            assert!(error.to_string().contains(part), "{name}: {error}");
        }
    }
    let absent = load(Path::new("absent/folder"), Split::Train, None, None).unwrap_err().to_string();
    assert!(absent.contains("absent/folder"), "{absent}");
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
