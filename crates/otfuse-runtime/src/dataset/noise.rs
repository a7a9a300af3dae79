//! Noise as samples: what generators make their outputs of.

use std::fmt;
use std::str::FromStr;

use super::DatasetError;

/// How noise is distributed, each number by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoiseLaw {
    /// Mean 0, deviation 1.
    Normal,
    /// From -1 to 1.
    Uniform,
}

/// Noise to be drawn: `normal` or `uniform`, and how many samples of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    /// How it is distributed.
    pub law: NoiseLaw,
    /// How many samples; as many as are needed if it is not said.
    pub count: Option<usize>,
}

/// The most samples that are drawn.
const MOST: usize = 1 << 24;

impl FromStr for Noise {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        let (law, count) = text.split_once(',').map_or((text, None), |(law, count)| (law, Some(count)));
        let law = match law {
            "normal" => Some(NoiseLaw::Normal),
            "uniform" => Some(NoiseLaw::Uniform),
            _ => None,
        };
        let wrong = || DatasetError::Spec {
            found: format!("noise:{text}"),
            expected: format!(
                "noise:normal or noise:uniform, with a number of samples from 1 to {MOST}: noise:normal,1000"
            ),
            closest: None,
        };
        let law = law.ok_or_else(wrong)?;
        let count = count.map(|count| count.parse().ok().filter(|count| (1..=MOST).contains(count)).ok_or_else(wrong));
        Ok(Self { law, count: count.transpose()? })
    }
}

impl fmt::Display for NoiseLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Uniform => "uniform",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_law_and_a_number() {
        let read = |text: &str| text.parse::<Noise>();
        assert_eq!(read("normal").unwrap(), Noise { law: NoiseLaw::Normal, count: None });
        assert_eq!(read("uniform,20").unwrap(), Noise { law: NoiseLaw::Uniform, count: Some(20) });
        for wrong in ["", "gauss", "normal,0", "normal,x", "normal,99999999999"] {
            assert!(read(wrong).unwrap_err().to_string().contains("noise:normal,1000"), "{wrong}");
        }
    }
}
