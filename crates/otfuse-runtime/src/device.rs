//! Where networks are computed.

use std::fmt;

/// The backend of the CPU: Burn's portable one, in float32.
pub(crate) type Cpu = burn_flex::Flex;

/// The backend of GPUs, which is the same for all kinds of them.
#[cfg(feature = "wgpu")]
pub(crate) type Gpu = burn_wgpu::CubeBackend;
/// The backend of GPUs, which is the same for all kinds of them.
#[cfg(all(feature = "cuda", not(feature = "wgpu")))]
pub(crate) type Gpu = burn_cuda::Cuda;

/// What the backend of GPUs calls a device.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub(crate) type GpuDevice = burn_backend::tensor::Device<Gpu>;

/// Where networks are computed: the CPU, or a GPU where the crate is built with the feature `cuda` or `wgpu`.
///
/// The default is the CPU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Device(Kind);

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Kind {
    #[default]
    Cpu,
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    Gpu(GpuDevice),
}

/// A device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum DeviceError {
    /// The name is not understood.
    #[error("the device '{found}' is not understood; expected cpu, cuda, cuda:N or wgpu")]
    Unknown { found: String },
    /// Support for it was left out when the program was built.
    #[error("the device '{device}' needs a program built with the feature '{feature}'")]
    NotBuilt { device: String, feature: &'static str },
    /// There is no such device, or its driver is missing.
    #[error("the device '{device}' cannot be used: expected {expected}, found {found}")]
    Absent { device: String, expected: &'static str, found: String },
}

impl DeviceError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { .. } => "for example --device cuda:0".into(),
            Self::NotBuilt { feature, .. } => format!("build it with cargo build --release --features {feature}"),
            Self::Absent { .. } => "install the device's driver, or leave --device out to compute on the CPU".into(),
        }
    }
}

impl Device {
    /// The CPU.
    pub fn cpu() -> Self {
        Self(Kind::Cpu)
    }

    /// The device of a name: `cpu`, `cuda` (or `cuda:N`, counted from 0), `wgpu` (the first that Vulkan, Metal or DirectX
    /// offer). GPUs are looked for and set up.
    ///
    /// # Errors
    /// A name that is not understood, support that is not built in, a device or driver that is missing.
    pub fn open(name: &str) -> Result<Self, DeviceError> {
        let (kind, number) = name.split_once(':').map_or((name, None), |(kind, number)| (kind, Some(number)));
        let unknown = || DeviceError::Unknown { found: name.to_owned() };
        match (kind, number) {
            ("cpu", None) => Ok(Self::cpu()),
            ("cuda", number) => {
                let number: u16 = number.unwrap_or("0").parse().map_err(|_| unknown())?;
                cuda(name, number)
            }
            ("wgpu", None) => wgpu(name),
            _ => Err(unknown()),
        }
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Cpu => f.write_str("cpu"),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            Kind::Gpu(device) => write!(f, "{device:?}"),
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(name: &str, _: u16) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { device: name.to_owned(), feature: "cuda" })
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(name: &str) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { device: name.to_owned(), feature: "wgpu" })
}

/// Asks whether the driver has such a device: the backend panics where it has not.
#[cfg(feature = "cuda")]
fn cuda(name: &str, number: u16) -> Result<Device, DeviceError> {
    match GpuDevice::cuda(usize::from(number)) {
        Ok(device) => Ok(Device(Kind::Gpu(device))),
        Err(error) => {
            let expected = "a device of NVIDIA's driver, counted from 0";
            Err(DeviceError::Absent { device: name.to_owned(), expected, found: error.to_string() })
        }
    }
}

/// Sets the device up once; where there is no adapter, the setup says so.
#[cfg(feature = "wgpu")]
fn wgpu(name: &str) -> Result<Device, DeviceError> {
    use burn_wgpu::graphics::AutoGraphicsApi;
    use burn_wgpu::{RuntimeOptions, WgpuDevice, WgpuInitError, try_init_setup};

    let device = WgpuDevice::default();
    let options = RuntimeOptions::try_default();
    match options.and_then(|options| try_init_setup::<AutoGraphicsApi>(&device, options)) {
        // The second time the device is there already.
        Ok(_) | Err(WgpuInitError::Registration { .. }) => Ok(Device(Kind::Gpu(device.into()))),
        Err(error) => {
            let expected = "an adapter of Vulkan, Metal or DirectX";
            Err(DeviceError::Absent { device: name.to_owned(), expected, found: error.to_string() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(Device::open("cpu"), Ok(Device::default()));
        for name in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "wgpu:1", "CUDA"] {
            assert!(matches!(Device::open(name), Err(DeviceError::Unknown { .. })), "{name}");
        }
    }

    /// A device that is not there is an error, whatever is built in; one that is there works.
    #[test]
    fn what_is_missing_is_said() {
        for name in ["cuda", "cuda:99", "wgpu"] {
            if let Err(error) = Device::open(name) {
                assert!(error.to_string().contains(name) && !error.hint().is_empty(), "{error}");
            }
        }
    }
}
