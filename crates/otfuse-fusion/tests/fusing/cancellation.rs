//! Observers that stop the work.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use otfuse_fusion::{FusionError, Merging, Networks, Progress, Repair, RepairError, Settings, fuse, repair};

use crate::networks::{go_on, mlp};

fn networks() -> Networks {
    let models = [1, 2, 3].map(|seed| mlp(&[4, 8, 6, 2], seed));
    Networks::new(&[&models[0], &models[1], &models[2]], 0).unwrap()
}

#[test]
fn the_observer_stops_the_work_where_it_says() {
    for settings in [Settings::default(), Settings::converged(), Settings::git_rebasin()] {
        let stops: [fn(&Progress) -> bool; 2] =
            [|it| matches!(it, Progress::Aligned { .. }), |it| *it == Progress::Merging];
        for stop in stops {
            let asked = AtomicUsize::new(0);
            let observer = |progress: Progress| {
                // Once it has stopped the work it is not asked again.
                assert_eq!(asked.load(Ordering::Relaxed), 0);
                match stop(&progress) {
                    true => {
                        asked.store(1, Ordering::Relaxed);
                        ControlFlow::Break(())
                    }
                    false => ControlFlow::Continue(()),
                }
            };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            let error = pool.install(|| fuse(&networks(), &settings, &Merging::mean(), None, &observer)).unwrap_err();
            assert!(matches!(error, FusionError::Cancelled), "{error}");
            assert_eq!(asked.load(Ordering::Relaxed), 1);
        }
    }
}

#[test]
fn every_group_of_every_model_is_reported() {
    let aligned = AtomicUsize::new(0);
    let observer = |progress: Progress| {
        aligned.fetch_add(usize::from(matches!(progress, Progress::Aligned { .. })), Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    fuse(&networks(), &Settings::default(), &Merging::mean(), None, &observer).unwrap();
    assert_eq!(aligned.into_inner(), 4);
}

#[test]
fn repairs_that_need_samples_say_so() {
    let networks = networks();
    let fusion = fuse(&networks, &Settings::default(), &Merging::mean(), None, &go_on).unwrap();
    let error =
        repair(&networks, &fusion, Repair::Renormalize, None, &mut |_, _| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, RepairError::NoSamples), "{error}");
}
