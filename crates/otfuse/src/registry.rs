//! All that a piece of work reads and writes, known before it starts.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use otfuse_formats::Outputs;
use otfuse_formats::file::check_target;
use otfuse_formats::hf::check_folder_target;

use crate::{Dataset, Error, Model, Result};

/// The most symbolic links that are followed from one path.
const MOST_LINKS: usize = 40;

/// All that a piece of work reads and writes. An output that is an input or another output, however its path is spelt
/// (relative, through symbolic or hard links, in other case where the file system ignores it), is refused before anything
/// is computed; what is written is put in place together at the end ([`commit`](Self::commit)), or not at all.
///
/// ```no_run
/// # fn main() -> Result<(), otfuse::Error> {
/// # let context = otfuse::Context::new();
/// let mut registry = otfuse::Registry::new();
/// let model = otfuse::Model::open("a.onnx")?;
/// registry.model(&model)?;
/// registry.result("output", "b.onnx".as_ref(), &model)?;
/// let mut pruned = otfuse::prune(&model, &otfuse::PruneOptions::default(), &context)?;
/// pruned.write(&registry, "b.onnx".as_ref())?;
/// registry.commit()
/// # }
/// ```
#[derive(Default)]
pub struct Registry {
    known: Vec<Entry>,
    /// Those of them that are folders.
    folders: Vec<usize>,
    by_path: HashMap<PathBuf, usize>,
    by_node: HashMap<Node, usize>,
    /// By the path in lower case: where a file system ignores case, these are one.
    by_lower: HashMap<String, Vec<usize>>,
    staged: Outputs,
}

/// A file on its device.
type Node = (u64, u64);

struct Entry {
    role: String,
    given: PathBuf,
    resolved: PathBuf,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Input,
    /// A file to be written.
    File,
    /// A folder that is made whole.
    Folder,
    /// A folder into which files are written.
    Into,
}

impl Registry {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes one network made of others, in the way of `like`, and nothing else.
    pub(crate) fn alone(
        models: &[&Model],
        like: &Model,
        path: &Path,
        stage: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        let mut registry = Self::new();
        models.iter().try_for_each(|model| registry.model(model))?;
        registry.result("output", path, like)?;
        stage(&registry)?;
        registry.commit()
    }

    /// A file that is read, or a folder, all files of which are. What is not there is no input.
    ///
    /// # Errors
    /// A file that is to be written too.
    pub fn input(&mut self, role: &str, path: &Path) -> Result<()> {
        if path.is_dir() {
            let listed = fs::read_dir(path).and_then(|entries| {
                entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<PathBuf>>>()
            });
            let mut files = listed.map_err(|error| Error::input(error).of(path))?;
            files.retain(|path| path.is_file());
            files.sort();
            return files.iter().try_for_each(|file| self.add(role, file, Place::Input));
        }
        if path.exists() { self.add(role, path, Place::Input) } else { Ok(()) }
    }

    /// Everything that a network is read from.
    ///
    /// # Errors
    /// As [`input`](Self::input).
    pub fn model(&mut self, model: &Model) -> Result<()> {
        if model.is_in_file() {
            self.input("network", model.path())?;
        }
        model.files()?.iter().try_for_each(|file| self.input("network", file))
    }

    /// Everything that samples are read from.
    ///
    /// # Errors
    /// As [`input`](Self::input); files that are not there.
    pub fn data(&mut self, data: &Dataset) -> Result<()> {
        data.files()?.iter().try_for_each(|file| self.add("data", file, Place::Input))
    }

    /// A file that will be written, named by its option.
    ///
    /// # Errors
    /// One that cannot be written, is read, or is written by another option too.
    pub fn output(&mut self, option: &str, path: &Path) -> Result<()> {
        self.add(option, path, Place::File)?;
        // A folder that is made too need not be there yet.
        let resolved = resolved(path);
        let is_inside =
            |at: &usize| self.known[*at].place == Place::Folder && resolved.starts_with(&self.known[*at].resolved);
        if self.folders.iter().any(is_inside) { Ok(()) } else { Ok(check_target(path)?) }
    }

    /// A file that will be written, `kind.0` of it in the one format that the extension `kind.1` stands for; no extension is as
    /// good.
    ///
    /// # Errors
    /// As [`output`](Self::output); another extension.
    pub fn output_of(&mut self, option: &str, path: &Path, kind: (&str, &str)) -> Result<()> {
        self.output(option, path)?;
        let (what, extension) = kind;
        match path.extension().filter(|found| !found.eq_ignore_ascii_case(extension)) {
            Some(other) => {
                let message = format!("{what} are written as {extension}, not as '.{}'", other.display());
                let hint = format!("give the output the extension .{extension}");
                Err(Error::input(message).of(path).hint(hint))
            }
            None => Ok(()),
        }
    }

