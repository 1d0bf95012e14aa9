//! Filters and names to measure with, and the indexes that are measured.

use komar_topic::{
    FilterIndex, Handle, Match, SubscriptionFilter, SubscriptionFilterBuf, TopicName, TopicNameBuf,
};

/// Many filters, one lookup by name. Values are numbers.
pub trait Index: Default {
    /// The crate.
    const NAME: &'static str;
    /// A filter as the participant wants it: what it takes to make one is nobody's figure.
    type Filter: Clone;
    /// A name as the participant wants it.
    type Name;
    /// What an entry is removed by.
    type Key: Clone;

    /// Reads a filter.
    fn filter(text: &str) -> Self::Filter;
    /// Reads a name.
    fn name(text: &str) -> Self::Name;
    /// Adds an entry.
    fn insert(&mut self, filter: Self::Filter, value: u64) -> Self::Key;
    /// Takes an entry out that was inserted for this filter.
    fn remove(&mut self, filter: &Self::Filter, key: Self::Key);
    /// Calls `found` with the value of every entry whose filter matches.
    fn lookup(&self, name: &Self::Name, found: impl FnMut(u64));
}

/// The index of komar-topic.
#[derive(Default)]
pub struct Komar(FilterIndex<u64>);

impl Index for Komar {
    const NAME: &'static str = "komar-topic";
    type Filter = SubscriptionFilterBuf;
    type Name = TopicNameBuf;
    type Key = Handle;

    fn filter(text: &str) -> SubscriptionFilterBuf {
        SubscriptionFilter::parse(text)
            .expect("it is a filter")
            .to_owned()
    }

    fn name(text: &str) -> TopicNameBuf {
        TopicName::new(text).expect("it is a name").to_owned()
    }

    fn insert(&mut self, filter: SubscriptionFilterBuf, value: u64) -> Handle {
        self.0.insert(filter.as_filter(), value).0
    }

    fn remove(&mut self, _: &SubscriptionFilterBuf, key: Handle) {
        self.0.remove(key);
    }

    #[inline]
    fn lookup(&self, name: &TopicNameBuf, mut found: impl FnMut(u64)) {
        self.0.lookup(name.as_name(), |one| match one {
            Match::Entries(entries) => entries.for_each(|value| found(*value)),
            Match::Group(_) => {}
        });
    }
}

/// The naive twin: every filter is asked.
#[derive(Default)]
pub struct LinearScan(Vec<(SubscriptionFilterBuf, u64)>);

impl Index for LinearScan {
    const NAME: &'static str = "linear scan";
    type Filter = SubscriptionFilterBuf;
    type Name = TopicNameBuf;
    type Key = u64;

    fn filter(text: &str) -> SubscriptionFilterBuf {
        Komar::filter(text)
    }

    fn name(text: &str) -> TopicNameBuf {
        Komar::name(text)
    }

    fn insert(&mut self, filter: SubscriptionFilterBuf, value: u64) -> u64 {
        self.0.push((filter, value));
        value
    }

    fn remove(&mut self, _: &SubscriptionFilterBuf, key: u64) {
        self.0.retain(|(_, value)| *value != key);
    }

    fn lookup(&self, name: &TopicNameBuf, mut found: impl FnMut(u64)) {
        for (filter, value) in &self.0 {
            if filter.as_filter().filter().matches(name.as_name()) {
                found(*value);
            }
        }
    }
}

/// The peers' indexes.
#[cfg(feature = "peers")]
pub mod peers {
    use mqtt_topic_engine::{CacheStrategy, QoS, SubscriptionId, TopicPath, TopicPatternPath, TopicRouter};
    use rmqtt::topic::Topic;
    use rmqtt::trie::TopicTree;

    use super::Index;

    /// The tree of subscriptions of rmqtt.
    #[derive(Default)]
    pub struct Rmqtt(TopicTree<u64>);

    impl Index for Rmqtt {
        const NAME: &'static str = "rmqtt";
        type Filter = Topic;
        type Name = Topic;
        type Key = u64;

