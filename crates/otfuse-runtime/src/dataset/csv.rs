//! Tables of numbers with a column of labels.

use std::path::{Path, PathBuf};

use super::read::{files_of, is_folder, open_first, read_up_to, without};
use super::{DatasetError, Raw, Split, Targets, Values};

/// Names of the column of labels.
const LABELS: [&str; 5] = ["label", "labels", "class", "target", "y"];
/// The most bytes of a table.
const MOST_BYTES: usize = 1 << 34;

/// A table of one row per sample: in a folder `train.csv` and `test.csv` (or with `.gz` behind), else the file, which
/// then is both splits. A header has no numbers, or names the labels; it names the column of labels (`label`, `class`, `target` or
/// `y`), which without one is the last. Fields are separated by commas, semicolons or tabs. Labels are integers from 0
/// on, or in a column of such a name any numbers, to be met; all other columns are numbers that stay as they are.
pub(super) fn load(path: &Path, split: Split) -> Result<Raw, DatasetError> {
    let of_split = |split: Split| vec![format!("{split}.csv"), format!("{split}.csv.gz")];
    let is_folder = is_folder(path)?;
    let (folder, names) = match (is_folder, path.file_name()) {
        (false, Some(file)) => (path.parent().unwrap_or(Path::new("")), vec![file.to_string_lossy().into_owned()]),
        _ => (path, of_split(split)),
    };
    if is_folder && files_of(folder, &names)?.is_empty() {
        return Err(without(folder, split, names, &of_split(split.other())));
    }
    let (path, mut reader) = open_first(folder, &names)?;
    let bytes = read_up_to(&mut reader, MOST_BYTES, &path)?;
    let text =
        String::from_utf8(bytes).map_err(|_| Table::wrong(&path, "text", "UTF-8".into(), "other bytes".into()))?;
    Table { path, text }.read()
}

struct Table {
    path: PathBuf,
    text: String,
}

impl Table {
    fn wrong(path: &Path, subject: &str, expected: String, found: String) -> DatasetError {
        let hint = Some("one row per sample: numbers, and an integer label from 0 on in the last column".into());
        DatasetError::Content { path: path.into(), subject: subject.into(), expected, found, hint }
    }

    /// The error of a label that is a word, with the way to number it.
    fn named_classes(mut error: DatasetError, column: &str) -> DatasetError {
        if let DatasetError::Content { hint, .. } = &mut error {
            *hint = Some(format!(
                "give each class the number of the network's output for it: with pandas, in the order of the outputs, \
                 frame['{column}'] = frame['{column}'].map({{'first': 0, 'second': 1}}); without labels, leave the column out"
            ));
        }
        error
    }

    fn read(&self) -> Result<Raw, DatasetError> {
        let text = self.text.trim_start_matches('\u{feff}');
        let mut rows = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).peekable();
        let Some(&(_, first)) = rows.peek() else {
            return Err(Self::wrong(&self.path, "rows", "at least one".into(), "none".into()));
        };
        let separator = [',', ';', '\t'].into_iter().find(|&separator| first.contains(separator)).unwrap_or(',');
        let fields = |line: &str| -> Vec<String> {
            line.split(separator).map(|field| field.trim().trim_matches('"').to_owned()).collect()
        };
        let header = fields(first);
        let (mut label_column, mut is_named) = (header.len() - 1, false);
        // A header says something with all of its words, or names the labels: one damaged number makes no header of a row.
        let is_word = |field: &String| field.parse::<f32>().is_err();
        let is_label = |field: &String| LABELS.contains(&field.to_ascii_lowercase().as_str());
        if header.iter().all(is_word) || header.iter().any(is_label) {
            rows.next();
            let named = header.iter().position(|field| LABELS.contains(&field.to_ascii_lowercase().as_str()));
            (label_column, is_named) = (named.unwrap_or(label_column), named.is_some());
        }
        let (mut values, mut labels, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for (row, line) in rows {
            let subject = format!("line {}", row + 1);
            let found = fields(line);
            if found.len() != header.len() {
                let expected = format!("{} fields as in the first row", header.len());
                return Err(Self::wrong(&self.path, &subject, expected, found.len().to_string()));
            }
            for (column, field) in found.iter().enumerate() {
                let number: Option<f64> = field.parse().ok().filter(|number: &f64| number.is_finite());
                let wrong = |expected: &str| {
                    Self::wrong(
                        &self.path,
                        &format!("{subject}, column {}", column + 1),
                        expected.into(),
                        format!("'{field}'"),
                    )
                };
                let number = number.ok_or_else(|| match column == label_column {
                    true => Self::named_classes(
                        wrong("a label, an integer from 0 on"),
                        if is_named { &header[column] } else { "label" },
                    ),
                    false => wrong("a number"),
                })?;
                if column != label_column {
                    values.push(number as f32);
                    continue;
                }
                numbers.push(number as f32);
                if number.fract() == 0.0 && (0.0..=f64::from(u32::MAX - 1)).contains(&number) {
                    labels.push(number as u32);
                } else if !is_named {
                    return Err(wrong("a label, an integer from 0 on"));
                }
            }
        }
        let (shape, values) = (vec![header.len() - 1], Values::Floats(values));
        if labels.len() < numbers.len() {
            return Ok(Raw::of(shape, values, Targets::Numbers { values: numbers, shape: Vec::new() }));
        }
        let classes = labels.iter().max().map_or(0, |&label| label as usize + 1);
        Ok(Raw::classified(shape, values, labels, classes))
    }
}
