//! The backend that is used where the caller does not choose one.

/// The default backend: Burn's portable CPU backend in float32.
pub type Default32 = burn_flex::Flex;

/// A device of the default backend; `DefaultDevice::default()` is the CPU.
pub type DefaultDevice = burn_flex::FlexDevice;
