//! Arithmetic on the elements of small integer tensors. `None` stands for results that are no integer, overflow, or
//! depend on a length that is not known.

use super::fact::Element;
use super::scope::Scope;
use crate::{Binary, DataType, Dim, Unary, Variadic};
use Element::{Length, Number};

/// A function of one number. Floating-point inputs have no fraction here.
pub(super) fn unary(unary: Unary, data_type: DataType, x: &Element) -> Option<Element> {
    match (unary, x) {
        (Unary::Floor | Unary::Ceil | Unary::Round, _) => Some(x.clone()),
        (Unary::Abs | Unary::Relu, Length(_)) => Some(x.clone()),
        (Unary::Abs, Number(x)) => x.checked_abs().map(Number),
        (Unary::Relu, Number(x)) => Some(Number(*x.max(&0))),
        // A floating-point zero would change its sign.
        (Unary::Neg, Number(0)) if data_type.is_float() => None,
        (Unary::Neg, Number(x)) => x.checked_neg().map(Number),
        (Unary::Sign, Number(x)) => Some(Number(x.signum())),
        (Unary::Not, Number(x)) => Some(Number(i64::from(*x == 0))),
        (Unary::Sqrt, Number(x)) => x.checked_isqrt().filter(|root| root.checked_mul(*root) == Some(*x)).map(Number),
        _ => None,
    }
}

/// A function of two numbers of one type; `position` names the result if it becomes a new symbol.
pub(super) fn binary(
    scope: &Scope<'_>,
    position: usize,
    binary: Binary,
    data_type: DataType,
    left: &Element,
    right: &Element,
) -> Option<Element> {
    if binary.is_comparison() {
        return compare(binary, left, right).map(|truth| Number(i64::from(truth)));
    }
    let is_float = data_type.is_float();
    match (left, right) {
        (Number(left), Number(right)) => numbers(binary, is_float, *left, *right).map(Number),
        (Length(dim), Number(number)) => length_and_number(scope, position, binary, is_float, dim, *number),
        (Number(number), Length(dim)) => match binary {
            Binary::Add | Binary::Mul => length_and_number(scope, position, binary, is_float, dim, *number),
            Binary::Sub if *number > 0 => Some(scope.expression(position, format!("({number}-{dim})")).into()),
            _ => None,
        },
        (Length(left), Length(right)) => lengths(scope, position, binary, is_float, left, right),
    }
}

fn numbers(binary: Binary, is_float: bool, left: i64, right: i64) -> Option<i64> {
    // Integers have no negative zero; where a float's result would be one, it is not followed.
    let negative_zero = |result: &i64| is_float && *result == 0 && (left < 0 || right < 0);
    match binary {
        Binary::Add => left.checked_add(right),
        Binary::Sub => left.checked_sub(right),
        Binary::Mul => left.checked_mul(right).filter(|result| !negative_zero(result)),
        Binary::Div if is_float && left.checked_rem(right)? != 0 => None,
        Binary::Div => left.checked_div(right).filter(|result| !negative_zero(result)),
        Binary::Pow => left.checked_pow(u32::try_from(right).ok()?),
        Binary::Mod { truncated } => {
            let remainder = left.checked_rem(right)?;
            let opposite = remainder != 0 && (remainder < 0) != (right < 0);
            let result = if opposite && !truncated { remainder + right } else { remainder };
            Some(result).filter(|result| !negative_zero(result))
        }
        _ => None,
    }
}

fn length_and_number(
    scope: &Scope<'_>,
    position: usize,
    binary: Binary,
    is_float: bool,
    dim: &Dim,
    number: i64,
) -> Option<Element> {
    let positive = usize::try_from(number).ok().filter(|&number| number > 0);
    let result = match binary {
        Binary::Add => scope.plus(position, dim, number)?,
        Binary::Sub => scope.plus(position, dim, number.checked_neg()?)?,
        Binary::Mul if number == 0 => Dim::known(0),
        Binary::Mul => dim.checked_times(&Dim::known(positive?))?,
        Binary::Div if is_float => dim.divided_by(&Dim::known(positive?))?,
        Binary::Div => scope.quotient(position, dim, 0, positive?)?,
        Binary::Pow if number == 1 => dim.clone(),
        Binary::Mod { .. } if dim.factor().is_multiple_of(positive?) => Dim::known(0),
        Binary::Mod { .. } => scope.expression(position, format!("({dim}%{number})")),
        _ => return None,
    };
    Some(result.into())
}

fn lengths(
    scope: &Scope<'_>,
    position: usize,
    binary: Binary,
    is_float: bool,
    left: &Dim,
    right: &Dim,
) -> Option<Element> {
    let result = match binary {
        Binary::Add => scope.sum(position, left, right)?,
        Binary::Sub if left.same_symbols(right) => left.with_factor(left.factor().checked_sub(right.factor())?),
        Binary::Sub => scope.expression(position, format!("({left}-{right})")),
        Binary::Mul => left.checked_times(right)?,
        Binary::Div => match left.divided_by(right) {
            Some(quotient) => quotient,
            None if is_float => return None,
            None => scope.expression(position, format!("({left}/{right})")),
        },
        Binary::Mod { .. } if left.divided_by(right).is_some() => Dim::known(0),
        Binary::Mod { .. } => scope.expression(position, format!("({left}%{right})")),
        _ => return None,
    };
    Some(result.into())
}

/// Comparisons and logic. Lengths are not negative, whatever they are.
fn compare(binary: Binary, left: &Element, right: &Element) -> Option<bool> {
    let (least_left, most_left) = bounds(left);
    let (least_right, most_right) = bounds(right);
    let same = left == right;
    let below = if most_left < least_right {
        Some(true)
    } else if same || least_left >= most_right {
        Some(false)
    } else {
        None
    };
    let above = if least_left > most_right {
        Some(true)
    } else if same || most_left <= least_right {
        Some(false)
    } else {
        None
    };
    let truths = || Some((left.as_number()? != 0, right.as_number()? != 0));
    match binary {
        Binary::Less => below,
        Binary::GreaterOrEqual => below.map(|below| !below),
        Binary::Greater => above,
        Binary::LessOrEqual => above.map(|above| !above),
        Binary::Equal if below == Some(true) || above == Some(true) => Some(false),
        Binary::Equal => (below == Some(false) && above == Some(false)).then_some(true),
        Binary::And => truths().map(|(left, right)| left & right),
        Binary::Or => truths().map(|(left, right)| left | right),
        Binary::Xor => truths().map(|(left, right)| left ^ right),
        _ => None,
    }
}

fn bounds(element: &Element) -> (i128, i128) {
    match element {
        Number(number) => (i128::from(*number), i128::from(*number)),
        Length(_) => (0, i128::MAX),
    }
}

/// A function of any number of numbers, taken two at a time.
pub(super) fn variadic(
    scope: &Scope<'_>,
    position: usize,
    variadic: Variadic,
    data_type: DataType,
    left: &Element,
    right: &Element,
) -> Option<Element> {
    let pick = |comparison| compare(comparison, left, right).map(|left_wins| if left_wins { left } else { right });
    match variadic {
        Variadic::Sum => binary(scope, position, Binary::Add, data_type, left, right),
        Variadic::Min => pick(Binary::LessOrEqual).cloned(),
        Variadic::Max => pick(Binary::GreaterOrEqual).cloned(),
        Variadic::Mean => None,
    }
}
