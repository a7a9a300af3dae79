//! The values that a pickle describes.

use bytes::Bytes;

/// The index of a value in an [`Arena`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ValueId(u32);

/// A Python value as data.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Integer(i64),
    /// An integer beyond 64 bits: little-endian two's complement.
    BigInteger(Bytes),
    Float(f64),
    /// Text in UTF-8, checked when it was read.
    Text(Bytes),
    Raw(Bytes),
    Tuple(Vec<ValueId>),
    List(Vec<ValueId>),
    Set(Vec<ValueId>),
    Dict(Vec<(ValueId, ValueId)>),
    Class(Class),
    Object(Box<Object>),
    Storage(StorageReference),
    Tensor(TensorReference),
}

/// The name of a Python class or function.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(crate) module: Bytes,
    pub(crate) name: Bytes,
}

/// What a callable that is not known here would have made.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) class: ValueId,
    /// What it was called with.
    pub(crate) arguments: ValueId,
    pub(crate) state: Option<ValueId>,
    /// Entries that were set on it, if it is a mapping.
    pub(crate) items: Vec<(ValueId, ValueId)>,
    /// Elements that were appended to it, if it is a sequence.
    pub(crate) elements: Vec<ValueId>,
}

/// A reference to bytes outside the pickle, as the persistent id of a storage names them.
#[derive(Clone, Debug)]
pub(crate) struct StorageReference {
    /// The storage class, which gives the element type.
    pub(crate) class: ValueId,
    /// The name of the storage.
    pub(crate) key: Bytes,
    /// The number of elements, in bytes for an untyped storage.
    pub(crate) length: ValueId,
    /// Elements by which a view of another storage starts late (files before PyTorch 0.4).
    pub(crate) view_offset: i64,
}

impl StorageReference {
    /// Reads the tuple `("storage", class, key, place, length, view?)` that names a storage.
    pub(crate) fn parse(arena: &Arena, tuple: ValueId) -> Option<Self> {
        let &[tag, class, key, _place, length, ref rest @ ..] = arena.sequence(tuple)? else { return None };
        if arena.text(tag) != Some("storage") {
            return None;
        }
        let key = arena.key(key)?;
        let mut storage = Self { class, key, length, view_offset: 0 };
        // (view key, offset, length): a storage that is part of another.
        if let Some(&view) = rest.first()
            && let Some(&[_, offset, length]) = arena.sequence(view)
        {
            storage.view_offset = arena.integer(offset)?;
            storage.length = length;
        }
        Some(storage)
    }
}

/// A strided view of a storage; the ids are checked when the tensor is built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TensorReference {
    pub(crate) storage: ValueId,
    pub(crate) offset: ValueId,
    pub(crate) size: ValueId,
    pub(crate) stride: ValueId,
    /// The element type where the storage has none.
    pub(crate) data_type: Option<ValueId>,
}

/// All values of one or several pickles.
#[derive(Debug)]
pub(crate) struct Arena {
    values: Vec<Value>,
    /// None, False and True, each made once.
    singles: [Option<ValueId>; 3],
    /// Bytes that may still be taken.
    left: usize,
}

/// Bytes that any pickle may take, and for each byte of its file.
const BYTES: (usize, usize) = (32 << 20, 64);

impl Arena {
    /// Nothing yet, for pickles of a file of so many bytes, on the disk: what is packed in it may be a thousand times as long.
    pub(crate) fn new(file: usize) -> Self {
        Self { values: Vec::new(), singles: [None; 3], left: file.saturating_mul(BYTES.1).saturating_add(BYTES.0) }
    }

