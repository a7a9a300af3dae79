//! What `cubecl-cuda` names of `cubecl-llvm`, without LLVM.
//!
//! `cubecl-cuda` 0.11 always links two compilers of kernels: CUDA C++, which NVRTC translates when a kernel is first
//! used, and LLVM. The build script of the second downloads LLVM, so that nothing that depends on it builds without a
//! network. otfuse asks for the first (the feature `cpp`), and this crate lets it be built without the second: it has
//! the same types, and its compiler refuses every kernel. It is never asked to compile one.

use cubecl_core::Compiler;
use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_environment::backtrace::BackTrace;
use cubecl_runtime::compiler::CompilationError;
use cubecl_runtime::kernel::BufferIOAttr;
use nvptx::ptx_version::PtxVersion;
use std::fmt;

/// What belongs to NVIDIA's assembly.
pub mod nvptx {
    /// Versions of the assembly.
    pub mod ptx_version {
        use std::fmt;

        /// The version of a driver, as the driver reports it (12.8 is 12080). Only the LLVM compiler reads it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(i32);

        impl PtxVersion {
            /// The version of a driver.
            pub fn for_driver(driver: i32) -> Option<Self> {
                Some(Self(driver))
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "driver{}", self.0)
            }
        }
    }
}

/// What all targets share.
pub mod shared {
    /// What a device may be said to do.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// The target that a device's properties are narrowed for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            /// NVIDIA.
            Nvptx,
        }

        /// Narrows nothing: it is called only where LLVM compiles kernels.
        pub fn restrict_features(_properties: &mut DeviceProperties, _target: GpuTarget) {}
    }
}

/// The target of the compiler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    /// NVIDIA.
    #[default]
    Nvptx,
}

/// A compiler that refuses every kernel.
#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    /// The target.
    pub target: LlvmTarget,
}

/// Options of [`PlironCompiler`].
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// The architecture of an AMD device; there are none here.
    pub arch: Option<()>,
    /// The architecture of an NVIDIA device.
    pub sm_arch: Option<SmArch>,
    /// The version of the assembly to write.
    pub ptx_version: Option<PtxVersion>,
    /// Whether scalars are passed with the kernel's parameters.
    pub grid_constants: bool,
    /// The alignment of buffers on a CPU.
    pub cpu_buffer_alignment: Option<u32>,
}

/// A compiled kernel. None is ever made.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// Assembly, ended by a zero.
    pub ptx: Vec<std::ffi::c_char>,
    /// Name of the kernel in the assembly.
    pub entrypoint: String,
    /// Intermediate code, for logs.
    pub ir: String,
    /// Shared memory of a launch, in bytes.
    pub shared_memory_size: usize,
    /// What the kernel does with each of its buffers.
    pub io: Vec<BufferIOAttr>,
}

/// What a compiler makes of a kernel. None is ever made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PlironArtifact {
    /// A kernel for NVIDIA.
    NvptxCode(NvptxModule),
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NvptxCode(module) => formatter.write_str(&module.ir),
        }
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(&mut self, _: KernelDefinition, _: &PlironOptions) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic {
            reason: "this program was built without LLVM; its kernels are compiled as CUDA C++".into(),
            backtrace: BackTrace::capture(),
        })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}
