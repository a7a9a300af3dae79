//! Text: a file of characters to be continued, and sentences to be judged.

use std::path::{Path, PathBuf};

use super::read::{open_first, read_up_to, without};
use super::{Dataset, DatasetError, Split, Vocabulary};

/// Tokens of a sample unless told otherwise.
const LENGTH: usize = 64;
/// The share of a text, at its end, that is held out: one in so many characters.
const HELD_OUT: usize = 10;
/// The most bytes of a file.
const MOST_BYTES: usize = 1 << 32;

/// A text file for language modelling by characters. The last tenth is the test split; each split is cut into windows of
/// `length` characters, each of which is to predict the one behind it. The vocabulary is that of the training split.
pub(super) fn load_characters(
    name: &str,
    path: &Path,
    split: Split,
    length: Option<usize>,
) -> Result<Dataset, DatasetError> {
    let text = read(path.parent().unwrap_or(Path::new("")), &[file_name(path)])?.1;
    let characters = text.chars().count();
    let border = text.char_indices().nth(characters - characters / HELD_OUT).map_or(text.len(), |(at, _)| at);
    let (training, test) = text.split_at(border);
    let vocabulary = Vocabulary::of_characters(training);
    let ids = vocabulary.ids();
    let part = if split == Split::Train { training } else { test };
    let mut buffer = [0; 4];
    let id = |character: char| ids.get(&*character.encode_utf8(&mut buffer)).copied().unwrap_or(vocabulary.unknown());
    let tokens: Vec<u32> = part.chars().map(id).collect();
    let length = length.unwrap_or(LENGTH);
    let samples = tokens.len().saturating_sub(1) / length;
    if samples == 0 {
        return Err(wrong(
            path,
            "characters",
            format!("more than {length} in each split (the last tenth is the test split)"),
            format!("{} in this one", tokens.len()),
            "choose a shorter length: text@LENGTH:FILE",
        ));
    }
    let (values, labels) = (tokens[..samples * length].to_vec(), tokens[1..=samples * length].to_vec());
    let classes = vocabulary.len();
    drop(ids);
    let left = tokens.len() - 1 - samples * length;
    let remark = (samples > 1).then(|| {
        format!(
            "{name}: {} characters of the {split} split are cut into {samples} windows of {length}; the last {left} are \
             left out",
            tokens.len()
        )
    });
    Ok(Dataset::from_tokens(name, length, values, labels, classes, vocabulary)?.remarked(remark))
}

/// Sentences with a label each, as the files of SST-2 hold them: `train.tsv`, and `test.tsv` or, where that has no labels,
/// `dev.tsv`. Words are what stands between white space; the vocabulary is that of the training split. Longer samples are
/// cut, shorter ones filled up to `length`.
pub(super) fn load_sentences(
    name: &str,
    folder: &Path,
    split: Split,
    length: Option<usize>,
) -> Result<Dataset, DatasetError> {
    let names = |table: &str| [format!("{table}.tsv"), format!("{table}.tsv.gz")];
    let (of_train, of_test) = (names("train").to_vec(), [names("test"), names("dev")].concat());
    let training = Sentences::read(folder, "train.tsv").map_err(|error| match error.into_error() {
        DatasetError::Missing { .. } if split == Split::Train => without(folder, split, of_train.clone(), &of_test),
        error => error,
    })?;
    if training.rows.is_empty() {
        return Err(training.wrong("rows", "at least one sentence", "none"));
    }
    let vocabulary = Vocabulary::of_words(training.rows.iter().map(|(sentence, _)| sentence.as_str()));
    let classes = training.rows.iter().map(|(_, label)| *label as usize + 1).max().unwrap_or(0);
    let chosen = match split {
        Split::Train => training,
        Split::Test => test_sentences(folder, of_test, &of_train)?,
    };
    let ids = vocabulary.ids();
    let length = length.unwrap_or(LENGTH);
    let padding = vocabulary.padding().unwrap_or_default();
    let mut values = Vec::with_capacity(chosen.rows.len() * length);
    let mut cut = 0;
    for (sentence, _) in &chosen.rows {
        let end = values.len() + length;
        let room = length - usize::from(vocabulary.first().is_some());
        cut += usize::from(sentence.split_whitespace().nth(room).is_some());
        let words = sentence.split_whitespace().map(|word| ids.get(word).copied().unwrap_or(vocabulary.unknown()));
        values.extend(vocabulary.first().into_iter().chain(words).take(length));
        values.resize(end, padding);
    }
    let labels = chosen.rows.iter().map(|(_, label)| *label).collect();
    drop(ids);
    let remark = (cut > 0).then(|| {
        let all = chosen.rows.len();
        format!("{name}: {cut} of {all} sentences of the {split} split are longer than {length} tokens and cut there")
    });
    Ok(Dataset::from_tokens(name, length, values, labels, classes, vocabulary)?.remarked(remark))
}

