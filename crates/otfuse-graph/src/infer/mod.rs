//! Shape inference: the type, shape and, for small integer tensors, the contents of every value.

