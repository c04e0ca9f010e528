//! Feeds the modules that read a client's bytes with what libFuzzer makes up.
//!
//! They are compiled into the target by path, so that neither the engine nor anything else of the workspace has to be
//! built with instrumentation. `fuzz/run SECONDS` builds and runs it with the stable toolchain.
#![no_main]
#![allow(dead_code, unreachable_pub, reason = "the modules are used in part")]

#[path = "../../src/decode.rs"]
mod decode;
#[path = "../../src/frame.rs"]
mod frame;
#[path = "../harness.rs"]
mod harness;
#[path = "../../src/scram.rs"]
mod scram;
#[path = "../../src/startup_packet.rs"]
mod startup_packet;

libfuzzer_sys::fuzz_target!(|input: &[u8]| harness::one_input(input));
