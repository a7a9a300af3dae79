//! The callables that are understood. Nothing is called: each is replaced by what it is known to return.

use super::value::{Arena, Object, TensorReference, Value, ValueId};

/// What applying a callable gives.
pub(super) enum Reduced {
    /// A value that exists already.
    Existing(ValueId),
    /// A new value.
    New(Value),
}

/// The value of `callable(*arguments)`, an inert object where the callable is not on the list. `copies` is lowered
/// by the number of elements copied; `None` if it does not suffice.
pub(super) fn reduce(arena: &Arena, callable: ValueId, arguments: ValueId, copies: &mut usize) -> Option<Reduced> {
    let positional = arena.sequence(arguments).unwrap_or_default();
    let known = match arena.class(callable) {
        Some(("torch._tensor", "_rebuild_from_type" | "_rebuild_from_type_v2")) => match *positional {
            // A tensor with attributes or of a subclass: (function, type, arguments, state).
            [function, _, inner, ..] => arena.sequence(inner).and_then(|inner| tensor(arena, function, inner)),
            _ => None,
        },
        Some(("collections", "defaultdict")) => container(arena, "dict", positional.get(1..)?, copies)?,
        Some(("collections", "OrderedDict")) => container(arena, "dict", positional, copies)?,
        Some(("builtins" | "__builtin__", name)) => container(arena, name, positional, copies)?,
        // How protocol 2 writes bytes.
        Some(("_codecs", "encode")) => match positional.first().and_then(|&text| arena.text(text)) {
            Some(text) => {
                *copies = copies.checked_sub(text.len())?;
                raw(text)
            }
            None => None,
        },
        Some(("torch", "Size")) => positional.first().map(|&size| Reduced::Existing(size)),
        _ => tensor(arena, callable, positional),
    };
    let inert = || Object { class: callable, arguments, state: None, items: Vec::new(), elements: Vec::new() };
    Some(known.unwrap_or_else(|| Reduced::New(Value::Object(Box::new(inert())))))
}

/// The bytes that a text stands for in the encoding of one byte a character.
fn raw(text: &str) -> Option<Reduced> {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    Some(Reduced::New(Value::Raw(bytes?.into())))
}

/// The tensor that one of PyTorch's functions rebuilds.
fn tensor(arena: &Arena, callable: ValueId, arguments: &[ValueId]) -> Option<Reduced> {
    let reference = |data_type| match *arguments {
        [storage, offset, size, stride, ..] => {
            Some(Reduced::New(Value::Tensor(TensorReference { storage, offset, size, stride, data_type })))
        }
        _ => None,
    };
    match arena.class(callable)? {
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => reference(None),
        // (storage, offset, size, stride, requires_grad, backward_hooks, data_type, ...)
        ("torch._utils", "_rebuild_tensor_v3") => reference(Some(*arguments.get(6)?)),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
        | ("torch.nn.parameter", "Parameter" | "Buffer")
        | ("torch.autograd.variable", "Variable") => {
            let &data = arguments.first()?;
            matches!(arena.get(data), Value::Tensor(_)).then_some(Reduced::Existing(data))
        }
        _ => None,
    }
}

/// Whether a value is a sparse, quantised or other special tensor, which PyTorch would rebuild and this crate cannot.
pub(crate) fn is_foreign_tensor(arena: &Arena, value: ValueId) -> bool {
    let Value::Object(object) = arena.get(value) else { return false };
    arena.class(object.class).is_some_and(|(module, name)| module == "torch._utils" && name.starts_with("_rebuild"))
}

/// A container of the builtin type `name`, filled from an optional iterable. The outer `None` says that `copies` is
/// used up, the inner one that `name` is no container known here.
#[allow(clippy::option_option)]
fn container(arena: &Arena, name: &str, arguments: &[ValueId], copies: &mut usize) -> Option<Option<Reduced>> {
    let elements = match arguments {
        [] => &[][..],
        [iterable] => match arena.get(*iterable) {
            Value::Tuple(elements) | Value::List(elements) | Value::Set(elements) => elements,
            Value::Dict(entries) if name == "dict" => {
                *copies = copies.checked_sub(entries.len())?;
                return Some(Some(Reduced::New(Value::Dict(entries.clone()))));
            }
            _ => return Some(None),
        },
        _ => return Some(None),
    };
    if !matches!(name, "dict" | "list" | "tuple" | "set" | "frozenset") {
        return Some(None);
    }
    *copies = copies.checked_sub(elements.len())?;
    let value = match name {
        "dict" => {
            let pair = |&element| match arena.sequence(element) {
                Some(&[key, value]) => Some((key, value)),
                _ => None,
            };
            match elements.iter().map(pair).collect() {
                Some(entries) => Value::Dict(entries),
                None => return Some(None),
            }
        }
        "list" => Value::List(elements.to_vec()),
        "tuple" => Value::Tuple(elements.to_vec()),
        _ => Value::Set(elements.to_vec()),
    };
    Some(Some(Reduced::New(value)))
}
