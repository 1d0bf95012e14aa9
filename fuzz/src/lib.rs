//! What the fuzz targets do with their input: a module each, whose `run` panics where an invariant does not hold.

/// Declares the modules of the targets, and tests each on its seeds.
macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*

        /// Without libFuzzer: the seeds, and what little damage makes of them.
        #[cfg(test)]
        mod tests {
            $(
                #[test]
                fn $name() {
                    super::corpus::check(stringify!($name), super::$name::run);
                }
            )*
        }
    };
}

targets! {
    decode,
    round_trip,
    drip,
    acl,
    passwd,
    identity,
    filter,
    websocket,
    proxy,
    conf,
}

mod packets;

#[cfg(test)]
mod corpus {
    use std::path::Path;

    /// Runs a target on each of its seeds as it is, and with damage that is the same every time.
    pub fn check(name: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut seeds: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect();
        assert!(!seeds.is_empty(), "{} is empty", folder.display());
        seeds.sort();
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = move |bound: usize| {
            // xorshift64
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random >> 16).unwrap() % bound
        };
        for seed in &seeds {
            run(seed);
            for _ in 0..200 {
                let mut bytes = seed.clone();
                for _ in 0..=next(3) {
                    let place = next(bytes.len() + 1);
                    let byte = u8::try_from(next(256)).unwrap();
                    match (next(4), place < bytes.len()) {
                        (0, true) => bytes[place] = byte,
                        (1, true) => bytes[place] ^= 1 << next(8),
                        (2, true) => drop(bytes.remove(place)),
                        _ => bytes.insert(place, byte),
                    }
                }
                run(&bytes);
            }
        }
    }
}
