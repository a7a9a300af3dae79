//! What a network learned since, as a vector of weights: carried over to another network.

mod lora;
mod report;
mod transport;

pub use lora::{
    ExtractOptions, ExtractReport, ExtractedLayer, ExtractedLora, LoraAdapter, MergeLoraReport, MergedAdapter,
    MergedLora, adapted, extract_lora, merge_lora,
};
pub use report::{TransportMeasures, TransportRehearsal, TransportReport, TransportSeconds};
pub use transport::{TransportOptions, Transported, rehearse_transport, transport_task_vector};
