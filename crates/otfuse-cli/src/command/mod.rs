//! One file per command.

pub mod align;
pub mod compare;
pub mod convert;
pub mod demo;
pub mod distill;
pub mod eval;
pub mod experiment;
pub mod finetune;
pub mod fuse;
pub mod inspect;
pub mod interpolate;
pub mod prune;
pub mod run;
pub mod sweep;
pub mod train;
pub mod verify;
