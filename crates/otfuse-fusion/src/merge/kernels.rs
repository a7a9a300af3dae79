//! Loops over blocks for the widest vectors that the processor has, chosen at run time (`pulp`). Nothing is reordered and no
//! product is fused with a sum, so that all processors give the same numbers.

use half::f16;
use half::slice::HalfFloatSliceExt;
use otfuse_graph::DataType;
use pulp::Arch;

/// Runs loops, compiled for the processor's widest vectors where they are written out in `loops` itself.
#[inline(always)]
pub(super) fn wide<R>(loops: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(loops)
}

/// `into[i] = operation(into[i], values[i])`.
#[inline(always)]
pub(super) fn zip(into: &mut [f64], values: &[f64], operation: impl Fn(f64, f64) -> f64) {
    wide(|| {
        for (into, value) in into.iter_mut().zip(values) {
            *into = operation(*into, *value);
        }
    });
}

/// `into[i] = operation(into[i])`.
#[inline(always)]
pub(super) fn each(into: &mut [f64], operation: impl Fn(f64) -> f64) {
    wide(|| {
        for value in into.iter_mut() {
            *value = operation(*value);
        }
    });
}

/// Rounds to a type.
pub(super) fn round(data_type: Option<DataType>, values: &mut [f64]) {
    match data_type {
        Some(DataType::BF16) => each(values, bf16),
        Some(DataType::F32) => each(values, |value| f64::from(value as f32)),
        Some(DataType::F16) => {
            let (mut single, mut narrow) = ([0.0_f32; 256], [f16::ZERO; 256]);
            for chunk in values.chunks_mut(256) {
                let (single, narrow) = (&mut single[..chunk.len()], &mut narrow[..chunk.len()]);
                single.iter_mut().zip(chunk.iter()).for_each(|(single, value)| *single = *value as f32);
                narrow.convert_from_f32_slice(single);
                narrow.convert_to_f32_slice(single);
                chunk.iter_mut().zip(single.iter()).for_each(|(value, single)| *value = f64::from(*single));
            }
        }
        _ => {}
    }
}

/// Rounded to the nearest number of bfloat16, ties to even, by way of single precision as files are written.
#[inline(always)]
fn bf16(value: f64) -> f64 {
    let bits = (value as f32).to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000;
    let is_number = bits & 0x7fff_ffff <= 0x7f80_0000;
    f64::from(f32::from_bits(if is_number { rounded } else { 0x7fc0_0000 }))
}

/// Numbers of a file as double precision; `None` if the type has none that are read here.
pub(super) fn read(data_type: DataType, bytes: &[u8], into: &mut [f64]) -> Option<()> {
    match data_type {
        DataType::BF16 => wide(|| {
            for (into, bytes) in into.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *into = f64::from(f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16));
            }
        }),
        DataType::F32 => wide(|| {
            for (into, bytes) in into.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *into = f64::from(f32::from_le_bytes(*bytes));
            }
        }),
        DataType::F64 => wide(|| {
            for (into, bytes) in into.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *into = f64::from_le_bytes(*bytes);
            }
        }),
        DataType::F16 => {
            let (mut single, mut narrow) = ([0.0_f32; 256], [f16::ZERO; 256]);
            for (into, bytes) in into.chunks_mut(256).zip(bytes.chunks(512)) {
                let (single, narrow) = (&mut single[..into.len()], &mut narrow[..into.len()]);
                narrow
                    .iter_mut()
                    .zip(bytes.as_chunks::<2>().0)
                    .for_each(|(to, bytes)| *to = f16::from_le_bytes(*bytes));
                narrow.convert_to_f32_slice(single);
                into.iter_mut().zip(single.iter()).for_each(|(into, single)| *into = f64::from(*single));
            }
        }
        _ => return None,
    }
    Some(())
}

/// Numbers as bytes of a file; `None` if the type has none that are written here.
pub(super) fn write(data_type: DataType, values: &[f64], into: &mut [u8]) -> Option<()> {
    match data_type {
        DataType::BF16 => wide(|| {
            for (into, value) in into.as_chunks_mut::<2>().0.iter_mut().zip(values) {
                let bits = (*value as f32).to_bits();
                *into = ((bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16).to_le_bytes();
            }
        }),
        DataType::F32 => wide(|| {
            for (into, value) in into.as_chunks_mut::<4>().0.iter_mut().zip(values) {
                *into = (*value as f32).to_le_bytes();
            }
        }),
        DataType::F64 => wide(|| {
            for (into, value) in into.as_chunks_mut::<8>().0.iter_mut().zip(values) {
                *into = value.to_le_bytes();
            }
        }),
        DataType::F16 => {
            let (mut single, mut narrow) = ([0.0_f32; 256], [f16::ZERO; 256]);
            for (into, values) in into.chunks_mut(512).zip(values.chunks(256)) {
                let (single, narrow) = (&mut single[..values.len()], &mut narrow[..values.len()]);
                single.iter_mut().zip(values).for_each(|(single, value)| *single = *value as f32);
                narrow.convert_from_f32_slice(single);
                into.as_chunks_mut::<2>()
                    .0
                    .iter_mut()
                    .zip(narrow.iter())
                    .for_each(|(to, from)| *to = from.to_le_bytes());
            }
        }
        _ => return None,
    }
    Some(())
}

/// Whether all are numbers and finite.
pub(super) fn is_finite(values: &[f64]) -> bool {
    // What is not finite times 0 is no number, which sums keep.
    sum_of_zeros(values) == 0.0
}

fn sum_of_zeros(values: &[f64]) -> f64 {
    wide(|| {
        let mut sums = [0.0_f64; 8];
        let (chunks, rest) = values.as_chunks::<8>();
        for chunk in chunks {
            for at in 0..8 {
                sums[at] += chunk[at] * 0.0;
            }
        }
        sums.iter().sum::<f64>() + rest.iter().map(|value| value * 0.0).sum::<f64>()
    })
}

/// The inner product, in eight sums.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    wide(|| {
        let mut sums = [0.0_f64; 8];
        let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
        for (a, b) in a.iter().zip(b) {
            for at in 0..8 {
                sums[at] += a[at] * b[at];
            }
        }
        sums.iter().sum::<f64>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f64>()
    })
}

/// The sum of absolute values, in eight sums.
pub(super) fn sum_abs(values: &[f64]) -> f64 {
    wide(|| {
        let mut sums = [0.0_f64; 8];
        let (chunks, rest) = values.as_chunks::<8>();
        for chunk in chunks {
            for at in 0..8 {
                sums[at] += chunk[at].abs();
            }
        }
        sums.iter().sum::<f64>() + rest.iter().map(|value| value.abs()).sum::<f64>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_there_and_back() {
        let values: Vec<f64> = (0..700).map(|at| f64::from(at - 350) * 0.25).collect();
        for data_type in [DataType::BF16, DataType::F16, DataType::F32, DataType::F64] {
            let mut rounded = values.clone();
            round(Some(data_type), &mut rounded);
            let mut bytes = vec![0; values.len() * data_type.size()];
            write(data_type, &values, &mut bytes).unwrap();
            let mut found = vec![0.0; values.len()];
            read(data_type, &bytes, &mut found).unwrap();
            assert_eq!(found, rounded, "{data_type}");
        }
    }

    #[test]
    fn what_is_not_finite_is_found() {
        let mut values = vec![1.0; 1000];
        assert!(is_finite(&values));
        for (at, odd) in [(3, f64::NAN), (999, f64::INFINITY), (500, f64::NEG_INFINITY)] {
            values[at] = odd;
            assert!(!is_finite(&values));
            values[at] = 1.0;
        }
    }
}
