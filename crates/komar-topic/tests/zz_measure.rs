use komar_topic::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::hint::black_box;
use std::time::Instant;
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;
type H = foldhash::quality::FixedState;
fn rng(s: &mut u64) -> u64 {
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    *s
}
fn name(r: u64, size: usize) -> String {
    let edges = (size / 50).max(10) as u64;
    format!(
        "spBv1.0/plant {}/{}/edge-{:05}/device-{:04}",
        r % 50,
        ["DDATA", "NDATA", "DBIRTH", "NBIRTH", "DCMD"][(r >> 8) as usize % 5],
        (r >> 16) % edges,
        (r >> 40) % 200
    )
}
fn filter(i: usize, r: u64, size: usize) -> String {
    let n = name(r, size);
    let mut l: Vec<&str> = n.split('/').collect();
    match i % 10 {
        0..=6 => {}
        7 | 8 => {
            let k = [1, 2, 3, 4][(r >> 60) as usize % 4];
            l[k] = "+";
        }
        _ => {
            let k = 2 + (r >> 60) as usize % 3;
            l.truncate(k + 1);
            l[k] = "#";
        }
    }
    l.join("/")
}
fn ns(n: usize, f: impl FnOnce()) -> f64 {
    let t = Instant::now();
    f();
    t.elapsed().as_nanos() as f64 / n as f64
}
#[test]
fn measure() {
    for size in [10_000usize, 100_000, 1_000_000] {
        let mut s = 0x1234_5678_9abc_def1;
        let texts: Vec<String> = (0..size).map(|i| filter(i, rng(&mut s), size)).collect();
        let names: Vec<String> = (0..100_000).map(|_| name(rng(&mut s), size)).collect();
        let mut handles = Vec::with_capacity(size);
        let region = Region::new(ALLOCATOR);
        let mut index: FilterIndex<u64, H> = FilterIndex::with_hasher(H::default());
        let ins = ns(size, || {
            for (i, t) in texts.iter().enumerate() {
                handles.push(index.insert(SubscriptionFilter::parse(t).unwrap(), i as u64).0);
            }
        });
        let c = region.change();
        let live = c.bytes_allocated as isize - c.bytes_deallocated as isize;
        let (mut hits, mut cost, mut sum) = (0usize, 0usize, 0u64);
        let mut best = f64::MAX;
        for _ in 0..3 {
            hits = 0;
            best = best.min(ns(names.len(), || {
                for n in &names {
                    index.lookup(TopicName::from_checked(n), |m| {
                        if let Match::Entries(e) = m {
                            hits += e.len();
                            for v in e {
                                sum = sum.wrapping_add(*v);
                            }
                        }
                    });
                }
            }));
        }
        for n in &names {
            cost += index.lookup_cost(TopicName::from_checked(n));
        }
        let rem = ns(size, || {
            for h in 0..size {
                black_box(index.remove(handles[h * 7919 % size]));
            }
        });
        println!(
            "{size}: insert {ins:.0} ns, {} B/sub ({} filters), lookup {best:.0} ns, hits/lookup {:.2}, nodes {:.1}, remove {rem:.0} ns, sum {sum}",
            live as usize / size,
            index.filter_count(),
            hits as f64 / names.len() as f64,
            cost as f64 / names.len() as f64
        );
    }
    // 100k on '#'
    let mut index: FilterIndex<u64, H> = FilterIndex::with_hasher(H::default());
    let f = SubscriptionFilter::parse("#").unwrap();
    let handles: Vec<_> = (0..100_000u64).map(|i| index.insert(f, i).0).collect();
    let mut sum = 0u64;
    let t = ns(100_000 * 20, || {
        for _ in 0..20 {
            index.lookup(TopicName::from_checked("a/b"), |m| {
                if let Match::Entries(e) = m {
                    for v in e {
                        sum = sum.wrapping_add(*black_box(v));
                    }
                }
            });
        }
    });
    let rem = ns(100_000, || {
        for h in 0..100_000 {
            black_box(index.remove(handles[h * 7919 % 100_000]));
        }
    });
    println!("#: per hit {t:.2} ns, removal {rem:.0} ns {sum}");
    // ladder
    let mut index: FilterIndex<u64, H> = FilterIndex::with_hasher(H::default());
    let mut n = 0u64;
    let mut s = 99u64;
    while n < 10_000 {
        let d = 2 + rng(&mut s) % 10;
        let mut l: Vec<String> = (0..d)
            .map(|k| {
                if rng(&mut s) % 2 == 0 {
                    "+".into()
                } else {
                    format!("l{k}-{}", rng(&mut s) % 8)
                }
            })
            .collect();
        if rng(&mut s) % 2 == 0 {
            l.push("#".into());
        }
        index.insert(SubscriptionFilter::parse(&l.join("/")).unwrap(), n);
        n += 1;
    }
    let nm = (0..10).map(|k| format!("l{k}-3")).collect::<Vec<_>>().join("/");
    let t = ns(1000, || {
        for _ in 0..1000 {
            index.lookup(TopicName::from_checked(&nm), |m| {
                black_box(&m);
            });
        }
    });
    println!(
        "random ladder 10k: {t:.0} ns, nodes {}",
        index.lookup_cost(TopicName::from_checked(&nm))
    );
    let mut index: FilterIndex<u64, H> = FilterIndex::with_hasher(H::default());
    for n in 0..10_000u64 {
        index.insert(SubscriptionFilter::parse(&format!("+/+/+/d{n}/#")).unwrap(), n);
    }
    let t = ns(10000, || {
        for _ in 0..10000 {
            index.lookup(TopicName::from_checked("a/b/c/d77/e"), |m| {
                black_box(&m);
            });
        }
    });
    println!("plus prefix 10k: {t:.0} ns");
    // matcher
    let nm = "spBv1.0/plant 7/DDATA/edge-00042/device-0017";
    for f in [
        nm,
        "spBv1.0/plant 7/+/edge-00042/device-0017",
        "spBv1.0/plant 7/#",
        "+/+/+/+/+",
        "#",
    ] {
        let f = TopicFilter::new(f).unwrap();
        let t = ns(1_000_000, || {
            for _ in 0..1_000_000 {
                black_box(black_box(f).matches(black_box(TopicName::from_checked(nm))));
            }
        });
        println!("match {}: {t:.1} ns", f.as_str());
    }
    let t = ns(1_000_000, || {
        for _ in 0..1_000_000 {
            black_box(FilterIndex::<u64, H>::stripe(black_box(TopicName::from_checked(
                nm,
            ))));
        }
    });
    println!("stripe {t:.1} ns");
    // names
    for groups in [100usize, 10_000] {
        let size = 1_000_000;
        let per = size / groups / 10;
        let mut names: Vec<String> = (0..size)
            .map(|i| {
                format!(
                    "g{:05}/{}/dev{}",
                    i % groups,
                    ["a", "b", "c", "x", "y", "z", "k", "l", "m", "n"][i / groups % 10],
                    i / groups / 10
                )
            })
            .collect();
        let mut s = 7u64;
        for i in (1..size).rev() {
            names.swap(i, rng(&mut s) as usize % (i + 1));
        }
        let region = Region::new(ALLOCATOR);
        let mut tree: NameTree<u64, H> = NameTree::with_hasher(H::default());
        let ins = ns(size, || {
            for (i, n) in names.iter().enumerate() {
                tree.insert(TopicName::from_checked(n), i as u64);
            }
        });
        let c = region.change();
        let live = c.bytes_allocated as isize - c.bytes_deallocated as isize;
        let get = ns(size, || {
            for n in &names {
                black_box(tree.get(TopicName::from_checked(n)));
            }
        });
        let f = TopicFilter::new("+/x/#").unwrap();
        let (mut hits, mut sum) = (0usize, 0u64);
        let t0 = Instant::now();
        tree.walk(f, None, usize::MAX, |_, v| {
            hits += 1;
            sum = sum.wrapping_add(*v);
        });
        let t = t0.elapsed().as_nanos() as f64 / hits as f64;
        let t0 = Instant::now();
        let mut first = None;
        tree.walk(f, None, 100, |_, _| {
            first.get_or_insert(t0.elapsed());
        });
        let all = ns(size, || {
            tree.walk(TopicFilter::new("#").unwrap(), None, usize::MAX, |_, v| {
                sum = sum.wrapping_add(*v)
            });
        });
        let rem = ns(size, || {
            for n in &names {
                black_box(tree.remove(TopicName::from_checked(n)));
            }
        });
        println!(
            "names {groups} groups x 10 x {per}: insert {ins:.0} get {get:.0} ns, {} B/name, +/x/# {t:.0} ns/hit ({hits}), first {first:?}, # {all:.0} ns/hit, remove {rem:.0}, {sum}",
            live as usize / size
        );
    }
}