    /// A file that will be written into a folder that is yet to be made.
    #[cfg(feature = "experiment")]
    pub(crate) fn expected(&mut self, option: &str, path: &Path) -> Result<()> {
        self.add(option, path, Place::File)
    }

    /// A network that will be written in the way of `like`: a file and what may go beside it, or a folder.
    ///
    /// # Errors
    /// As [`output`](Self::output); an extension that stands for no format.
    pub fn result(&mut self, option: &str, path: &Path, like: &Model) -> Result<()> {
        if like.writes_folder(path) {
            self.add(option, path, Place::Folder)?;
            like.file()?.format_at(path)?;
            return Ok(check_folder_target(path)?);
        }
        self.output(option, path)?;
        like.file()?.format_at(path)?;
        let beside = like.file()?.outputs_at(path);
        beside.iter().filter(|file| *file != path).try_for_each(|file| self.add(option, file, Place::File))
    }

    /// A folder that will be made whole.
    ///
    /// # Errors
    /// One that is there and not empty, or is an input or another output.
    pub fn folder(&mut self, option: &str, path: &Path) -> Result<()> {
        self.add(option, path, Place::Folder)?;
        Ok(check_folder_target(path)?)
    }

    /// A folder into which charts will be written whose names are not known yet.
    ///
    /// # Errors
    /// One that is a file, or holds an input that may be named as a chart is.
    pub fn figures(&mut self, option: &str, folder: &Path) -> Result<()> {
        if folder.exists() && !folder.is_dir() {
            let message = format!("{}: expected a folder, found a file", folder.display());
            return Err(Error::input(message).hint(format!("`{option}` FOLDER is made if it is not there")));
        }
        self.add(option, folder, Place::Into)
    }

    /// What is to be written is staged here.
    pub fn outputs(&self) -> &Outputs {
        &self.staged
    }

    /// Stages a file.
    ///
    /// # Errors
    /// A file that cannot be written, or was staged before.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.refuse_input(path)?;
        Ok(self.staged.write(path, |file| std::io::Write::write_all(file, bytes))?)
    }

    /// Puts everything that was staged in place, all of it or nothing.
    ///
    /// # Errors
    /// A file that cannot be replaced; everything is as it was before.
    pub fn commit(self) -> Result<()> {
        Ok(self.staged.commit()?)
    }

    /// Files whose names became known late (figures) must not be inputs either.
    fn refuse_input(&self, path: &Path) -> Result<()> {
        let resolved = resolved(path);
        match self.same(path, &resolved).find(|&at| self.known[at].place == Place::Input) {
            Some(at) => Err(overlap(path, &self.known[at])),
            None => Ok(()),
        }
    }

    fn same<'a>(&'a self, path: &Path, resolved: &'a Path) -> impl Iterator<Item = usize> + 'a {
        let of_node = node(path).and_then(|node| self.by_node.get(&node)).copied();
        let of_path = self.by_path.get(resolved).copied();
        let lower = resolved.to_string_lossy().to_lowercase();
        let of_case = self.by_lower.get(&lower).into_iter().flatten().copied();
        let of_case = of_case.filter(move |&at| {
            let other = self.known[at].resolved.as_path();
            other != resolved && ignores_case(resolved)
        });
        of_node.into_iter().chain(of_path).chain(of_case)
    }

    fn add(&mut self, role: &str, path: &Path, place: Place) -> Result<()> {
        let resolved = resolved(path);
        let collides = |at: usize| {
            let other = &self.known[at];
            place != Place::Input || other.place != Place::Input
        };
        let same = self.same(path, &resolved).find(|&at| collides(at));
        let nested = |folder: (Place, &Path), file: (Place, &Path)| match folder.0 {
            // Other outputs may lie in a folder that is made.
            Place::Folder => file.0 == Place::Input && file.1.starts_with(folder.1),
            Place::Into => file.0 == Place::Input && file.1.parent() == Some(folder.1) && is_figure(file.1),
            Place::Input | Place::File => false,
        };
        let this = (place, resolved.as_path());
        let that = |at: usize| (self.known[at].place, self.known[at].resolved.as_path());
        let inside = match place {
            Place::Input | Place::File => self.folders.iter().copied().find(|&at| nested(that(at), this)),
            Place::Folder | Place::Into => {
                (0..self.known.len()).find(|&at| nested(this, that(at)) || nested(that(at), this))
            }
        };
        if let Some(at) = same.or(inside.filter(|&at| collides(at))) {
            let other = &self.known[at];
            return Err(match (place, other.place) {
                (Place::Input, _) => {
                    overlap(&other.given, &Entry { role: role.into(), given: path.into(), resolved, place })
                }
                (_, Place::Input) => overlap(path, other),
                _ => {
                    let message = format!("{}: `{role}` and `{}` are the same file", path.display(), other.role);
                    let file = Some(path.to_owned());
                    Error { file, ..Error::input(message).hint("choose another name for one of them") }
                }
            });
        }
        let at = self.known.len();
        if matches!(place, Place::Folder | Place::Into) {
            self.folders.push(at);
        }
        if let Some(node) = node(path) {
            self.by_node.insert(node, at);
        }
        self.by_path.insert(resolved.clone(), at);
        self.by_lower.entry(resolved.to_string_lossy().to_lowercase()).or_default().push(at);
        self.known.push(Entry { role: role.into(), given: path.into(), resolved, place });
        Ok(())
    }
}