/// The table of the test split: that of the validation samples where the other is missing or has no column of labels.
fn test_sentences(folder: &Path, of_test: Vec<String>, of_train: &[String]) -> Result<Sentences, DatasetError> {
    let unlabelled = match Sentences::read(folder, "test.tsv") {
        Ok(test) => return Ok(test),
        Err(Unread::Failed(DatasetError::Missing { .. })) => None,
        Err(Unread::Failed(error)) => return Err(error),
        Err(Unread::Unlabelled(error)) => Some(error),
    };
    match (Sentences::read(folder, "dev.tsv").map_err(Unread::into_error), unlabelled) {
        (Err(DatasetError::Missing { .. }), Some(error)) => Err(error),
        (Err(DatasetError::Missing { .. }), None) => Err(without(folder, Split::Test, of_test, of_train)),
        (dev, _) => dev,
    }
}

/// Why there is no table of sentences and labels.
enum Unread {
    /// A table of sentences alone.
    Unlabelled(DatasetError),
    /// None at all.
    Failed(DatasetError),
}

impl Unread {
    fn into_error(self) -> DatasetError {
        match self {
            Self::Unlabelled(error) | Self::Failed(error) => error,
        }
    }
}

impl From<DatasetError> for Unread {
    fn from(error: DatasetError) -> Self {
        Self::Failed(error)
    }
}

/// The rows of a table of sentences and labels.
struct Sentences {
    path: PathBuf,
    rows: Vec<(String, u32)>,
}

impl Sentences {
    /// A table with a header that names a column `label` and one `sentence`, `content` or `text`, separated by tabs.
    fn read(folder: &Path, name: &str) -> Result<Self, Unread> {
        let (path, text) = read(folder, &[name.to_owned(), format!("{name}.gz")])?;
        let mut table = Self { path, rows: Vec::new() };
        let mut lines = text.lines().enumerate();
        let header: Vec<&str> = lines.next().map_or("", |(_, line)| line).split('\t').map(str::trim).collect();
        let column = |names: &[&str]| header.iter().position(|field| names.contains(field));
        let (label, sentence) = (column(&["label"]), column(&["sentence", "content", "text"]));
        let (Some(label), Some(sentence)) = (label, sentence) else {
            let expected = "the columns 'label' and 'sentence' (or 'content', 'text'), separated by tabs";
            let error = table.wrong("header", expected, &format!("'{}'", header.join("', '")));
            return Err(if sentence.is_some() { Unread::Unlabelled(error) } else { Unread::Failed(error) });
        };
        for (row, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let fields: Vec<&str> = line.split('\t').collect();
            let subject = format!("line {}", row + 1);
            let (Some(label), Some(sentence)) = (fields.get(label), fields.get(sentence)) else {
                let expected = format!("{} columns", header.len());
                return Err(table.wrong(&subject, &expected, &fields.len().to_string()).into());
            };
            let label: u32 = label.trim().parse().ok().filter(|&label| label < MOST_CLASSES).ok_or_else(|| {
                table.wrong(&subject, &format!("a label from 0 to {}", MOST_CLASSES - 1), &format!("'{label}'"))
            })?;
            table.rows.push(((*sentence).to_owned(), label));
        }
        Ok(table)
    }

    fn wrong(&self, subject: &str, expected: &str, found: &str) -> DatasetError {
        let hint = "one sentence per line with its label, as in the files of SST-2";
        wrong(&self.path, subject, expected.to_owned(), found.to_owned(), hint)
    }
}

/// A class beyond is a mistake.
const MOST_CLASSES: u32 = 10_000;

fn read(folder: &Path, names: &[String]) -> Result<(PathBuf, String), DatasetError> {
    let (path, mut reader) = open_first(folder, names)?;
    let bytes = read_up_to(&mut reader, MOST_BYTES, &path)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let found = format!("other bytes at {}", error.utf8_error().valid_up_to());
        wrong(&path, "text", "UTF-8".into(), found, "save the file as UTF-8")
    })?;
    Ok((path, text))
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn wrong(path: &Path, subject: &str, expected: String, found: String, hint: &str) -> DatasetError {
    DatasetError::Content { path: path.into(), subject: subject.into(), expected, found, hint: Some(hint.into()) }
}
