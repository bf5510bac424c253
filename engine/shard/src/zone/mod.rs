//! Zones: master files read, images laid out as flat memory, names looked up (RFC 1034 §4.3.2, RFC 4592, RFC 6672).
//!
//! | module | owns |
//! |---|---|
//! | [`file`](mod@file) | master files: text to records |
//! | [`build`] | records to an image, with the checks a zone must pass |
//! | [`image`] | the image: where which octets lie |
//! | [`denial`] | the NSEC and NSEC3 records that stand before a name |
//! | [`nsec3`] | hashes of names |
//! | [`lookup`] | what a zone says of a name and type |

pub mod build;
pub mod denial;
pub mod file;
pub mod image;
pub mod lookup;
pub mod nsec3;

pub use build::{Builder, Place};
pub use image::Image;
