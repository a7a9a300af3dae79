//! Optimal transport on arrays.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use otfuse::transport::{
    CostMatrix, CostValue, Epsilon, Features, GroundCost, GroundMetric, Problem, SinkhornSettings, Solution, Solver,
    Termination, TransportError, TransportPlan, cost_matrix,
};
use pyo3::prelude::*;

use crate::costs::{costs, masses, refused};
use crate::error::input;
use crate::work::{patiently, plainly};

/// Costs, in single or double precision.
#[derive(FromPyObject)]
pub enum Costs<'py> {
    /// `float64`.
    Double(Bound<'py, PyArray2<f64>>),
    /// `float32`.
    Single(Bound<'py, PyArray2<f32>>),
}

/// Plan, cost, potentials of rows and columns, bound on the distance from the optimum, how it ended, iterations, error.
type Answer<'py> = (
    Bound<'py, PyArray2<f64>>,
    f64,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    f64,
    &'static str,
    usize,
    f64,
);

/// Problems of so many costs may take longer than a person waits.
const LARGE: usize = 1 << 18;

/// The largest relative difference between the sums of both sides.
const SAME_SUM: f64 = 1e-6;

fn problem<'py, T: CostValue + numpy::Element>(
    cost: &Bound<'py, PyArray2<T>>,
    a: Option<&Bound<'py, PyArray1<f64>>>,
    b: Option<&Bound<'py, PyArray1<f64>>>,
    is_balanced: bool,
) -> PyResult<(Problem<T>, f64)> {
    let py = cost.py();
    let cost = costs(cost)?;
    let (rows, columns) = cost.shape();
    let ((a, mass), (b, other)) = (masses(a, rows, py)?, masses(b, columns, py)?);
    if is_balanced && (mass - other).abs() > SAME_SUM * mass.abs().max(other.abs()) {
        let error = TransportError::TotalMass { expected: "the same on both sides", total: other };
        return Err(refused(py, &error));
    }
    let problem = plainly(py, || Problem::new(cost, a, b))?.map_err(|error| refused(py, &error))?;
    Ok((problem, mass))
}

fn dense<'py>(py: Python<'py>, plan: &TransportPlan, mass: f64) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let (rows, columns) = plan.shape();
    let mut masses = match plan {
        TransportPlan::Dense(plan) => plan.as_slice().to_vec(),
        plan => plan.to_dense(),
    };
    if mass != 1.0 {
        masses.iter_mut().for_each(|value| *value *= mass);
    }
    masses.into_pyarray(py).reshape([rows, columns])
}

fn answer<'py>(py: Python<'py>, found: Solution, mass: f64) -> PyResult<Answer<'py>> {
    let plan = dense(py, &found.plan, mass)?;
    let (how, iterations, error) = match found.termination {
        Termination::Converged { iterations, marginal_error } => ("converged", iterations, marginal_error),
        Termination::MaxIterations { iterations, marginal_error } => ("max_iterations", iterations, marginal_error),
        _ => ("optimal", 0, 0.0),
    };
    let (f, g) = (found.potentials.f.into_pyarray(py), found.potentials.g.into_pyarray(py));
    Ok((plan, found.cost * mass, f, g, found.gap * mass, how, iterations, error))
}

fn solved<'py, T: CostValue>(
    py: Python<'py>,
    (problem, mass): (Problem<T>, f64),
    solver: &Solver,
) -> PyResult<Answer<'py>> {
    let found = run(py, problem, solver)?;
    answer(py, found, mass)
}

/// Solves a small problem at once, a large one so that it can be interrupted.
fn run<T: CostValue>(py: Python<'_>, problem: Problem<T>, solver: &Solver) -> PyResult<Solution> {
    let (rows, columns) = problem.cost().shape();
    let found = if rows * columns < LARGE {
        plainly(py, || solver.solve(&problem))?
    } else {
        let sign = Arc::new(AtomicBool::new(false));
        let problem = problem.until(Arc::clone(&sign));
        patiently(py, &sign, || solver.solve(&problem))?
    };
    found.map_err(|error| refused(py, &error))
}