        fn filter(text: &str) -> Topic {
            text.parse().expect("it is a filter")
        }

        fn name(text: &str) -> Topic {
            text.parse().expect("it is a name")
        }

        fn insert(&mut self, filter: Topic, value: u64) -> u64 {
            self.0.insert(&filter, value);
            value
        }

        fn remove(&mut self, filter: &Topic, key: u64) {
            self.0.remove(filter, &key);
        }

        fn lookup(&self, name: &Topic, mut found: impl FnMut(u64)) {
            for (_, values) in self.0.matches(name).iter() {
                values.into_iter().for_each(|value| found(*value));
            }
        }
    }

    /// The router of mqtt-topic-engine.
    #[derive(Default)]
    pub struct MqttTopicEngine(TopicRouter<u64>);

    impl Index for MqttTopicEngine {
        const NAME: &'static str = "mqtt-topic-engine";
        type Filter = TopicPatternPath;
        type Name = TopicPath;
        type Key = SubscriptionId;

        fn filter(text: &str) -> TopicPatternPath {
            TopicPatternPath::new_from_string(text, CacheStrategy::NoCache).expect("it is a filter")
        }

        fn name(text: &str) -> TopicPath {
            TopicPath::new(text).expect("it is a name")
        }

        fn insert(&mut self, filter: TopicPatternPath, value: u64) -> SubscriptionId {
            self.0.add_subscription(filter, QoS::AtMostOnce, value).1
        }

        fn remove(&mut self, _: &TopicPatternPath, key: SubscriptionId) {
            self.0.unsubscribe(&key).expect("it was there");
        }

        fn lookup(&self, name: &TopicPath, mut found: impl FnMut(u64)) {
            self.0
                .get_subscribers(name)
                .into_iter()
                .for_each(|(_, _, value)| found(*value));
        }
    }
}

/// The same numbers every time.
pub struct Random(u64);

impl Random {
    /// From the first on.
    pub fn new() -> Random {
        Random(0x9E37_79B9_7F4A_7C15)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("a machine of 64 bits") % bound
    }

    /// Puts a list in another order.
    pub fn shuffle<X>(&mut self, list: &mut [X]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.below(end + 1));
        }
    }
}

impl Default for Random {
    fn default() -> Random {
        Random::new()
    }
}

/// A plant with Sparkplug-like names: ten devices an edge node, 50 groups, and as many devices as subscriptions, so that
/// a lookup finds two entries whatever the size: 0.7 of them exact, 0.2 by `+`, 1 by `#`.
pub struct Plant {
    devices: usize,
    random: Random,
}

impl Plant {
    /// A plant with this many devices.
    pub fn new(devices: usize) -> Plant {
        Plant {
            devices,
            random: Random::new(),
        }
    }

    /// `count` filters of clients: 70 % exact, 20 % with `+`, 10 % with `#`.
    pub fn filters(&mut self, count: usize) -> Vec<String> {
        let filter = |number: usize| {
            let (group, node, device) = self.device();
            match number % 10 {
                0..=6 => format!("spBv1.0/group{group:02}/DDATA/{node}/{device}"),
                7 => format!("spBv1.0/group{group:02}/+/{node}/{device}"),
                8 => format!("spBv1.0/+/DDATA/{node}/{device}"),
                _ => format!("spBv1.0/group{group:02}/DDATA/{node}/#"),
            }
        };
        let mut filters: Vec<String> = (0..count).map(filter).collect();
        self.random.shuffle(&mut filters);
        filters
    }

    /// `count` names that devices publish to.
    pub fn names(&mut self, count: usize) -> Vec<String> {
        let name = |_| {
            let (group, node, device) = self.device();
            format!("spBv1.0/group{group:02}/DDATA/{node}/{device}")
        };
        (0..count).map(name).collect()
    }

    fn device(&mut self) -> (usize, String, String) {
        let number = self.random.below(self.devices);
        let node = number / 10;
        (
            node % 50,
            format!("edge-{node:06}"),
            format!("device-{:02}", number % 10),
        )
    }
}

