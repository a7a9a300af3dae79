//! Writes checkpoints that `torch.load(path, weights_only=True)` reads.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use otfuse_graph::{DataType, Tensor};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::element::storage_class;
use crate::FormatError;
use crate::contents::{Contents, for_each};
use crate::file::Outputs;
use crate::state_dict::StateDict;

/// The folder inside the archive. PyTorch names it after the file; any name will do, and a fixed one makes the
/// bytes depend on the tensors alone.
const TOP: &str = "archive";

/// PyTorch aligns storages to as many bytes, so that they can be used from a memory map.
const ALIGNMENT: u16 = 64;

/// Writes a state dict as `torch.save(OrderedDict(...))` would, whole or not at all. Tensors that share their bytes
/// share a storage, as tied weights do in PyTorch. A state dict of a PyTorch file that holds what tensors cannot (extra
/// state, complex buffers, a TorchScript program; for a `.ckpt` all that is beside the state dict) is written as that file
/// with other weights. Equal inputs give equal bytes.
///
/// # Errors
/// [`FormatError::Io`] and [`FormatError::NotAFile`].
pub fn write_pytorch(path: &Path, dict: &StateDict) -> Result<(), FormatError> {
    Outputs::at_once(|outputs| write_pytorch_of(outputs, path, dict))
}

/// [`write_pytorch`] as one of several outputs, for tensors that are made one after the other.
pub(crate) fn write_pytorch_of(outputs: &Outputs, path: &Path, contents: &dyn Contents) -> Result<(), FormatError> {
    let dict = contents.dict();
    if let Some(origin) = dict.origin().filter(|origin| origin.is_kept(contents, path)) {
        return origin.write(outputs, path, contents);
    }
    let storages = Storages::of(contents);
    let pickle = pickle(dict, &storages);
    outputs.write(path, |file| {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .with_alignment(ALIGNMENT);
        let mut archive = ZipWriter::new(file);
        let mut write = |name: &str, data: &[u8]| -> io::Result<()> {
            let options = options.large_file(data.len() as u64 >= u64::from(u32::MAX));
            archive.start_file(format!("{TOP}/{name}"), options)?;
            archive.write_all(data)
        };
        write("data.pkl", &pickle)?;
        write("byteorder", b"little")?;
        let mut key = 0;
        for_each(contents, &storages.names, |_, tensor| {
            write(&format!("data/{key}"), tensor.bytes())?;
            key += 1;
            Ok(())
        })?;
        write("version", b"3\n")?;
        archive.finish()?.flush()
    })
}

/// The storages of a state dict, each once.
struct Storages<'a> {
    /// The first tensor over each storage.
    names: Vec<&'a str>,
    /// For each tensor of the dict, the index of its storage.
    keys: Vec<usize>,
}

impl<'a> Storages<'a> {
    fn of(contents: &'a dyn Contents) -> Self {
        let dict = contents.dict();
        let mut known = HashMap::new();
        let mut names = Vec::new();
        let mut keys = Vec::with_capacity(dict.len());
        for (name, tensor) in dict.iter() {
            let fresh = names.len();
            let key = if tensor.is_empty() {
                fresh
            } else {
                *known.entry((contents.identity(name), tensor.data_type())).or_insert(fresh)
            };
            if key == fresh {
                names.push(name);
            }
            keys.push(key);
        }
        Self { names, keys }
    }
}

/// The pickle, protocol 2: `OrderedDict()` with an entry `name: _rebuild_tensor_v2(...)` for every tensor.
fn pickle(dict: &StateDict, storages: &Storages<'_>) -> Vec<u8> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for ((name, tensor), &key) in dict.iter().zip(&storages.keys) {
        put_text(&mut out, name);
        put_tensor(&mut out, tensor, key);
    }
    out.extend(b"u.");
    out
}

fn put_tensor(out: &mut Vec<u8>, tensor: &Tensor, key: usize) {
    let class = storage_class(tensor.data_type());
    let function: &[u8] = match class {
        Some(_) => b"ctorch._utils\n_rebuild_tensor_v2\n",
        None => b"ctorch._utils\n_rebuild_tensor_v3\n",
    };
    out.extend(function);
    out.extend(b"((");
    put_text(out, "storage");
    match class {
        Some(class) => put_class(out, "torch", class),
        None => put_class(out, "torch.storage", "UntypedStorage"),
    }
    put_text(out, &key.to_string());
    put_text(out, "cpu");
    put_integer(out, if class.is_some() { tensor.len() } else { tensor.bytes().len() });
    out.extend(b"tQ");
    put_integer(out, 0);
    put_tuple(out, tensor.shape());
    put_tuple(out, &contiguous_strides(tensor.shape()));
    // requires_grad = False, backward_hooks = OrderedDict()
    out.extend(b"\x89ccollections\nOrderedDict\n)R");
    if class.is_none() {
        put_class(out, "torch", data_type_name(tensor.data_type()));
    }
    out.extend(b"tR");
}

fn data_type_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::F16 => "float16",
        DataType::BF16 => "bfloat16",
        DataType::F32 => "float32",
        DataType::F64 => "float64",
        DataType::I8 => "int8",
        DataType::I16 => "int16",
        DataType::I32 => "int32",
        DataType::I64 => "int64",
        DataType::U8 => "uint8",
        DataType::U16 => "uint16",
        DataType::U32 => "uint32",
        DataType::U64 => "uint64",
        DataType::Bool => "bool",
    }
}

fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        // PyTorch counts an axis of length 0 as one of length 1.
        strides[axis - 1] = usize::saturating_mul(strides[axis], shape[axis].max(1));
    }
    strides
}

fn put_class(out: &mut Vec<u8>, module: &str, name: &str) {
    out.push(b'c');
    out.extend(module.as_bytes());
    out.push(b'\n');
    out.extend(name.as_bytes());
    out.push(b'\n');
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    // A name of more than 4 GiB cannot come from any file that this crate reads.
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_integer(out: &mut Vec<u8>, value: usize) {
    match i32::try_from(value) {
        Ok(value) => {
            out.push(b'J');
            out.extend(value.to_le_bytes());
        }
        Err(_) => {
            // Nine bytes, so that the sign bit is clear.
            out.extend([0x8a, 9]);
            out.extend((value as u64).to_le_bytes());
            out.push(0);
        }
    }
}

fn put_tuple(out: &mut Vec<u8>, values: &[usize]) {
    out.push(b'(');
    for &value in values {
        put_integer(out, value);
    }
    out.push(b't');
}
