//! Situations that people met with their own networks, made anew with small ones: a module for each kind, its files in
//! `files/KIND`, which `make/KIND.py FOLDER` makes anew.

mod desk;
mod hf_bf16_with_f32;
mod lora_folder;