    /// Takes bytes of what the file may take; whether there are so many left.
    #[must_use]
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Adds a value; `None` if the file may take no more.
    pub(crate) fn add(&mut self, value: Value) -> Option<ValueId> {
        let single = match &value {
            Value::None => Some(0),
            Value::Bool(truth) => Some(1 + usize::from(*truth)),
            _ => None,
        };
        if let Some(known) = single.and_then(|single| self.singles[single]) {
            return Some(known);
        }
        let parts = match &value {
            Value::Tuple(elements) | Value::List(elements) | Value::Set(elements) => elements.len(),
            Value::Dict(entries) => 2 * entries.len(),
            _ => 0,
        };
        let id = u32::try_from(self.values.len()).ok()?;
        if !self.take(2 * size_of::<Value>() + parts * size_of::<ValueId>()) {
            return None;
        }
        self.values.push(value);
        if let Some(single) = single {
            self.singles[single] = Some(ValueId(id));
        }
        Some(ValueId(id))
    }

    /// All values in the order in which they were made.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        self.values.iter()
    }

    pub(crate) fn get(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    pub(crate) fn get_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.0 as usize]
    }

    /// The text of a text value.
    pub(crate) fn text(&self, id: ValueId) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    pub(crate) fn integer(&self, id: ValueId) -> Option<i64> {
        match self.get(id) {
            Value::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// Text or an integer as the text that names a storage or tensor.
    pub(crate) fn key(&self, id: ValueId) -> Option<Bytes> {
        match self.get(id) {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string().into()),
            _ => None,
        }
    }

    pub(crate) fn natural(&self, id: ValueId) -> Option<usize> {
        self.integer(id).and_then(|value| usize::try_from(value).ok())
    }

    /// The elements of a tuple or list.
    pub(crate) fn sequence(&self, id: ValueId) -> Option<&[ValueId]> {
        match self.get(id) {
            Value::Tuple(elements) | Value::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// The entries of a dict, or of an object that acts as one.
    pub(crate) fn entries(&self, id: ValueId) -> Option<&[(ValueId, ValueId)]> {
        match self.get(id) {
            Value::Dict(entries) => Some(entries),
            Value::Object(object) if !object.items.is_empty() => Some(&object.items),
            _ => None,
        }
    }

    /// The value of a text key in a dict. Time: the length of the dict.
    pub(crate) fn lookup(&self, dict: ValueId, key: &str) -> Option<ValueId> {
        let entries = self.entries(dict)?;
        // As in Python, a later entry of the same key wins.
        entries.iter().rev().find(|(name, _)| self.text(*name) == Some(key)).map(|&(_, value)| value)
    }

    /// The module and name of a class value.
    pub(crate) fn class(&self, id: ValueId) -> Option<(&str, &str)> {
        match self.get(id) {
            Value::Class(class) => {
                Some((std::str::from_utf8(&class.module).ok()?, std::str::from_utf8(&class.name).ok()?))
            }
            _ => None,
        }
    }

    /// The class of an object as `module.Name`.
    pub(crate) fn class_name(&self, id: ValueId) -> String {
        let shown = |text: &str| text.chars().take(80).collect::<String>();
        match self.class(id) {
            Some((module, name)) => format!("{}.{}", shown(module), shown(name)),
            None => "unnamed class".into(),
        }
    }

    /// A value in a few words, for messages.
    pub(crate) fn describe(&self, id: ValueId) -> String {
        match self.get(id) {
            Value::None => "None".into(),
            Value::Bool(value) => if *value { "True" } else { "False" }.into(),
            Value::Integer(value) => format!("the integer {value}"),
            Value::BigInteger(_) => "an integer beyond 64 bits".into(),
            Value::Float(value) => format!("the float {value}"),
            Value::Text(text) => {
                let text = String::from_utf8_lossy(&text[..text.len().min(160)]);
                format!("the text {:?}", text.chars().take(40).collect::<String>())
            }
            Value::Raw(bytes) => format!("{} bytes", bytes.len()),
            Value::Tuple(elements) => format!("a tuple of {}", elements.len()),
            Value::List(elements) => format!("a list of {}", elements.len()),
            Value::Set(elements) => format!("a set of {}", elements.len()),
            Value::Dict(entries) => format!("a dict of {}", entries.len()),
            Value::Class(_) => format!("the class {}", self.class_name(id)),
            Value::Object(object) => format!("an object of {}", self.class_name(object.class)),
            Value::Storage(_) => "a storage".into(),
            Value::Tensor(_) => "a tensor".into(),
        }
    }
}
