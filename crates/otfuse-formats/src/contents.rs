//! What a file of named tensors is written from.

use std::io;

use otfuse_graph::{DataType, Tensor};

use crate::StateDict;

/// Tensors of so many bytes are asked for at a time: enough to keep all threads at work.
const BATCH: usize = 64 << 20;

/// The tensors to be written under the names of a state dict, in its types and shapes: its own, or others that are made
/// when their turn comes, so that not all of them are in memory at once.
pub(crate) trait Contents {
    /// Names, types and shapes, and where they come from.
    fn dict(&self) -> &StateDict;

    /// The tensors of these names.
    fn tensors(&self, names: &[&str]) -> io::Result<Vec<Tensor>>;

    /// Equal for two names only if the same tensor is written under both.
    fn identity(&self, name: &str) -> (usize, usize);

    /// Whether tensors are written that are not finite where the file's own are.
    fn admits_nonfinite(&self) -> bool {
        false
    }
}

impl Contents for StateDict {
    fn dict(&self) -> &StateDict {
        self
    }

    fn tensors(&self, names: &[&str]) -> io::Result<Vec<Tensor>> {
        let tensor =
            |name: &&str| self.get(name).cloned().ok_or_else(|| io::Error::other(format!("no tensor {name:?}")));
        names.iter().map(tensor).collect()
    }

    fn identity(&self, name: &str) -> (usize, usize) {
        self.get(name).map_or((0, 0), |tensor| (tensor.bytes().as_ptr() as usize, tensor.bytes().len()))
    }
}

/// Some names of other contents.
pub(crate) struct Part<'a> {
    /// The names, with tensors of their types and shapes.
    pub names: StateDict,
    /// Where the tensors come from.
    pub of: &'a dyn Contents,
}

impl Contents for Part<'_> {
    fn dict(&self) -> &StateDict {
        &self.names
    }

    fn tensors(&self, names: &[&str]) -> io::Result<Vec<Tensor>> {
        self.of.tensors(names)
    }

    fn identity(&self, name: &str) -> (usize, usize) {
        self.of.identity(name)
    }

    fn admits_nonfinite(&self) -> bool {
        self.of.admits_nonfinite()
    }
}

/// Hands the tensors of these names to `write`, in order, a few in memory at a time.
pub(crate) fn for_each(
    contents: &dyn Contents,
    names: &[&str],
    mut write: impl FnMut(&str, &Tensor) -> io::Result<()>,
) -> io::Result<()> {
    let dict = contents.dict();
    let length = |name: &str| dict.get(name).map_or(0, |tensor| tensor.bytes().len());
    let mut rest = names;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|name| {
            bytes += length(name);
            bytes <= BATCH
        });
        let (batch, behind) = rest.split_at(fits.count().max(1));
        for (name, tensor) in batch.iter().zip(contents.tensors(batch)?) {
            let kind = |tensor: &Tensor| (tensor.data_type(), tensor.shape().to_vec());
            if dict.get(name).map(kind) != Some(kind(&tensor)) {
                let expected = dict.get(name).map(kind);
                let message = format!("tensor {name:?}: expected {expected:?}, found {:?}", kind(&tensor));
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            check_finite(contents, name, &tensor)?;
            write(name, &tensor)?;
            tensor.release();
        }
        rest = behind;
    }
    Ok(())
}

/// The first element that is no finite number.
pub(crate) fn odd(tensor: &Tensor) -> Option<(usize, f32)> {
    // Nearly all tensors are finite: bits tell that fast.
    if tensor.data_type() == DataType::F32 {
        let is_odd = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes) & 0x7f80_0000 == 0x7f80_0000;
        let (numbers, _) = tensor.bytes().as_chunks::<4>();
        let any = numbers.chunks(4096).any(|some| some.iter().fold(false, |any, bytes| any | is_odd(bytes)));
        if !any {
            return None;
        }
    }
    tensor.find(|value| !value.is_finite())
}

/// Refuses what is no finite number where the file's own tensor is finite: a type that is too narrow, or sums that ran over. Unless
/// that is admitted.
pub(crate) fn check_finite(contents: &dyn Contents, name: &str, tensor: &Tensor) -> io::Result<()> {
    let Some(own) = contents.dict().get(name).filter(|_| !contents.admits_nonfinite()) else { return Ok(()) };
    match odd(tensor) {
        Some((index, value)) if odd(own).is_none() => {
            let data_type = tensor.data_type();
            let message = format!("tensor {name:?}: {data_type} cannot hold a weight: {value} at index {index}");
            Err(io::Error::new(io::ErrorKind::InvalidData, message))
        }
        _ => Ok(()),
    }
}
