#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| komar_fuzz::websocket::run(data));
