//! Situations that people met with their own networks, made anew with small ones: a module for each kind, its files in
//! `files/KIND`, which `make/KIND.py FOLDER` makes anew.

mod bn_training_mode;
mod castlike;
mod desk;
mod dynamic_hw;
mod exported;
mod int8_onnx;
mod nothing_to_fuse;
mod skl_pipeline_scaler;
mod fp16_intermediate;
mod mergekit_config;
mod nothing_aligned;
mod other_zip_formats;
mod tied_weights_untied;
mod unused_odd_buffers;
mod wrapped_checkpoints;
mod hf_bf16_with_f32;
mod lora_folder;
