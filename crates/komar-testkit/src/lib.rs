//! Virtual clock, scripted peers and oracles for Komar's own tests
