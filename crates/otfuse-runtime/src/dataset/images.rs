//! Folders of image files, one folder per class or without classes.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageReader};
use rayon::prelude::*;

use super::read::is_folder;
use super::{DatasetError, Raw, Split, Targets, Values};

/// Endings of files that are read; their content says what they are.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];
/// Folders of a split.
const TRAIN: [&str; 1] = ["train"];
const TEST: [&str; 4] = ["test", "val", "valid", "validation"];
/// Without folders of splits one image in so many of each class is a test sample.
const TEST_EVERY: usize = 5;

/// The images of a split: in `DIR/train/CLASS` and `DIR/test/CLASS` (or `val`), else in `DIR/CLASS`, where every fifth image
/// (4, 9, 14, .. counted from 0, by name) of each class is a test sample. Classes are numbered by the order of their
/// names. Samples are channels x height x width; they take turns in their classes, so that the first N are of all. Images
/// that lie in these folders themselves, without folders of classes, are samples of which nothing is known.
///
/// The first training image (without any, the first of the others) says whether images are grey or coloured, and what their
/// size is, unless `size` is given: then
/// the middle square of each image is scaled to it (bilinear, with antialiasing where it shrinks). Transparency is dropped.
pub(super) fn load(folder: &Path, split: Split, limit: Option<usize>, size: Option<u32>) -> Result<Raw, DatasetError> {
    if let Some(loose) = Loose::find(folder, split)? {
        return loose.load(limit, size);
    }
    let classes = Classes::find(folder, split)?;
    let first = classes.train.iter().chain(&classes.test).find_map(|files| files.first());
    let first = first.ok_or_else(|| none(folder, "a folder for each class", "no images"))?;
    let model = Like::of(decoded(first)?, first, size);
    let files = if split == Split::Train { &classes.train } else { &classes.test };
    let longest = files.iter().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|turn| {
        files.iter().enumerate().filter_map(move |(class, files)| Some((class as u32, files.get(turn)?)))
    });
    let chosen: Vec<(u32, &PathBuf)> = turns.take(limit.unwrap_or(usize::MAX)).collect();
    let labels = chosen.iter().map(|&(class, _)| class).collect();
    let paths: Vec<&PathBuf> = chosen.into_iter().map(|(_, path)| path).collect();
    Ok(Raw::classified(model.shape(), model.all(&paths)?, labels, files.len()))
}

/// Images that lie in no folders of classes, by name.
struct Loose {
    /// Those of the split that were asked for.
    files: Vec<PathBuf>,
    /// What all are to be like.
    first: PathBuf,
}

impl Loose {
    /// Images in `DIR/train` and `DIR/test`, else in `DIR` itself, where no folders of classes are; `None` if there are. Files
    /// of other kinds beside them are left alone.
    fn find(folder: &Path, split: Split) -> Result<Option<Self>, DatasetError> {
        let own = |folder: &Path| -> Result<Option<Vec<PathBuf>>, DatasetError> {
            let there = entries(folder)?;
            let files: Vec<PathBuf> = there.iter().filter(|path| is_image(path)).cloned().collect();
            Ok((folders(&there)?.is_empty() && !files.is_empty()).then_some(files))
        };
        if let Some(files) = own(folder)? {
            let first = files[0].clone();
            let is_test = |index: usize| index % TEST_EVERY == TEST_EVERY - 1;
            let chosen = files.into_iter().enumerate().filter(|(index, _)| is_test(*index) == (split == Split::Test));
            return Ok(Some(Self { files: chosen.map(|(_, path)| path).collect(), first }));
        }
        let names = if split == Split::Train { &TRAIN[..] } else { &TEST[..] };
        let one_of = |names: &[&str]| names.iter().map(|name| folder.join(name)).find(|path| path.is_dir());
        let of = |names: &[&str]| -> Result<Option<Vec<PathBuf>>, DatasetError> {
            Ok(one_of(names).map(|path| own(&path)).transpose()?.flatten())
        };
        match (of(names)?, one_of(names)) {
            (Some(files), _) => {
                let first = of(&TRAIN)?.and_then(|files| files.into_iter().next()).unwrap_or_else(|| files[0].clone());
                Ok(Some(Self { files, first }))
            }
            (None, None) if of(if split == Split::Train { &TEST } else { &TRAIN })?.is_some() => {
                let expected = names.iter().map(|name| format!("a folder {name}")).collect();
                let found = "a folder of the other split".into();
                Err(DatasetError::AbsentSplit { path: folder.to_owned(), split, expected, found })
            }
            _ => Ok(None),
        }
    }