/// Whether a chart may be written to a file of this name.
fn is_figure(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    ["svg", "png", "csv"].iter().any(|kind| extension.eq_ignore_ascii_case(kind))
}

fn overlap(output: &Path, input: &Entry) -> Error {
    let message =
        format!("{}: the output is one of the inputs ({}: {})", output.display(), input.role, input.given.display());
    Error { file: Some(output.to_owned()), ..Error::input(message).hint("choose another name for the result") }
}

/// Device and number of what is there.
#[cfg(unix)]
fn node(path: &Path) -> Option<Node> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Device and number of what is there; elsewhere, resolved paths have to do.
#[cfg(not(unix))]
fn node(_: &Path) -> Option<Node> {
    None
}

/// The path without links and dots, also of what is not there yet.
fn resolved(path: &Path) -> PathBuf {
    let mut target = path.to_owned();
    for _ in 0..MOST_LINKS {
        if let Ok(found) = fs::canonicalize(&target) {
            return found;
        }
        // A link to what is not there yet.
        let Ok(link) = fs::read_link(&target) else { break };
        target = target.parent().unwrap_or(Path::new("")).join(link);
    }
    let absolute = std::path::absolute(&target).unwrap_or(target);
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else { return absolute };
    fs::canonicalize(parent).unwrap_or_else(|_| parent.to_owned()).join(name)
}

/// Whether the file system takes names in other case for the same, asked of a file made for the purpose.
fn ignores_case(path: &Path) -> bool {
    let Some(folder) = path.parent().filter(|folder| folder.is_dir()) else { return false };
    let probe = tempfile::Builder::new().prefix(".otfuse-case-").tempfile_in(folder);
    let Ok(probe) = probe else { return false };
    let name = probe.path().file_name().unwrap_or_default().to_string_lossy().to_uppercase();
    probe.path().with_file_name(name).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_found_however_they_are_spelt() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "input").unwrap();
        fs::create_dir(at("sub")).unwrap();
        fs::hard_link(at("a"), at("hard")).unwrap();
        for path in [at("a"), at("sub/../a"), at("hard"), at("./a")] {
            let mut registry = Registry::new();
            registry.input("network", &at("a")).unwrap();
            let error = registry.output("output", &path).unwrap_err();
            assert!(error.message.contains("one of the inputs"), "{error}");
            // In the other order too.
            let mut registry = Registry::new();
            registry.output("output", &path).unwrap();
            assert!(registry.input("network", &at("a")).is_err());
        }
        let mut registry = Registry::new();
        registry.output("output", &at("new")).unwrap();
        assert!(registry.output("report", &at("sub/../new")).unwrap_err().message.contains("same file"));
        registry.figures("figures", &at("sub")).unwrap();
        fs::write(at("sub/c.csv"), "data").unwrap();
        assert!(registry.input("data", &at("sub/c.csv")).is_err());
        assert_eq!(fs::read(at("a")).unwrap(), b"input");
    }

    #[cfg(unix)]
    #[test]
    fn links_to_what_is_not_there_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("new", at("link")).unwrap();
        let mut registry = Registry::new();
        registry.output("output", &at("new")).unwrap();
        assert!(registry.output("report", &at("link")).is_err());
    }
}
