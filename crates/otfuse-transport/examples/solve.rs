//! Solves a transport problem and prints one JSON object.
//!
//! usage: solve [--solver exact|sinkhorn] [--epsilon-relative 0.05] [--tolerance 1e-9] [--epsilon-factor 0.25]
//!              [--repeat N] [--single] FILE.npz
//!        solve [...] --random N [--kind uniform|whole|line|product] [--seed S]
//!        solve [...] --points N --dimension D [--seed S] [--stored] [--permuted]
//!
//! The file holds `cost` (`n x m`, float64; `--single` stores it in single precision) and may hold the masses `a` and `b`
//! (float64; otherwise uniform). `--random` makes `N x N` costs
//! in single precision: uniform between 0 and 1, whole numbers from 0 to 9, squared distances on a line, products of two factors. `--points` assigns uniformly distributed points to others by their
//! Euclidean distance, without storing costs; with `--stored` costs are stored in single precision,
//! with `--permuted` the others are the same, moved a little. `seconds` is the
//! median time of the solver alone (with `--points` but not `--stored`, that of computing costs included), `cpu_seconds`
//! that of its processors (Linux; elsewhere the same as `seconds`).
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::File;
use std::io::{Read, Seek};
use std::time::Instant;

use otfuse_transport::{
    CostMatrix, CostValue, Epsilon, Features, GroundMetric, Marginals, Problem, SinkhornSettings, Solver,
    assign_features, certificate, cost_matrix,
};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut solver, mut epsilon, mut tolerance, mut repeat) = ("exact".to_owned(), 0.05, 1e-9, 1);
    let (mut path, mut single, mut random, mut seed) = (None, false, None, 0);
    let (mut points, mut dimension, mut stored, mut factor) = (None, 64, false, 0.25);
    let (mut permuted, mut kind) = (false, "uniform".to_owned());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--solver" => solver = value()?,
            "--epsilon-relative" => epsilon = value()?.parse()?,
            "--tolerance" => tolerance = value()?.parse()?,
            "--epsilon-factor" => factor = value()?.parse()?,
            "--repeat" => repeat = value()?.parse::<usize>()?.max(1),
            "--single" => single = true,
            "--random" => random = Some(value()?.parse::<usize>()?),
            "--points" => points = Some(value()?.parse::<usize>()?),
            "--dimension" => dimension = value()?.parse()?,
            "--stored" => stored = true,
            "--permuted" => permuted = true,
            "--kind" => kind = value()?,
            "--seed" => seed = value()?.parse()?,
            _ => path = Some(argument),
        }
    }
    let solver = match solver.as_str() {
        "exact" => Solver::Exact,
        "sinkhorn" => {
            let epsilon = Epsilon::RelativeToMean(epsilon);
            Solver::Sinkhorn(SinkhornSettings {
                epsilon,
                tolerance,
                epsilon_factor: factor,
                ..SinkhornSettings::default()
            })
        }
        other => return Err(format!("unknown solver `{other}`, expected exact or sinkhorn").into()),
    };
    if let Some(n) = random {
        return report(&solver, repeat, CostMatrix::from_f32(n, n, costs(&kind, n, seed)?)?);
    }
    if let Some(n) = points {
        let entries = n.checked_mul(dimension).ok_or("too large")?;
        let (x, mut y) = (uniform(entries, seed), uniform(entries, !seed));
        if permuted {
            y.iter_mut().zip(&x).for_each(|(y, x)| *y = x + 0.1 * *y);
            y.rotate_left(dimension * (n / 3));
        }
        let (left, right) = (Features::new(n, dimension, &x)?, Features::new(n, dimension, &y)?);
        if !stored {
            return report_points(repeat, &left, &right);
        }
        let cost = cost_matrix(GroundMetric::Euclidean, &left, &right)?.into_vec();
        return report(&solver, repeat, CostMatrix::from_f32(n, n, cost.into_iter().map(|c| c as f32).collect())?);
    }
    let (cost, a, b) = read(&path.ok_or("which file?")?)?;
    if single {
        let (rows, columns) = cost.shape();
        let data = cost.into_vec().into_iter().map(|c| c as f32).collect();
        return report_problem(&solver, repeat, Problem::new(CostMatrix::from_f32(rows, columns, data)?, a, b)?);
    }
    report_problem(&solver, repeat, Problem::new(cost, a, b)?)
}

fn report<T: CostValue>(solver: &Solver, repeat: usize, cost: CostMatrix<T>) -> Result<(), Box<dyn Error>> {
    report_problem(solver, repeat, Problem::uniform(cost)?)
}