/// Forty applications that share a broker: each has names of its own first level, of three to seven levels, and its own two
/// places for `+`.
pub struct Applications {
    things: usize,
    random: Random,
}

impl Applications {
    /// With a thing for twenty of `filters`.
    pub fn new(filters: usize) -> Applications {
        Applications {
            things: (filters / 20).max(1),
            random: Random::new(),
        }
    }

    /// `count` filters of clients: 70 % exact, 20 % with `+`, 10 % with `#`.
    pub fn filters(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|number| self.filter(number)).collect()
    }

    /// `count` names that are published to.
    pub fn names(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.name().1.join("/")).collect()
    }

    fn filter(&mut self, number: usize) -> String {
        let (application, mut levels) = self.name();
        let below = levels.len() - 1;
        let place = |salt: usize| 1 + salt % below;
        match number % 10 {
            0..=6 => {}
            7 => levels[place(application * 7)] = "+".to_owned(),
            8 => levels[place(application * 11 + 1)] = "+".to_owned(),
            _ => {
                // Not above the thing: few want everything.
                levels.truncate(2 + application % 2);
                levels.push("#".to_owned());
            }
        }
        levels.join("/")
    }

    fn name(&mut self) -> (usize, Vec<String>) {
        let application = self.random.below(40);
        let level = |place: usize, random: &mut Random| match place % 3 {
            1 => format!("thing {}", random.below(self.things)),
            2 => format!("part {}", random.below(20)),
            _ => format!("value {}", random.below(8)),
        };
        let mut levels = vec![format!("application {application}")];
        for place in 1..3 + application % 5 {
            levels.push(level(place, &mut self.random));
        }
        (application, levels)
    }
}

/// A filter of each shape of ten levels, up to `count`, none of which matches what others publish: the work that a client
/// can make for names that it does not know.
pub fn shapes(count: usize) -> Vec<String> {
    let filter = |number: usize| {
        let level = |place: usize| if number >> place & 1 == 0 { "+" } else { "never" };
        let path: Vec<&str> = (0..10).rev().map(level).collect();
        path.join("/")
    };
    (1..=count).map(filter).collect()
}

/// One to twenty `+`, then a literal: a way down that all share, with many ways off.
pub fn plus_ladder(count: usize) -> Vec<String> {
    let filter = |number: usize| {
        let level = format!("device {}", number / 20);
        format!("{}{level}/#", "+/".repeat(number % 20 + 1))
    };
    (0..count).map(filter).collect()
}

/// Every choice of `+` or `x` for eight levels, with something different behind: the most nodes that a name of its kind
/// can enter.
pub fn binary_ladder(count: usize) -> Vec<String> {
    let filter = |number: usize| {
        let level = |place: usize| if number >> place & 1 == 0 { "+/" } else { "x/" };
        let path: String = (0..8).map(level).collect();
        format!("{path}device {}", number >> 8)
    };
    (0..count).map(filter).collect()
}

/// `levels` levels, one of them `+` in some of the filters, and `#` behind others.
pub fn deep(count: usize, levels: usize) -> Vec<String> {
    let filter = |number: usize| {
        let level = |place: usize| match (number % 10, place) {
            (7 | 8, place) if place == number / 10 % levels => "+".to_owned(),
            (9, place) if place + 1 == levels => "#".to_owned(),
            (_, place) if place + 2 == levels => format!("line {}", number / 10),
            (_, place) => format!("level {place}"),
        };
        (0..levels).map(level).collect::<Vec<_>>().join("/")
    };
    (0..count).map(filter).collect()
}

/// A name of `levels` levels among those of [`deep`].
pub fn deep_name(levels: usize, line: usize) -> String {
    let level = |place| {
        if place + 2 == levels {
            format!("line {line}")
        } else {
            format!("level {place}")
        }
    };
    (0..levels).map(level).collect::<Vec<_>>().join("/")
}
