//! How many messages a second a client may publish.

use std::sync::Arc;

use super::{Link, Phase};
use crate::access::{Answer, Verdict};
use crate::error::ProtocolError;
use crate::event::Event;
use crate::now::Millis;
use crate::rate::{NANOSECONDS_A_MILLISECOND, OverRate, Rate};
use crate::sync::Ordering;
use crate::worker::Worker;

/// The rates that count for one Link.
pub(super) struct MessageRates {
    all: Vec<Arc<Rate>>,
    over: OverRate,
    /// The operator knows of it.
    told: bool,
}

impl Link {
    /// Bounds how many messages the client may publish, and says what happens to more. Each of the rates counts; they
    /// are shared by the Links that count together. Empty, the default: no bound. Will Messages are not counted.
    ///
    /// ```
    /// # use core::num::NonZeroU32;
    /// # use std::sync::Arc;
    /// # use komar_broker_core::{Access, Broker, BrokerConfig, ListenerPolicy, Now, OverRate, Rate, Worker};
    /// # let broker = Broker::new(BrokerConfig::default(), Access::allow_all(), 1);
    /// # let mut worker = Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
    /// let everybody = Arc::new(Rate::new(NonZeroU32::new(10_000).unwrap()));
    /// let mut link = worker.open(Box::new(()), &Arc::new(ListenerPolicy::default()));
    /// let own = Arc::new(Rate::new(NonZeroU32::new(100).unwrap()));
    /// link.limit_messages(vec![own, Arc::clone(&everybody)], OverRate::Pause);
    /// ```
    pub fn limit_messages(&mut self, rates: Vec<Arc<Rate>>, over: OverRate) {
        let told = self.rates.as_ref().is_some_and(|rates| rates.told);
        self.rates = (!rates.is_empty()).then(|| {
            Box::new(MessageRates {
                all: rates,
                over,
                told,
            })
        });
    }
}

impl Worker {
    /// Counts a message of this Link. `Ok(false)`: it is not to be routed.
    #[inline]
    pub(super) fn count_message(&mut self, link: &mut Link) -> Result<bool, ProtocolError> {
        if link.rates.is_none() {
            return Ok(true);
        }
        self.count_against_rates(link)
    }

    fn count_against_rates(&mut self, link: &mut Link) -> Result<bool, ProtocolError> {
        let (Some(rates), Phase::Established(established)) = (&mut link.rates, &link.phase) else {
            return Ok(true);
        };
        let now = self.fx.now.0.saturating_mul(NANOSECONDS_A_MILLISECOND);
        let is_over = rates.all.iter().any(|rate| rate.missing(now) > 0);
        if !is_over || rates.over == OverRate::Pause {
            rates.all.iter().for_each(|rate| rate.owe(now));
        }
        if !is_over {
            return Ok(true);
        }
        let over = rates.over;
        if !core::mem::replace(&mut rates.told, true) {
            self.fx.events.push_back(Event::RateExceeded {
                client_id: Arc::clone(&established.session.client_id),
                over,
            });
        }
        let counters = &self.broker.counters;
        counters.rate_exceeded.fetch_add(1, Ordering::Relaxed);
        match over {
            OverRate::Pause => {
                let pause = rates.all.iter().map(|rate| rate.pause(now)).max();
                let pause = pause.unwrap_or_default().div_ceil(NANOSECONDS_A_MILLISECOND);
                self.slow_down(link, Millis(self.fx.now.0.saturating_add(pause)));
                Ok(true)
            }
            OverRate::Refuse => {
                counters.dropped();
                Ok(false)
            }
            OverRate::Disconnect => Err(ProtocolError::MessageRateTooHigh),
        }
    }

    /// From now on the Link is paused. The client is not silent meanwhile: it is not listened to.
    fn slow_down(&mut self, link: &mut Link, until: Millis) {
        link.slowed = true;
        link.outbox.unheard_until(until);
        self.slowed.add(until, &link.outbox);
    }

    /// Lets those go on whose time has come.
    pub(crate) fn wake_slowed(&mut self) {
        while let Some(outbox) = self.slowed.take(self.fx.now) {
            self.verdicts.push_back(Verdict {
                outbox,
                ticket: 0,
                place: 0,
                answer: Answer::Paid,
            });
        }
    }
}
