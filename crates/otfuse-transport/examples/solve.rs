//! Solves a transport problem with uniform marginals and prints one JSON object.
//!
//! usage: solve [--solver exact|sinkhorn] [--epsilon-relative 0.05] [--tolerance 1e-9] [--repeat N] [--single] FILE.npz
//!        solve [...] --random N [--seed S]
//!
//! The file holds `cost` (`n x m`, float64; `--single` stores it in single precision). `--random` makes `N x N` costs
//! in single precision, uniform between 0 and 1. `seconds` is the median time of the solver alone.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::File;
use std::time::Instant;

use otfuse_transport::{CostMatrix, CostValue, Epsilon, Problem, SinkhornSettings, Solver, certificate};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut solver, mut epsilon, mut tolerance, mut repeat) = ("exact".to_owned(), 0.05, 1e-9, 1);
    let (mut path, mut single, mut random, mut seed) = (None, false, None, 0);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--solver" => solver = value()?,
            "--epsilon-relative" => epsilon = value()?.parse()?,
            "--tolerance" => tolerance = value()?.parse()?,
            "--repeat" => repeat = value()?.parse::<usize>()?.max(1),
            "--single" => single = true,
            "--random" => random = Some(value()?.parse::<usize>()?),
            "--seed" => seed = value()?.parse()?,
            _ => path = Some(argument),
        }
    }
    let solver = match solver.as_str() {
        "exact" => Solver::Exact,
        "sinkhorn" => {
            let epsilon = Epsilon::RelativeToMean(epsilon);
            Solver::Sinkhorn(SinkhornSettings { epsilon, tolerance, ..SinkhornSettings::default() })
        }
        other => return Err(format!("unknown solver `{other}`, expected exact or sinkhorn").into()),
    };
    if let Some(n) = random {
        return report(&solver, repeat, random_cost(n, seed)?);
    }
    let cost = read_cost(&path.ok_or("which file?")?)?;
    if single {
        let (rows, columns) = cost.shape();
        let data = cost.into_vec().into_iter().map(|c| c as f32).collect();
        return report(&solver, repeat, CostMatrix::from_f32(rows, columns, data)?);
    }
    report(&solver, repeat, cost)
}

fn report<T: CostValue>(solver: &Solver, repeat: usize, cost: CostMatrix<T>) -> Result<(), Box<dyn Error>> {
    let problem = Problem::uniform(cost)?;
    let mut seconds = Vec::with_capacity(repeat);
    let mut solution = None;
    for _ in 0..repeat {
        let start = Instant::now();
        solution = Some(solver.solve(&problem)?);
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let solution = solution.ok_or("nothing was solved")?;
    let proof = certificate(&problem, &solution)?;
    let (n, m) = problem.cost().shape();
    let report = serde_json::json!({
        "n": n,
        "m": m,
        "seconds": seconds[repeat / 2],
        "cost": solution.cost,
        "gap": solution.gap,
        "termination": format!("{:?}", solution.termination),
        "dual_infeasibility": proof.dual_infeasibility,
        "marginal_error": proof.row_error.max(proof.column_error),
    });
    println!("{report}");
    Ok(())
}

fn read_cost(path: &str) -> Result<CostMatrix, Box<dyn Error>> {
    let mut archive = zip::ZipArchive::new(File::open(path)?)?;
    let file = npyz::NpyFile::new(archive.by_name("cost.npy")?)?;
    let (&[rows, columns], npyz::Order::C) = (file.shape(), file.order()) else {
        return Err(format!("cost has the shape {:?}, expected two axes in C order", file.shape()).into());
    };
    Ok(CostMatrix::new(rows as usize, columns as usize, file.into_vec::<f64>()?)?)
}

/// Pseudo-random costs: the high bits of a linear congruential sequence.
fn random_cost(n: usize, seed: u64) -> Result<CostMatrix<f32>, Box<dyn Error>> {
    let entries = n.checked_mul(n).ok_or("too large")?;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    Ok(CostMatrix::from_f32(n, n, (0..entries).map(|_| next()).collect())?)
}
