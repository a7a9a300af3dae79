//! One file per command.

pub mod convert;
pub mod demo;
pub mod eval;
pub mod fuse;
pub mod inspect;
pub mod prune;
pub mod run;
pub mod sweep;
pub mod verify;
