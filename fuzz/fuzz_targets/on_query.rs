//! A shard with zones and upstreams is driven by clients, upstreams and a clock that do whatever the octets say.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use ringdns_fuzz::script::{Run, STEPS_MAX, Step};

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let mut run = Run::default();
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let Ok(step) = input.arbitrary::<Step<'_>>() else { break };
        run.step(&step);
    }
    run.end();
});
