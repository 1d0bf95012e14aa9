use komar_topic::*;
type H = foldhash::quality::FixedState;
fn rng(s: &mut u64) -> u64 {
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    *s
}
#[path = "zz_gen.rs"]
mod zz_gen;
#[test]
fn lookup() {
    let size = 10_000;
    let mut s = 0x1234_5678_9abc_def1;
    let texts: Vec<String> = (0..size).map(|i| zz_gen::filter(i, rng(&mut s), size)).collect();
    let names: Vec<String> = (0..10_000).map(|_| zz_gen::name(rng(&mut s), size)).collect();
    let mut index: FilterIndex<u64, H> = FilterIndex::with_hasher(H::default());
    for t in &texts {
        index.insert(SubscriptionFilter::parse(t).unwrap(), 1);
    }
    let mut hits = 0;
    let t = std::time::Instant::now();
    for _ in 0..500 {
        for n in &names {
            index.lookup(TopicName::from_checked(n), |m| {
                if let Match::Entries(e) = m {
                    hits += e.len();
                }
            });
        }
    }
    println!("{} ns {hits}", t.elapsed().as_nanos() as f64 / 500.0 / 10000.0);
}
