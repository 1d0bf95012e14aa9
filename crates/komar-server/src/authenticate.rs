//! Password checks on threads of their own: a storm of logins delays nobody's messages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use komar_broker_core::{PasswordRequest, Verdict};
use parking_lot::{Condvar, Mutex};

/// A few threads that check passwords, one each at a time, so that memory for argon2id is bounded by their number.
pub(crate) struct PasswordPool {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

/// Called on a pool thread with each verdict.
pub(crate) type Deliver = Arc<dyn Fn(Verdict) + Send + Sync>;

struct Queue {
    waiting: Mutex<Waiting>,
    maximum: usize,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<PasswordRequest>,
    /// Calls of `submit` since those of closed Connections were sorted out.
    submitted: usize,
    /// For each thread, whether it is within a check.
    checking: Vec<bool>,
    stopped: bool,
}

impl PasswordPool {
    pub(crate) fn start(threads: usize, maximum: usize, deliver: Deliver) -> std::io::Result<PasswordPool> {
        let threads = threads.max(1);
        let queue = Arc::new(Queue {
            waiting: Mutex::new(Waiting {
                checking: vec![false; threads],
                ..Waiting::default()
            }),
            maximum,
            arrived: Condvar::new(),
        });
        let threads = (0..threads)
            .map(|number| {
                let (queue, deliver) = (Arc::clone(&queue), Arc::clone(&deliver));
                std::thread::Builder::new()
                    .name(format!("komar-password-{number}"))
                    .spawn(move || run(number, &queue, &deliver))
            })
            .collect::<Result<_, _>>()?;
        Ok(PasswordPool { queue, threads })
    }

    /// Adds a check, or gives it back if too many wait already. Those whose Connection is closed do not count for long.
    pub(crate) fn submit(&self, request: PasswordRequest) -> Result<(), PasswordRequest> {
        let mut waiting = self.queue.waiting.lock();
        waiting.submitted = waiting.submitted.saturating_add(1);
        // Each call pays for looking at 16 of them, however many wait.
        if waiting.submitted > waiting.requests.len() / 16 {
            waiting.submitted = 0;
            waiting.requests.retain(|waiting| waiting.outbox.is_open());
        }
        if waiting.requests.len() >= self.queue.maximum {
            return Err(request);
        }
        waiting.requests.push_back(request);
        self.queue.arrived.notify_one();
        Ok(())
    }
}

impl Drop for PasswordPool {
    /// Threads within a check, which takes as long as the hash asks for, end by themselves: nobody wants their verdict any
    /// more, and the end of the process must not wait for it.
    fn drop(&mut self) {
        let checking = {
            let mut waiting = self.queue.waiting.lock();
            waiting.stopped = true;
            waiting.requests.clear();
            core::mem::take(&mut waiting.checking)
        };
        self.queue.arrived.notify_all();
        for (thread, checking) in self.threads.drain(..).zip(checking) {
            if !checking {
                // One that panicked has been reported by its thread; there is nothing to add.
                let _ = thread.join();
            }
        }
    }
}

fn run(number: usize, queue: &Queue, deliver: &Deliver) {
    let note = |waiting: &mut Waiting, checking| {
        if let Some(noted) = waiting.checking.get_mut(number) {
            *noted = checking;
        }
    };
    loop {
        let request = {
            let mut waiting = queue.waiting.lock();
            note(&mut waiting, false);
            loop {
                if waiting.stopped {
                    return;
                }
                if let Some(request) = waiting.requests.pop_front() {
                    // The one who asked has gone, or waited in vain: computing the answer would only make the next one
                    // wait in vain too, and so on for ever.
                    if !request.outbox.is_open() {
                        continue;
                    }
                    note(&mut waiting, true);
                    break request;
                }
                queue.arrived.wait(&mut waiting);
            }
        };
        deliver(request.run());
    }
}

/// Logins that wait for their check, unless it is set otherwise. Each gives up at the CONNECT timeout.
pub(crate) const MAXIMUM_WAITING_LOGINS: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use komar_broker_core::{
        Access, Authenticate, Authentication, Broker, BrokerConfig, CloseCause, Link, ListenerPolicy, Login,
        Now, Worker,
    };
    use komar_passwd::PasswordFile;

    use super::*;

    /// Has every password checked.
    struct Checks;

    impl Authenticate for Checks {
        fn authenticate(&self, _: &Login<'_>) -> Authentication {
            Authentication::Check(PasswordFile::parse(b"").unwrap().check("nobody", b"secret"))
        }
    }

    fn worker() -> Worker {
        let access = Access {
            authenticate: Arc::new(Checks),
            authorize: None,
        };
        let broker = Broker::new(BrokerConfig::default(), access, 1);
        Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(1)))
    }

    /// A Link that waits for its password to be checked, and that request.
    fn asking(worker: &mut Worker) -> (Link, PasswordRequest) {
        let mut link = worker.open(Box::new(()), &Arc::new(ListenerPolicy::default()));
        worker.input(&mut link, b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01a");
        let request = worker.next_password_check().unwrap();
        (link, request)
    }

    #[test]
    fn an_end_does_not_wait_for_a_check() {
        let (link, request) = asking(&mut worker());
        let (verdict, verdicts) = mpsc::sync_channel(0);
        let deliver: Deliver = Arc::new(move |answer| drop(verdict.send(answer.outbox)));
        let pool = PasswordPool::start(2, 10, deliver).unwrap();
        pool.submit(request).unwrap();
        while !pool.queue.waiting.lock().requests.is_empty() {
            std::thread::yield_now();
        }
        // One thread is busy until its verdict is taken, the other one has nothing to do.
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            drop(pool);
            ended.send(())
        });
        end.recv_timeout(Duration::from_secs(60)).unwrap();
        let outbox = verdicts.recv().unwrap();
        assert!(Arc::ptr_eq(&outbox, link.outbox()));
        assert!(verdicts.recv().is_err(), "the thread has ended");
    }

    /// Were those checked too, one that tries again would never be reached: a storm of logins would not end.
    #[test]
    fn a_login_whose_connection_has_gone_is_not_checked_and_takes_no_place() {
        const MAXIMUM: usize = 3;
        let mut worker = worker();
        let mut open = || asking(&mut worker);
        let (first, gone, late, last) = (open(), [open(), open(), open()], open(), open());
        let (verdict, verdicts) = mpsc::sync_channel(0);
        let deliver: Deliver = Arc::new(move |answer| drop(verdict.send(answer.outbox)));
        let pool = PasswordPool::start(1, MAXIMUM, deliver).unwrap();
        // Dropped before the pool, whose thread would wait for ever if this test failed.
        let verdicts = verdicts;
        // The only thread waits until its verdict is taken.
        pool.submit(first.1).unwrap();
        while !pool.queue.waiting.lock().requests.is_empty() {
            std::thread::yield_now();
        }
        let mut links = Vec::new();
        for (link, request) in gone {
            pool.submit(request).unwrap();
            links.push(link);
        }
        let again = pool.submit(last.1).expect_err("full");
        for link in &mut links {
            worker.close(link, CloseCause::ConnectionClosed);
        }
        let (mut late, request) = late;
        pool.submit(request).unwrap();
        pool.submit(again).unwrap();
        worker.close(&mut late, CloseCause::ConnectionClosed);
        let next = |expected: &Link| {
            let outbox = verdicts.recv_timeout(Duration::from_secs(60)).unwrap();
            assert!(Arc::ptr_eq(&outbox, expected.outbox()));
        };
        next(&first.0);
        next(&last.0);
    }
}
