//! Typed ids: an id of one kind cannot be used as another.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            /// The id of the element at `index` of its table.
            ///
            /// # Panics
            /// From 2^32 on; a file of a network cannot name that many elements.
            pub fn new(index: usize) -> Self {
                Self(u32::try_from(index).expect("fewer than 2^32 elements"))
            }

            /// The position in its table.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}
pub(crate) use id;

id!(
    /// A tensor that flows through a [`Graph`](crate::Graph): an input, an initializer or an output of a node.
    ValueId,
    "v"
);
id!(
    /// A node of a [`Graph`](crate::Graph): one application of an operator.
    NodeId,
    "n"
);
