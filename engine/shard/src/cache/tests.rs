mod eviction;
mod kept;
mod memory;
mod order;
mod view;