    fn load(&self, limit: Option<usize>, size: Option<u32>) -> Result<Raw, DatasetError> {
        let model = Like::of(decoded(&self.first)?, &self.first, size);
        let paths: Vec<&PathBuf> = self.files.iter().take(limit.unwrap_or(usize::MAX)).collect();
        Ok(Raw::of(model.shape(), model.all(&paths)?, Targets::None))
    }
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    ENDINGS.contains(&ending.as_str())
}

fn none(path: &Path, expected: &str, found: &str) -> DatasetError {
    content(path, "images", expected.into(), found.into(), "images:DIR has a folder for each class, or train and test")
}

fn content(path: &Path, subject: &str, expected: String, found: String, hint: &str) -> DatasetError {
    let hint = Some(hint.to_owned());
    DatasetError::Content { path: path.to_owned(), subject: subject.into(), expected, found, hint }
}

/// The files of each class and split, by name.
struct Classes {
    train: Vec<Vec<PathBuf>>,
    test: Vec<Vec<PathBuf>>,
}

impl Classes {
    /// Of a folder of splits that lacks one, the other split alone.
    fn find(folder: &Path, split: Split) -> Result<Self, DatasetError> {
        let there = entries(folder)?;
        let folders = folders(&there)?;
        let is_one_of =
            |path: &Path, names: &[&str]| names.iter().any(|name| path.file_name() == Some(OsStr::new(name)));
        let one_of = |names: &[&str]| folders.iter().copied().find(|path| is_one_of(path, names));
        let absent = |other: &Path, expected: &[&str]| {
            // Something of that name which is no folder that can be entered is no absence.
            if let Some(other) = there.iter().find(|path| is_one_of(path, expected)) {
                return none(other, "a folder with a folder for each class", "something else");
            }
            let expected = expected.iter().map(|name| format!("a folder {name}")).collect();
            let found = other.file_name().unwrap_or_default().to_string_lossy().into_owned();
            DatasetError::AbsentSplit { path: folder.to_owned(), split, expected, found }
        };
        match (one_of(&TRAIN), one_of(&TEST)) {
            (Some(train), Some(test)) => {
                let ((names, train), (of_test, test)) = (classes(train)?, classes(test)?);
                if names != of_test {
                    let hint = "train and test need the same folders of classes";
                    let found = format!("{} in {}", list(&of_test), list_of(test.first()));
                    return Err(content(folder, "classes", format!("{} as in train", list(&names)), found, hint));
                }
                Ok(Self { train, test })
            }
            (Some(there), None) => {
                let train = classes(there)?.1;
                if split == Split::Test { Err(absent(there, &TEST)) } else { Ok(Self { train, test: Vec::new() }) }
            }
            (None, Some(there)) => {
                let test = classes(there)?.1;
                if split == Split::Train { Err(absent(there, &TRAIN)) } else { Ok(Self { train: Vec::new(), test }) }
            }
            (None, None) => {
                let (mut train, mut test) = (Vec::new(), Vec::new());
                for files in classes(folder)?.1 {
                    let (of_test, of_train): (Vec<_>, Vec<_>) =
                        files.into_iter().enumerate().partition(|(index, _)| index % TEST_EVERY == TEST_EVERY - 1);
                    let paths = |files: Vec<(usize, PathBuf)>| files.into_iter().map(|(_, path)| path).collect();
                    train.push(paths(of_train));
                    test.push(paths(of_test));
                }
                Ok(Self { train, test })
            }
        }
    }
}

fn list(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
    format!("{} ({}{})", names.len(), shown.join(", "), if names.len() > 5 { ", .." } else { "" })
}

/// The folder of a class's split.
fn list_of(files: Option<&Vec<PathBuf>>) -> String {
    let folder = files.and_then(|files| files.first()?.parent()?.parent());
    folder.map_or_else(|| "test".into(), |folder| folder.display().to_string())
}

