//! Bytes and allocations of the indexes: what one subscription takes, what is given back, and that a lookup takes
//! nothing. Bytes as they were asked of the allocator, without what it adds.
//!
//! ```sh
//! cargo bench -p komar-benches --features peers --bench matching_memory
//! ```

use std::alloc::System;
use std::hint::black_box;

#[cfg(feature = "peers")]
use komar_benches::topics::peers::{MqttTopicEngine, Rmqtt};
use komar_benches::topics::{Index, Komar, Plant, Random};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let sizes: &[usize] = if measured {
        &[10_000, 100_000, 1_000_000]
    } else {
        &[10_000]
    };
    println!(
        "| subscriptions | who | bytes each | left when 90 % are removed | left at the end | allocations a lookup |"
    );
    println!("| ---: | --- | ---: | ---: | ---: | ---: |");
    for size in sizes {
        let komar = Figures::of::<Komar>(*size);
        assert!(komar.each <= 110.0, "{} bytes a subscription", komar.each);
        assert_eq!((komar.end, komar.allocations), (0, 0.0));
        #[cfg(feature = "peers")]
        {
            Figures::of::<Rmqtt>(*size);
            Figures::of::<MqttTopicEngine>(*size);
        }
    }
}

/// What was measured of an index.
struct Figures {
    each: f64,
    end: usize,
    allocations: f64,
}

impl Figures {
    /// Measures, and prints a row.
    fn of<I: Index>(size: usize) -> Figures {
        let mut plant = Plant::new(size);
        let mut entries = Vec::with_capacity(size);
        for filter in plant.filters(size) {
            entries.push((I::filter(&filter), None));
        }
        let names: Vec<I::Name> = plant.names(1000).iter().map(|name| I::name(name)).collect();
        let mut order: Vec<usize> = (0..size).collect();
        Random::new().shuffle(&mut order);

        let region = Region::new(ALLOCATOR);
        let mut index = I::default();
        for ((filter, key), value) in entries.iter_mut().zip(0..) {
            *key = Some(index.insert(filter.clone(), value));
        }
        let full = live(&region);

        let before = region.change().allocations;
        for name in &names {
            index.lookup(name, |value| _ = black_box(value));
        }
        let allocations = (region.change().allocations - before) as f64 / names.len() as f64;

        let mut few = full;
        for (count, place) in order.iter().enumerate() {
            if count == size / 10 * 9 {
                few = live(&region);
            }
            if let (filter, Some(key)) = &entries[*place] {
                index.remove(filter, key.clone());
            }
        }
        let figures = Figures {
            each: full as f64 / size as f64,
            end: live(&region),
            allocations,
        };
        println!(
            "| {size} | {} | {:.1} | {:.1} % | {} | {:.1} |",
            I::NAME,
            figures.each,
            few as f64 / full as f64 * 100.0,
            figures.end,
            figures.allocations
        );
        figures
    }
}

fn live(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.bytes_allocated.saturating_sub(change.bytes_deallocated)
}
