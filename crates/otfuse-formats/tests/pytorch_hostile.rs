//! Pickles that no honest program writes: each must be refused, or read, in little time and memory.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use otfuse_formats::pytorch::read_pytorch_bytes;
use otfuse_formats::{FormatError, StateDict};

const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
const PREAMBLE: &[u8] = b"\x80\x02M\xe9\x03.\x80\x02}.";

/// The beginning of a tensor of `storage` up to its offset; `key` is one character.
fn tensor(key: u8, rest: &[u8]) -> Vec<u8> {
    let mut out = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0".to_vec();
    out.push(key);
    out.extend(b"X\x03\0\0\0cpuK\x02tQ");
    out.extend(rest);
    out.extend(b"\x89NtR");
    out
}

/// A checkpoint of the old container around a pickle, with one storage "0" of two floats if a tensor uses it.
fn checkpoint(pickle: &[u8]) -> Vec<u8> {
    if !pickle.windows(7).any(|window| window == b"storage") {
        return [MAGIC, PREAMBLE, b"\x80\x02", pickle, b".\x80\x02]."].concat();
    }
    let mut file = [MAGIC, PREAMBLE, b"\x80\x02", pickle, b".\x80\x02]X\x01\0\0\x000a."].concat();
    file.extend(2i64.to_le_bytes());
    file.extend([1f32, 2.0].map(f32::to_le_bytes).concat());
    file
}

/// A dict with one tensor `w`.
fn with_tensor(rest: &[u8]) -> Vec<u8> {
    let mut pickle = b"}X\x01\0\0\0w".to_vec();
    pickle.extend(tensor(b'0', rest));
    pickle.push(b's');
    checkpoint(&pickle)
}

fn read(file: Vec<u8>) -> Result<StateDict, FormatError> {
    let start = Instant::now();
    let result = read_pytorch_bytes(Path::new("hostile.pt"), &Bytes::from(file), None);
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
    result
}

#[test]
fn the_honest_file_is_read() {
    let dict = read(with_tensor(b"K\x00K\x02\x85K\x01\x85")).expect("honest");
    assert_eq!(dict.get("w").and_then(|tensor| tensor.to_f32()), Some(vec![1.0, 2.0]));
    let dict = read(with_tensor(b"K\x01))")).expect("a scalar view");
    assert_eq!(dict.get("w").and_then(|tensor| tensor.to_f32()), Some(vec![2.0]));
}

#[test]
fn nothing_is_called() {
    // os.system("...") beside the tensor is data, whichever instruction asks for it.
    for call in [
        &b"cos\nsystem\n(X\x05\0\0\0falsetR"[..],
        b"cos\nsystem\nX\x05\0\0\0false\x85\x81",
        b"(ios\nsystem\n",
        b"(cos\nsystem\nX\x05\0\0\0falseo",
        b"\x8c\x02os\x8c\x06system\x93X\x05\0\0\0false\x85R}b",
    ] {
        let mut pickle = b"}(X\x01\0\0\0w".to_vec();
        pickle.extend(tensor(b'0', b"K\x00K\x02\x85K\x01\x85"));
        pickle.extend(b"X\x01\0\0\0x");
        pickle.extend(call);
        pickle.push(b'u');
        let dict = read(checkpoint(&pickle)).expect("read as data");
        let ignored = &dict.provenance().ignored;
        assert!(ignored.iter().any(|entry| entry.path == "x" && entry.found.contains("os.system")), "{ignored:?}");
    }
}

