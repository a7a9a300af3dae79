//! PyTorch checkpoints: state dicts, nested checkpoints and whole modules, in the zip container of PyTorch 1.6 and
//! later, the pickle stream before it and the tar archive before that. The content decides, not the extension.
//!
//! Reading is in phases: `checkpoint` opens the container and runs the pickle through `pickle`, which executes
//! nothing; `search` finds the state dict (`module` the names inside a module); `view` builds the tensors over
//! the storages (`storage`), which are slices of the memory-mapped file.

mod checkpoint;
mod element;
mod float8;
mod module;
mod numpy;
mod origin;
mod pickle;
mod search;
mod storage;
mod view;
mod writer;

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use otfuse_graph::Tensor;

use self::checkpoint::Checkpoint;
use self::origin::Place;
use self::pickle::{Arena, TensorReference, Value, ValueId, is_foreign_tensor};
use self::search::Found;
use self::view::Builder;
use crate::FormatError;
use crate::error::Blame;
use crate::file::open_mapped;
use crate::state_dict::{Ignored, MAX_IGNORED, Provenance, StateDict};

pub(crate) use self::origin::{Kept, Origin};
pub(crate) use self::search::ANOTHER;
pub use self::writer::write_pytorch;
pub(crate) use self::writer::write_pytorch_of;

/// The names inside a module may take this many bytes for each byte of the pickle, and some more: modules can be
/// shared, so that names multiply at every level.
const NAME_FACTOR: u64 = 64;
const NAME_ALLOWANCE: u64 = 1 << 20;

/// Reads the state dict of a PyTorch file.
///
/// In a nested checkpoint it is the only dict with tensors outside the optimizer's state, or else the one under a
/// customary key (`state_dict`, `model_state_dict`, `model`, ...). In a pickled module it is what
/// `module.state_dict()` would give. [`StateDict::provenance`] says where it was found and what was left out.
/// Tensors are slices of the memory-mapped file wherever their elements lie in order.
///
/// # Errors
/// Any [`FormatError`]; [`FormatError::AmbiguousStateDict`] lists keys to pass to [`read_pytorch_under`].
pub fn read_pytorch(path: &Path) -> Result<StateDict, FormatError> {
    read_pytorch_bytes(path, &open_mapped(path)?, None)
}

/// Reads the state dict under a given key of a nested checkpoint; deeper keys are joined by dots.
///
/// # Errors
/// Any [`FormatError`]; [`FormatError::MissingEntry`] if there is no state dict under that key.
pub fn read_pytorch_under(path: &Path, key: &str) -> Result<StateDict, FormatError> {
    read_pytorch_bytes(path, &open_mapped(path)?, Some(key))
}

/// Whether the bytes begin like a PyTorch file, so that reading them as one gives the more telling error.
pub(crate) fn looks_like_pytorch(bytes: &[u8]) -> bool {
    checkpoint::is_checkpoint(bytes)
}