/// The exact plan.
#[pyfunction]
#[pyo3(signature = (a, b, cost))]
pub fn exact<'py>(
    py: Python<'py>,
    a: Option<&Bound<'py, PyArray1<f64>>>,
    b: Option<&Bound<'py, PyArray1<f64>>>,
    cost: Costs<'py>,
) -> PyResult<Answer<'py>> {
    match &cost {
        Costs::Double(cost) => solved(py, problem(cost, a, b, true)?, &Solver::Exact),
        Costs::Single(cost) => solved(py, problem(cost, a, b, true)?, &Solver::Exact),
    }
}

/// The entropic plan; penalties may be infinite.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn sinkhorn<'py>(
    py: Python<'py>,
    a: Option<&Bound<'py, PyArray1<f64>>>,
    b: Option<&Bound<'py, PyArray1<f64>>>,
    cost: Costs<'py>,
    reg: f64,
    tolerance: f64,
    max_iterations: usize,
    round: bool,
    penalties: (f64, f64),
) -> PyResult<Answer<'py>> {
    let settings = SinkhornSettings {
        epsilon: Epsilon::Absolute(reg),
        tolerance,
        max_iterations,
        round,
        row_penalty: penalties.0,
        column_penalty: penalties.1,
        ..SinkhornSettings::default()
    };
    let solver = Solver::Sinkhorn(settings);
    let is_balanced = penalties.0.is_infinite() && penalties.1.is_infinite();
    match &cost {
        Costs::Double(cost) => solved(py, problem(cost, a, b, is_balanced)?, &solver),
        Costs::Single(cost) => solved(py, problem(cost, a, b, is_balanced)?, &solver),
    }
}

/// The column of each row in the cheapest assignment.
#[pyfunction]
pub fn assignment<'py>(py: Python<'py>, cost: Costs<'py>) -> PyResult<(Bound<'py, PyArray1<i64>>, f64)> {
    fn columns<T: CostValue>(py: Python<'_>, cost: CostMatrix<T>) -> PyResult<(Vec<i64>, f64)> {
        let (rows, of) = cost.shape();
        if rows != of {
            let message = format!("cost: expected as many rows as columns, found {rows} and {of}");
            return Err(input(py, message, "otfuse.transport.emd takes any shape"));
        }
        let problem = plainly(py, || Problem::uniform(cost))?.map_err(|error| refused(py, &error))?;
        let found = run(py, problem, &Solver::Exact)?;
        let plan = found.plan.to_permutation();
        let plan =
            plan.ok_or_else(|| input(py, "cost: no assignment was found", "otfuse.transport.emd finds a plan"))?;
        Ok((plan.as_slice().iter().map(|&column| column as i64).collect(), found.cost * rows as f64))
    }
    let (columns, total) = match &cost {
        Costs::Double(cost) => columns(py, costs(cost)?)?,
        Costs::Single(cost) => columns(py, costs(cost)?)?,
    };
    Ok((columns.into_pyarray(py), total))
}

/// Distances between rows of features.
#[pyfunction]
pub fn ground_cost<'py>(
    py: Python<'py>,
    left: PyReadonlyArray2<'py, f32>,
    right: PyReadonlyArray2<'py, f32>,
    metric: &str,
    normalize: bool,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let metric = match metric {
        "euclidean" => GroundMetric::Euclidean,
        "sqeuclidean" => GroundMetric::SquaredEuclidean,
        "cosine" => GroundMetric::Cosine,
        other => {
            let message = format!("metric: expected euclidean, sqeuclidean or cosine, found '{other}'");
            return Err(input(py, message, "metric=\"sqeuclidean\" is the default"));
        }
    };
    let shapes = [(left.shape()[0], left.shape()[1]), (right.shape()[0], right.shape()[1])];
    let flat = |array: &PyReadonlyArray2<'py, f32>| array.as_slice().map(<[f32]>::to_vec);
    let (left, right) = (flat(&left)?, flat(&right)?);
    let made = plainly(py, || {
        let left = Features::new(shapes[0].0, shapes[0].1, &left)?;
        let right = Features::new(shapes[1].0, shapes[1].1, &right)?;
        cost_matrix(GroundCost { metric, normalize }, &left, &right)
    })?;
    let made = made.map_err(|error| refused(py, &error))?;
    let shape = made.shape();
    made.into_vec().into_pyarray(py).reshape([shape.0, shape.1])
}