fn report_problem<T: CostValue>(solver: &Solver, repeat: usize, problem: Problem<T>) -> Result<(), Box<dyn Error>> {
    let (seconds, cpu_seconds, solution) = timed(repeat, || solver.solve(&problem))?;
    let proof = certificate(&problem, &solution)?;
    let (n, m) = problem.cost().shape();
    let report = serde_json::json!({
        "n": n,
        "m": m,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "cost": solution.cost,
        "gap": solution.gap,
        "termination": format!("{:?}", solution.termination),
        "dual_infeasibility": proof.dual_infeasibility,
        "marginal_error": proof.row_error.max(proof.column_error),
    });
    println!("{report}");
    Ok(())
}

/// The costs and the masses of a file.
fn read(path: &str) -> Result<(CostMatrix, Marginals, Marginals), Box<dyn Error>> {
    let mut archive = zip::ZipArchive::new(File::open(path)?)?;
    let file = npyz::NpyFile::new(archive.by_name("cost.npy")?)?;
    let (&[rows, columns], npyz::Order::C) = (file.shape(), file.order()) else {
        return Err(format!("cost has the shape {:?}, expected two axes in C order", file.shape()).into());
    };
    let cost = CostMatrix::new(rows as usize, columns as usize, file.into_vec::<f64>()?)?;
    let a = read_masses(&mut archive, "a.npy", cost.rows())?;
    let b = read_masses(&mut archive, "b.npy", cost.columns())?;
    Ok((cost, a, b))
}

fn read_masses(
    archive: &mut zip::ZipArchive<impl Read + Seek>,
    name: &str,
    len: usize,
) -> Result<Marginals, Box<dyn Error>> {
    match archive.by_name(name) {
        Ok(file) => Ok(Marginals::from_weights(&npyz::NpyFile::new(file)?.into_vec::<f64>()?)?),
        Err(zip::result::ZipError::FileNotFound) => Ok(Marginals::uniform(len)?),
        Err(error) => Err(error.into()),
    }
}

/// Assigns features without a matrix of costs.
fn report_points(repeat: usize, left: &Features<'_>, right: &Features<'_>) -> Result<(), Box<dyn Error>> {
    let (seconds, cpu_seconds, solution) =
        timed(repeat, || assign_features(GroundMetric::Euclidean, left, right, None))?;
    let report = serde_json::json!({
        "n": left.rows(),
        "m": right.rows(),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "cost": solution.cost,
        "gap": solution.gap,
        "termination": format!("{:?}", solution.termination),
    });
    println!("{report}");
    Ok(())
}

/// The median time, that of processors, and the result.
fn timed<S, E: Error + 'static>(
    repeat: usize,
    solve: impl Fn() -> Result<S, E>,
) -> Result<(f64, f64, S), Box<dyn Error>> {
    let (mut seconds, mut cpu_seconds) = (Vec::with_capacity(repeat), Vec::with_capacity(repeat));
    let mut solution = None;
    for _ in 0..repeat {
        let (start, cpu_start) = (Instant::now(), cpu_nanoseconds());
        solution = Some(solve()?);
        let wall = start.elapsed().as_secs_f64();
        seconds.push(wall);
        cpu_seconds.push(cpu_start.zip(cpu_nanoseconds()).map_or(wall, |(from, to)| (to - from) as f64 * 1e-9));
    }
    seconds.sort_by(f64::total_cmp);
    cpu_seconds.sort_by(f64::total_cmp);
    Ok((seconds[repeat / 2], cpu_seconds[repeat / 2], solution.ok_or("nothing was solved")?))
}

/// What all threads have run for, where the system says.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn cpu_nanoseconds() -> Option<u64> {
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
    }
    const PROCESS: i32 = 2;
    let mut time = [0; 2];
    // SAFETY: on 64-bit Linux `timespec` is two 64-bit numbers, seconds and nanoseconds, and `time` outlives the call.
    let failed = unsafe { clock_gettime(PROCESS, &mut time) } != 0;
    (!failed).then_some(time[0] as u64 * 1_000_000_000 + time[1] as u64)
}

/// Elsewhere nobody is asked.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn cpu_nanoseconds() -> Option<u64> {
    None
}

/// Costs of a kind.
fn costs(kind: &str, n: usize, seed: u64) -> Result<Vec<f32>, Box<dyn Error>> {
    let entries = n.checked_mul(n).ok_or("too large")?;
    let (x, y) = (uniform(n, seed), uniform(n, !seed));
    let pair = |cost: fn(f32, f32) -> f32| x.iter().flat_map(|x| y.iter().map(move |y| cost(*x, *y))).collect();
    match kind {
        "uniform" => Ok(uniform(entries, seed)),
        "whole" => Ok(uniform(entries, seed).into_iter().map(|c| (10.0 * c).floor()).collect()),
        "line" => Ok(pair(|x, y| (x - y) * (x - y))),
        "product" => Ok(pair(|x, y| x * y)),
        other => Err(format!("unknown kind `{other}`, expected uniform, whole, line or product").into()),
    }
}

/// Pseudo-random numbers between 0 and 1: the high bits of a linear congruential sequence.
fn uniform(entries: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..entries).map(|_| next()).collect()
}
