//! Floats of 8 bits (P. Micikevicius et al., "FP8 Formats for Deep Learning", 2022), which are computed with as float32.

use otfuse_graph::{DataType, Tensor};

/// A format of 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Float8 {
    /// 4 bits of exponent, 3 of mantissa, no infinity: up to 448.
    E4M3,
    /// 5 bits of exponent, 2 of mantissa: up to 57,344.
    E5M2,
}

impl Float8 {
    /// The format that a `torch.dtype` or a storage class of this name has.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        match name {
            "float8_e4m3fn" | "Float8_e4m3fnStorage" => Some(Self::E4M3),
            "float8_e5m2" | "Float8_e5m2Storage" => Some(Self::E5M2),
            _ => None,
        }
    }

    /// Bits of the mantissa, bias of the exponent, the code of the largest number.
    fn parts(self) -> (u32, i32, u8) {
        match self {
            Self::E4M3 => (3, 7, 0x7e),
            Self::E5M2 => (2, 15, 0x7b),
        }
    }

    /// The number that a code stands for.
    pub(super) fn decode(self, code: u8) -> f32 {
        let (bits, bias, largest) = self.parts();
        let (sign, code) = (if code & 0x80 == 0 { 1.0 } else { -1.0 }, code & 0x7f);
        if code > largest {
            let is_infinite = self == Self::E5M2 && code == 0x7c;
            return if is_infinite { sign * f32::INFINITY } else { f32::NAN };
        }
        let (exponent, mantissa) = (i32::from(code >> bits), f32::from(code & ((1 << bits) - 1)));
        let step = 2.0_f32.powi(exponent.max(1) - bias - bits as i32);
        let implied = if exponent > 0 { (1u32 << bits) as f32 } else { 0.0 };
        sign * (implied + mantissa) * step
    }

    /// The code of the nearest number, of the even one of two; `None` for what is no number or beyond the largest.
    pub(super) fn encode(self, value: f32) -> Option<u8> {
        let (_, _, largest) = self.parts();
        let sign = if value.is_sign_negative() { 0x80 } else { 0 };
        let magnitude = value.abs();
        // Codes of magnitudes are in the order of the numbers.
        let (mut low, mut high) = (0, largest);
        if !magnitude.is_finite() {
            return None;
        }
        if magnitude >= self.decode(largest) {
            // As rounding would, up to half a step beyond the largest number.
            let half = (self.decode(largest) - self.decode(largest - 1)) / 2.0;
            return (magnitude <= self.decode(largest) + half).then_some(sign | largest);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.decode(middle) <= magnitude { low = middle } else { high = middle }
        }
        let (below, above) = (magnitude - self.decode(low), self.decode(high) - magnitude);
        let is_low = below < above || (below == above && low % 2 == 0);
        Some(sign | if is_low { low } else { high })
    }

    /// A tensor of these codes as float32.
    pub(super) fn widened(self, shape: Vec<usize>, codes: &[u8]) -> Tensor {
        Tensor::from_f32(&shape, codes.iter().map(|&code| self.decode(code)).collect())
    }

    /// The codes of a tensor's numbers; `None` as [`encode`](Self::encode).
    pub(super) fn narrowed(self, tensor: &Tensor) -> Option<Vec<u8>> {
        let values = tensor.to_f32().filter(|_| tensor.data_type() == DataType::F32)?;
        values.into_iter().map(|value| self.encode(value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_keeps_its_code() {
        for kind in [Float8::E4M3, Float8::E5M2] {
            for code in 0..=u8::MAX {
                let value = kind.decode(code);
                assert_eq!(kind.encode(value), value.is_finite().then_some(code), "{kind:?} {code:#x}");
            }
        }
        assert_eq!((Float8::E4M3.decode(0x7e), Float8::E5M2.decode(0x7b)), (448.0, 57344.0));
        assert_eq!((Float8::E4M3.decode(0x01), Float8::E5M2.decode(0x01)), (2.0_f32.powi(-9), 2.0_f32.powi(-16)));
        assert_eq!((Float8::E4M3.decode(0x38), Float8::E5M2.decode(0x3c)), (1.0, 1.0));
    }

    #[test]
    fn numbers_between_go_to_the_nearest() {
        // 1 and 1.125 are neighbours: 8/8 and 9/8.
        assert_eq!(Float8::E4M3.encode(1.06).map(|code| Float8::E4M3.decode(code)), Some(1.0));
        assert_eq!(Float8::E4M3.encode(1.0625).map(|code| Float8::E4M3.decode(code)), Some(1.0));
        assert_eq!(Float8::E4M3.encode(-1.07).map(|code| Float8::E4M3.decode(code)), Some(-1.125));
        assert_eq!((Float8::E4M3.encode(464.0), Float8::E4M3.encode(465.0)), (Some(0x7e), None));
        assert_eq!(Float8::E5M2.encode(f32::INFINITY), None);
    }
}
