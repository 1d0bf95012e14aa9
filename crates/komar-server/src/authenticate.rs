//! Password checks on threads of their own: a storm of logins delays nobody's messages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use komar_broker_core::{Outbox, PasswordRequest};
use komar_passwd::PasswordVerdict;
use parking_lot::{Condvar, Mutex};

/// A few threads that check passwords, one each at a time, so that memory for argon2id is bounded by their number.
pub(crate) struct PasswordPool {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

/// Called on a pool thread with each verdict.
pub(crate) type Deliver = Arc<dyn Fn(Arc<Outbox>, PasswordVerdict) + Send + Sync>;

struct Queue {
    waiting: Mutex<Waiting>,
    maximum: usize,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<PasswordRequest>,
    stopped: bool,
}

impl PasswordPool {
    pub(crate) fn start(threads: usize, maximum: usize, deliver: Deliver) -> std::io::Result<PasswordPool> {
        let queue = Arc::new(Queue {
            waiting: Mutex::default(),
            maximum,
            arrived: Condvar::new(),
        });
        let threads = (0..threads.max(1))
            .map(|number| {
                let (queue, deliver) = (Arc::clone(&queue), Arc::clone(&deliver));
                std::thread::Builder::new()
                    .name(format!("komar-password-{number}"))
                    .spawn(move || run(&queue, &deliver))
            })
            .collect::<Result<_, _>>()?;
        Ok(PasswordPool { queue, threads })
    }

    /// Adds a check, or gives it back if too many wait already.
    pub(crate) fn submit(&self, request: PasswordRequest) -> Result<(), PasswordRequest> {
        let mut waiting = self.queue.waiting.lock();
        if waiting.requests.len() >= self.queue.maximum {
            return Err(request);
        }
        waiting.requests.push_back(request);
        self.queue.arrived.notify_one();
        Ok(())
    }
}

impl Drop for PasswordPool {
    fn drop(&mut self) {
        {
            let mut waiting = self.queue.waiting.lock();
            waiting.stopped = true;
            waiting.requests.clear();
        }
        self.queue.arrived.notify_all();
        for thread in self.threads.drain(..) {
            // A check that panicked has been reported by its thread; there is nothing to add.
            let _ = thread.join();
        }
    }
}

fn run(queue: &Queue, deliver: &Deliver) {
    loop {
        let request = {
            let mut waiting = queue.waiting.lock();
            loop {
                if waiting.stopped {
                    return;
                }
                if let Some(request) = waiting.requests.pop_front() {
                    break request;
                }
                queue.arrived.wait(&mut waiting);
            }
        };
        let verdict = request.check.run();
        deliver(request.outbox, verdict);
    }
}

/// Logins that wait for their check, unless it is set otherwise. Each gives up at the CONNECT timeout.
pub(crate) const MAXIMUM_WAITING_LOGINS: usize = 10_000;
