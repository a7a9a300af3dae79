//! Situations that people met with their own networks, made anew with small ones: a module for each kind, its files in
//! `files/KIND`, which `make/KIND.py FOLDER` makes anew.

mod bn_training_mode;
mod castlike;
mod checkpoints;
mod desk;
mod dynamic_hw;
mod exported;
mod fp16_intermediate;
mod hf_bf16_with_f32;
mod int8_onnx;
mod lora_folder;
mod mergekit_config;
mod nothing_aligned;
mod nothing_to_fuse;
mod other_zip_formats;
mod skl_pipeline_scaler;
mod tied_weights_untied;
mod unused_odd_buffers;
mod wrapped_checkpoints;