#[test]
fn views_outside_the_storage_are_refused() {
    let huge = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    let join = |parts: &[&[u8]]| parts.concat();
    for (name, rest) in [
        ("too long", b"K\x00K\x03\x85K\x01\x85".to_vec()),
        ("offset", b"K\x01K\x02\x85K\x01\x85".to_vec()),
        ("stride", b"K\x00K\x02\x85K\x02\x85".to_vec()),
        ("negative offset", b"J\xff\xff\xff\xffK\x02\x85K\x01\x85".to_vec()),
        ("negative stride", b"K\x01K\x02\x85J\xff\xff\xff\xff\x85".to_vec()),
        ("negative size", b"K\x00J\xff\xff\xff\xff\x85K\x01\x85".to_vec()),
        ("rank", b"K\x00K\x02\x85)".to_vec()),
        ("huge size", join(&[b"K\x00", huge, b"\x85K\x01\x85"])),
        ("huge stride", join(&[b"K\x00K\x02\x85", huge, b"\x85"])),
        ("huge offset", join(&[huge, b"K\x02\x85K\x01\x85"])),
        ("overflowing size", join(&[b"K\x00", huge, huge, b"\x86K\x00K\x00\x86"])),
        ("expanded", b"K\x00J\xff\xff\xff\x7f\x85K\x00\x85".to_vec()),
        ("size is text", b"K\x00X\x01\0\0\x002\x85K\x01\x85".to_vec()),
    ] {
        let error = read(with_tensor(&rest)).expect_err(name);
        assert!(error.to_string().contains("\"w\""), "{name}: {error}");
    }
    // Without elements no storage is needed, however silly the strides.
    let empty = read(with_tensor(&join(&[b"K\x00K\x00\x85", huge, b"\x85"]))).expect("empty");
    assert!(empty.get("w").is_some_and(|tensor| tensor.is_empty()));
    // Axes of length 1 do not move.
    let one = read(with_tensor(&join(&[b"K\x00K\x01K\x02\x86", huge, b"K\x01\x86"]))).expect("an axis of length 1");
    assert_eq!(one.get("w").map(|tensor| tensor.shape().to_vec()), Some(vec![1, 2]));
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    let depth = 2_000_000;
    for (open, close) in [(&b"]"[..], &b"a"[..]), (b"", b"\x85"), (b"}K\x00", b"s")] {
        let mut pickle = open.repeat(depth);
        pickle.push(b'N');
        pickle.extend(close.repeat(depth));
        if !open.is_empty() {
            let error = read(checkpoint(&pickle)).expect_err("no tensors");
            assert!(matches!(error, FormatError::NoStateDict { .. } | FormatError::Malformed { .. }), "{error}");
        } else {
            assert!(read(checkpoint(&pickle)).is_err());
        }
    }
    // Marks without end, and instructions without their operands.
    assert!(read(checkpoint(&b"(".repeat(depth))).is_err());
    for instruction in 0..=255u8 {
        let _ = read(checkpoint(&[instruction]));
        let _ = read(checkpoint(&[b'(', instruction]));
        let _ = read(checkpoint(&[b']', instruction, instruction]));
    }
}

#[test]
fn sharing_is_not_copied() {
    // A list of two lists of two lists ...: 2^500 leaves if written out.
    let mut pickle = b"]q\x00".to_vec();
    for _ in 0..500 {
        pickle.extend(b"0](h\x00h\x00eq\x00");
    }
    assert!(matches!(read(checkpoint(&pickle)), Err(FormatError::NoStateDict { .. })));
    // One list turned into an OrderedDict again and again.
    let mut pickle = b"(ccollections\nOrderedDict\nq\x00](".to_vec();
    pickle.extend(b"K\x00K\x00\x86".repeat(100_000));
    pickle.extend(b"e\x85q\x01");
    pickle.extend(b"h\x00h\x01R".repeat(100_000));
    pickle.push(b't');
    let error = read(checkpoint(&pickle)).expect_err("copies without end");
    assert!(error.to_string().contains("copies"), "{error}");
    // A list that contains itself.
    assert!(matches!(read(checkpoint(b"]q\x00h\x00a")), Err(FormatError::NoStateDict { .. })));
}

#[test]
fn shared_modules_do_not_multiply_without_end() {
    // Each module holds the one before it twice: 2^60 names.
    let mut pickle = b"N".to_vec();
    for _ in 0..60 {
        pickle.extend(b"q\x000cmodels\nNet\n)\x81}(X\x0b\0\0\0_parameters}X\x08\0\0\0_modules}");
        pickle.extend(b"(X\x01\0\0\0ah\x00X\x01\0\0\0bh\x00uub");
    }
    let error = read(checkpoint(&pickle)).expect_err("names without end");
    assert!(matches!(error, FormatError::LimitExceeded { .. }), "{error}");
}

#[test]
fn claimed_lengths_allocate_nothing() {
    for claim in [
        &b"X\xff\xff\xff\xff"[..],
        b"B\xff\xff\xff\xff",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\xff",
        b"\x95\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        assert!(read(checkpoint(claim)).is_err());
    }
    for count in [i64::MAX, -1, 3, i64::MAX / 4] {
        let mut file = with_tensor(b"K\x00K\x02\x85K\x01\x85");
        let start = file.len() - 16;
        file[start..start + 8].copy_from_slice(&count.to_le_bytes());
        assert!(read(file).is_err(), "{count}");
    }
}

#[test]
fn a_name_given_twice_is_an_error() {
    let mut pickle = b"}(".to_vec();
    for _ in 0..2 {
        pickle.extend(b"X\x01\0\0\0w");
        pickle.extend(tensor(b'0', b"K\x00K\x02\x85K\x01\x85"));
    }
    pickle.push(b'u');
    let error = read(checkpoint(&pickle)).expect_err("twice");
    assert!(matches!(&error, FormatError::DuplicateName { name, .. } if name == "w"), "{error}");
}
