//! What the suites have in common: CPU time instead of wall time, and rows whose participants have to agree.
//!
//! ```sh
//! cargo bench -p komar-benches --features peers --bench decode   # measures
//! cargo run -p komar-benches --bin table -- decode               # the results as a table for results/
//! cargo test -p komar-benches                                    # every row once: do the results agree?
//! ```

pub mod codec;
#[cfg(feature = "peers")]
pub mod peers;
pub mod topics;

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter};
use criterion::{BatchSize, Bencher, BenchmarkId, Criterion, Throughput};
use rustix::time::{ClockId, clock_gettime};

/// The CPU time of the measuring thread: other processes of a busy machine do not count.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or_default();
        Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
    }

    fn end(&self, start: Duration) -> Duration {
        self.start().saturating_sub(start)
    }

    fn add(&self, first: &Duration, second: &Duration) -> Duration {
        *first + *second
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_secs_f64() * 1e9
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Nanoseconds
    }
}

/// Nanoseconds, and nanoseconds per element.
struct Nanoseconds;

impl ValueFormatter for Nanoseconds {
    fn scale_values(&self, _: f64, _: &mut [f64]) -> &'static str {
        "ns"
    }

    fn scale_throughputs(&self, _: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        let (count, unit) = match *throughput {
            Throughput::Elements(count) => (count, "ns/element"),
            Throughput::Bytes(count) | Throughput::BytesDecimal(count) => (count, "ns/byte"),
            _ => (1, "ns"),
        };
        for value in values {
            *value /= count as f64;
        }
        unit
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "ns"
    }
}

/// A Criterion that measures CPU time, for about two seconds a participant.
pub fn criterion() -> Criterion<CpuTime> {
    Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .without_plots()
        .configure_from_args()
}

type Work<'w> = Box<dyn FnMut() -> u64 + 'w>;
type Measure<'w> = Box<dyn FnMut(&mut Bencher<'_, CpuTime>) + 'w>;

struct Participant<'w> {
    name: &'static str,
    /// Does the work once.
    once: Work<'w>,
    /// Does it as often as Criterion wants, if more than the work is not to be measured.
    measure: Option<Measure<'w>>,
}

/// A row of a table: one piece of work, done by everybody who can do it.
pub struct Row<'w> {
    /// Suite and name.
    name: String,
    elements: u64,
    participants: Vec<Participant<'w>>,
}

impl<'w> Row<'w> {
    /// `elements` is the number of packets, lookups and the like that one call of a participant handles.
    pub fn new(suite: &str, name: &str, elements: u64) -> Self {
        Row {
            name: format!("{suite} - {name}"),
            elements,
            participants: Vec::new(),
        }
    }

    /// Adds a participant: `work` does all of it and returns a checksum of what came out.
    #[must_use]
    pub fn with(mut self, participant: &'static str, work: impl FnMut() -> u64 + 'w) -> Self {
        self.participants.push(Participant {
            name: participant,
            once: Box::new(work),
            measure: None,
        });
        self
    }

    /// Adds a participant whose work uses something up that `setup` makes, `batch` of them at a time; the time for that
    /// does not count.
    #[must_use]
    pub fn with_input<T: 'w>(
        mut self,
        participant: &'static str,
        batch: u64,
        setup: impl Fn() -> T + Copy + 'w,
        work: impl Fn(T) -> u64 + Copy + 'w,
    ) -> Self {
        self.participants.push(Participant {
            name: participant,
            once: Box::new(move || work(setup())),
            measure: Some(Box::new(move |bencher| {
                bencher.iter_batched(setup, work, BatchSize::NumIterations(batch));
            })),
        });
        self
    }

    /// Adds a participant of whose work only a part counts: `work` returns the [`CpuTime`] of that beside the checksum.
    #[must_use]
    pub fn with_timed(
        mut self,
        participant: &'static str,
        work: impl FnMut() -> (u64, Duration) + 'w,
    ) -> Self {
        let work = Rc::new(RefCell::new(work));
        let measured = Rc::clone(&work);
        self.participants.push(Participant {
            name: participant,
            once: Box::new(move || (*work.borrow_mut())().0),
            measure: Some(Box::new(move |bencher| {
                bencher.iter_custom(|passes| (0..passes).map(|_| (*measured.borrow_mut())().1).sum());
            })),
        });
        self
    }

    /// Adds a participant that writes into `out` what was not there before: the checksum is of all that it has written, and is
    /// not measured.
    #[must_use]
    pub fn with_output<O: 'w>(
        mut self,
        participant: &'static str,
        out: O,
        write: impl FnMut(&mut O) + 'w,
        checksum: impl Fn(&O) -> u64 + 'w,
    ) -> Self {
        let written = Rc::new(RefCell::new((out, write)));
        let measured = Rc::clone(&written);
        self.participants.push(Participant {
            name: participant,
            once: Box::new(move || {
                let (out, write) = &mut *written.borrow_mut();
                write(out);
                checksum(out)
            }),
            measure: Some(Box::new(move |bencher| {
                let (out, write) = &mut *measured.borrow_mut();
                bencher.iter(|| {
                    write(out);
                    black_box(&mut *out);
                });
            })),
        });
        self
    }

    /// Prints and compares the checksums, then measures.
    ///
    /// # Panics
    ///
    /// If two participants do not agree on the checksum, or one with itself.
    pub fn run(mut self, criterion: &mut Criterion<CpuTime>) {
        let mut expected = None;
        for participant in &mut self.participants {
            let name = participant.name;
            let checksum = (participant.once)();
            println!("{} / {name}: checksum {checksum:016x}", self.name);
            assert_eq!((participant.once)(), checksum, "{} / {name} varies", self.name);
            let expected = *expected.get_or_insert(checksum);
            assert_eq!(checksum, expected, "{} / {name} disagrees", self.name);
        }
        let mut group = criterion.benchmark_group(&self.name);
        group.throughput(Throughput::Elements(self.elements));
        for participant in &mut self.participants {
            group.bench_function(BenchmarkId::from_parameter(participant.name), |bencher| {
                match &mut participant.measure {
                    Some(measure) => measure(bencher),
                    None => bencher.iter(|| black_box((participant.once)())),
                }
            });
        }
        group.finish();
    }
}

/// Adds to a checksum: order matters, and every bit of `value` does.
#[inline]
#[must_use]
pub fn mix(checksum: u64, value: u64) -> u64 {
    (checksum ^ value)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(23)
}

/// Adds every byte to a checksum, in whatever pieces they come: for what is not measured.
#[must_use]
pub fn mix_all(checksum: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(checksum, |sum, byte| mix(sum, u64::from(*byte)))
}

/// Adds a string of bytes to a checksum by its length and its ends, so that large payloads cost nothing: no byte between them
/// is read. That all of them are the same to others is for `tests/differential.rs` to show.
#[inline]
#[must_use]
pub fn mix_bytes(checksum: u64, bytes: &[u8]) -> u64 {
    let ends = match bytes {
        [] => 0,
        [only] => u64::from(*only),
        [first, .., last] => (u64::from(*first) << 8) | u64::from(*last),
    };
    mix(checksum, (ends << 32) | bytes.len() as u64)
}
