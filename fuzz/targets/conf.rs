#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| komar_fuzz::conf::run(data));
