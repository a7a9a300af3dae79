//! Products by Einstein's notation.

/// See [`Operator::Einsum`](super::Operator::Einsum): a letter for each axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Einsum {
    /// The axes of each input.
    pub inputs: Vec<Vec<char>>,
    /// The axes of the output; all others are summed over.
    pub output: Vec<char>,
}

impl Einsum {
    /// Reads an equation, `bij,bjk->bik`; without an arrow, the letters that stand once are those of the output, in the
    /// order of the alphabet. `None` for an ellipsis, for a letter that stands twice in one term, and for what is no
    /// equation.
    pub fn parse(equation: &str) -> Option<Self> {
        let text: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text.as_str(), None),
        };
        let term = |text: &str| -> Option<Vec<char>> {
            let letters: Vec<char> = text.chars().collect();
            let distinct = letters.iter().enumerate().all(|(at, letter)| !letters[..at].contains(letter));
            (distinct && letters.iter().all(char::is_ascii_alphabetic)).then_some(letters)
        };
        let inputs: Vec<Vec<char>> = left.split(',').map(term).collect::<Option<_>>()?;
        let output = match right {
            Some(right) => term(right)?,
            None => {
                let all: Vec<char> = inputs.concat();
                let mut once: Vec<char> = all.clone();
                once.retain(|letter| all.iter().filter(|other| *other == letter).count() == 1);
                once.sort_unstable();
                once
            }
        };
        let known = output.iter().all(|letter| inputs.iter().any(|input| input.contains(letter)));
        known.then_some(Self { inputs, output })
    }

    /// The equation.
    pub fn equation(&self) -> String {
        let inputs: Vec<String> = self.inputs.iter().map(|input| input.iter().collect()).collect();
        format!("{}->{}", inputs.join(","), self.output.iter().collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_read_and_written() {
        let round = |text: &str| Einsum::parse(text).map(|einsum| einsum.equation());
        assert_eq!(round("b i j, bjk -> bik").as_deref(), Some("bij,bjk->bik"));
        assert_eq!(round("kj,ji").as_deref(), Some("kj,ji->ik"));
        assert_eq!(round("ij->").as_deref(), Some("ij->"));
        for text in ["ii->i", "...i,ij->...j", "ij->k", "i->ii", "i1->i"] {
            assert_eq!(round(text), None, "{text}");
        }
    }
}