/// [`read_pytorch`] for bytes at hand; `path` is what errors name.
///
/// # Errors
/// As [`read_pytorch_under`].
pub fn read_pytorch_bytes(path: &Path, bytes: &Bytes, key: Option<&str>) -> Result<StateDict, FormatError> {
    if !looks_like_pytorch(bytes) {
        return Err(FormatError::UnknownFormat {
            path: path.into(),
            expected: "a PyTorch file (zip archive, pickle or tar archive)".into(),
            found: crate::file::describe_start(bytes),
        });
    }
    let blame = Blame(path);
    let Checkpoint { arena, root, storages, pickle_length, folder, is_program } = Checkpoint::open(path, bytes)?;
    let Found { chosen, path: found_under, mut ignored } = search::find(blame, &arena, root, key)?;
    let builder = Builder::new(blame, &arena, storages, bytes.len());
    let mut filling = Filling { builder, dict: StateDict::new(), places: HashMap::new(), odd: false, left: None };
    let mut module_class = None;
    if chosen.is_module {
        let budget = (pickle_length as u64).saturating_mul(NAME_FACTOR).saturating_add(NAME_ALLOWANCE);
        let contents = if is_program {
            module::script_contents(blame, &arena, chosen.value, budget)?
        } else {
            module::contents(blame, &arena, chosen.value, budget)?
        };
        ignored.extend(contents.ignored);
        for (name, reference) in contents.tensors {
            filling.insert(&name, reference, &mut ignored)?;
        }
        if let Value::Object(object) = arena.get(chosen.value) {
            module_class = Some(arena.class_name(object.class));
        }
    } else {
        let entries = arena.entries(chosen.value).unwrap_or_default();
        // Arrays of NumPy are weights where there are no tensors; beside these they are records.
        let is_of_arrays = !entries.iter().any(|&(_, value)| matches!(arena.get(value), Value::Tensor(_)));
        for &(name, value) in entries {
            match (arena.text(name), arena.get(value)) {
                (Some(name), Value::Tensor(reference)) => filling.insert(name, *reference, &mut ignored)?,
                (Some(name), _) if is_foreign_tensor(&arena, value) => {
                    let found = arena.describe(value);
                    return Err(blame.unsupported(format_args!("tensor {name:?}"), "a dense tensor", found));
                }
                (text, _) => {
                    let array = text.filter(|_| is_of_arrays);
                    let array = array.and_then(|name| Some((name, numpy::array(&arena, value)?.into_tensor()?)));
                    match array {
                        Some((name, tensor)) => filling.put(name, tensor)?,
                        None => {
                            filling.odd = true;
                            let name = text.map_or_else(|| arena.describe(name), str::to_owned);
                            push(&mut ignored, &name, &arena.describe(value));
                        }
                    }
                }
            }
        }
    }
    ignored.extend(beside(&arena, root, &found_under));
    ignored.truncate(MAX_IGNORED);
    let Filling { mut builder, mut dict, places, odd, left } = filling;
    if let Some((name, reference)) = left.filter(|_| dict.is_empty()) {
        builder.build(&name, reference)?;
    }
    let kept = Kept { entries: odd, wrapper: !found_under.is_empty(), program: is_program };
    // Of several state dicts the one that is loaded again must be the one that is written; a whole module is rebuilt.
    if let Some(folder) = folder.filter(|_| (key.is_none() || !kept.wrapper) && (is_program || !chosen.is_module)) {
        dict.set_origin(Origin::new(bytes.clone(), folder, places, kept));
    }
    *dict.provenance_mut() = Provenance { found_under, module_class, ignored, ..Provenance::default() };
    Ok(dict)
}

fn push(ignored: &mut Vec<Ignored>, name: &str, found: &str) {
    if ignored.len() < MAX_IGNORED {
        ignored.push(Ignored::new(name, found));
    }
}

/// A state dict on its way.
struct Filling<'a> {
    builder: Builder<'a>,
    dict: StateDict,
    places: HashMap<String, Place>,
    /// Whether there are entries that no tensor here can hold.
    odd: bool,
    /// The first tensor that was left to the file.
    left: Option<(String, TensorReference)>,
}

impl Filling<'_> {
    /// A tensor of the file; one of a type without counterpart here is left to the file.
    fn insert(
        &mut self,
        name: &str,
        reference: TensorReference,
        ignored: &mut Vec<Ignored>,
    ) -> Result<(), FormatError> {
        if self.builder.is_odd(reference) {
            self.odd = true;
            self.left.get_or_insert_with(|| (name.to_owned(), reference));
            push(ignored, name, "a tensor of complex or quantised numbers");
            return Ok(());
        }
        if self.dict.contains(name) {
            return Err(self.builder.blame.duplicate(name));
        }
        let (tensor, place) = self.builder.build(name, reference)?;
        self.places.insert(name.to_owned(), place);
        self.put(name, tensor)
    }

    fn put(&mut self, name: &str, tensor: Tensor) -> Result<(), FormatError> {
        let blame = self.builder.blame;
        self.dict.insert(name, tensor).map_err(|error| blame.duplicate(error.name))
    }
}

/// The plain entries beside a nested state dict: epochs, scores, settings.
fn beside(arena: &Arena, root: ValueId, path: &[String]) -> Vec<Ignored> {
    let Some(first) = path.first() else { return Vec::new() };
    let entries = arena.entries(root).unwrap_or_default();
    let named = entries.iter().filter_map(|&(name, value)| Some((arena.text(name)?, value)));
    let nested = |value| search::may_hold_tensors(arena, value);
    let others = named.filter(|&(name, value)| name != first && !nested(value)).take(MAX_IGNORED);
    others.map(|(name, value)| Ignored::new(name, &arena.describe(value))).collect()
}
