//! Small models, built message by message, read and written.

mod damage;
mod external;
mod reading;
mod support;
mod writing;