/// What is in a folder but hidden files, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let failure = |source| DatasetError::Read { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failure)? {
        let path = entry.map_err(failure)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // What desktops leave behind.
        if !name.starts_with('.') && !["Thumbs.db", "desktop.ini"].contains(&name.as_str()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Those of some paths that are folders.
fn folders(paths: &[PathBuf]) -> Result<Vec<&Path>, DatasetError> {
    let mut found = Vec::new();
    for path in paths {
        if is_folder(path)? {
            found.push(path.as_path());
        }
    }
    Ok(found)
}

/// The names of the classes and the images of each. Files beside the folders of classes are left alone.
fn classes(folder: &Path) -> Result<(Vec<String>, Vec<Vec<PathBuf>>), DatasetError> {
    let (mut names, mut files) = (Vec::new(), Vec::new());
    for class in folders(&entries(folder)?)? {
        let images = entries(class)?;
        if images.is_empty() {
            let hint = "remove the folder, or put the images of the class into it";
            return Err(content(class, "class", "at least one image".into(), "none".into(), hint));
        }
        for path in &images {
            let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
            let is_folder = is_folder(path)?;
            if is_folder || !ENDINGS.contains(&ending.as_str()) {
                let found = if is_folder { "a folder".into() } else { format!("a file with the ending '{ending}'") };
                let hint = "convert it, or move it out of the folder of the class";
                return Err(content(path, "image", "a png, jpeg or webp file".into(), found, hint));
            }
        }
        names.push(class.file_name().unwrap_or_default().to_string_lossy().into_owned());
        files.push(images);
    }
    if names.is_empty() {
        return Err(none(folder, "a folder for each class", "no folders"));
    }
    Ok((names, files))
}

/// Reads an image, the right way up.
fn decoded(path: &Path) -> Result<DynamicImage, DatasetError> {
    let failure = |source| DatasetError::Read { path: path.to_owned(), source };
    let broken = |error: image::ImageError| {
        let hint = "the file is damaged or of another kind: copy, download or convert it again";
        content(path, "image", "a png, jpeg or webp image".into(), error.to_string(), hint)
    };
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(failure)?;
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let orientation = decoder.orientation().map_err(broken)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// What all images are to be like.
struct Like<'a> {
    first: &'a Path,
    width: u32,
    height: u32,
    grey: bool,
    size: Option<u32>,
}

impl<'a> Like<'a> {
    fn of(image: DynamicImage, first: &'a Path, size: Option<u32>) -> Self {
        let (width, height) = size.map_or((image.width(), image.height()), |size| (size, size));
        Self { first, width, height, grey: !image.color().has_color(), size }
    }

    fn channels(&self) -> usize {
        if self.grey { 1 } else { 3 }
    }

    /// The shape of a sample.
    fn shape(&self) -> Vec<usize> {
        vec![self.channels(), self.height as usize, self.width as usize]
    }

    /// The bytes of some images, one after the other.
    fn all(&self, paths: &[&PathBuf]) -> Result<Values, DatasetError> {
        let pixels: Vec<Result<Vec<u8>, DatasetError>> =
            paths.par_iter().map(|path| self.pixels(decoded(path)?, path)).collect();
        // Of several bad images the first is named, whichever thread was faster.
        let pixels = pixels.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(Values::Bytes { values: pixels.concat(), scale: 1.0 / 255.0 })
    }

    /// The bytes of an image, channel by channel.
    fn pixels(&self, image: DynamicImage, path: &Path) -> Result<Vec<u8>, DatasetError> {
        let image = match self.size {
            Some(size) => scaled(image, size),
            None => image,
        };
        if (image.width(), image.height()) != (self.width, self.height) {
            let expected = format!("{} x {} pixels as {} has", self.width, self.height, self.first.display());
            let found = format!("{} x {}", image.width(), image.height());
            return Err(content(path, "size", expected, found, "--image-size N scales all images to N x N"));
        }
        if self.grey {
            if image.color().has_color() {
                let expected = format!("grey as {} is", self.first.display());
                let hint = "make all images grey, or the first one coloured";
                return Err(content(path, "colour", expected, "a coloured image".into(), hint));
            }
            return Ok(image.into_luma8().into_raw());
        }
        let interleaved = image.into_rgb8().into_raw();
        Ok((0..3).flat_map(|channel| interleaved.iter().skip(channel).step_by(3).copied()).collect())
    }
}

/// The middle square of an image, scaled.
fn scaled(image: DynamicImage, size: u32) -> DynamicImage {
    let (width, height) = (image.width(), image.height());
    let side = width.min(height);
    let square = image.crop_imm((width - side) / 2, (height - side) / 2, side, side);
    if side == size { square } else { square.resize_exact(size, size, FilterType::Triangle) }
}

/// Pixels of three bytes, row by row, as PNG.
///
/// # Errors
/// Pixels that do not fill `width x height`.
pub fn encode_png((width, height): (usize, usize), pixels: Vec<u8>) -> Result<Vec<u8>, String> {
    let side = |length: usize| u32::try_from(length).map_err(|error| error.to_string());
    let image = image::RgbImage::from_raw(side(width)?, side(height)?, pixels).ok_or("too few pixels")?;
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).map_err(|error| error.to_string())?;
    Ok(bytes.into_inner())
}
