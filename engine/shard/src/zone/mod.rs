//! Zones: master files read, images laid out as flat memory, names looked up (RFC 1034 §4.3.2, RFC 4592, RFC 6672).
//!
//! | module | owns |
//! |---|---|
//! | [`file`](mod@file) | master files: text to records |
//! | [`build`] | records to an image, with the checks a zone must pass |
//! | [`check`] | what is wrong with a zone that loads |
//! | `layout` | owners written as nodes |
//! | [`image`] | the image: where which octets lie |
//! | [`denial`] | the NSEC and NSEC3 records that stand before a name |
//! | [`digest`] | the digest over a zone |
//! | [`nsec3`] | hashes of names |
//! | [`negative`] | the SOA record of negative answers, ready to be copied |
//! | [`lookup`] | what a zone says of a name and type |
//! | [`difference`] | what changed from one serial to the next |
//! | [`update`] | a difference applied to an image |
//! | [`journal`] | the last differences of a zone |
//! | [`proof`] | which NSEC and NSEC3 records prove that |

pub mod build;
pub mod check;
pub mod denial;
pub mod difference;
pub mod digest;
pub mod file;
pub mod image;
pub mod journal;
mod layout;
pub mod lookup;
pub mod negative;
pub mod nsec3;
pub mod proof;
pub mod update;

pub use build::{Builder, Place};
pub use image::Image;
