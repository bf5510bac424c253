//! What a query costs: an engine with a zone and a warm cache, and questions for it, in process and without sockets.

pub mod load;
